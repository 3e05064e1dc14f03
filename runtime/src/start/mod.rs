//! Starting a container: namespaces, a root filesystem, mounts, an environment.
//!
//! [`start`] turns the calling process, which must have one thread, into one inside the
//! container: it may exec the user's program itself or hand the container's descriptors over to
//! others ([`Container::hand_over`]).

mod account;
mod cgroups;
mod error;
mod export;
mod fixes;
mod helpers;
mod identity;
mod layers;
mod mounts;
mod process;
mod rootfs;
mod roots;
mod server;
pub(crate) mod sys;
mod system;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;

pub use error::StartError;
pub(crate) use export::merged;
pub(crate) use layers::can_layer;
pub(crate) use process::supervise;

use crate::containers;
use crate::environ::{self, Environ};
use crate::fstab::Entry;
use crate::handover::{Handover, Part};
use identity::Identity;
use rootfs::{Ground, helper_log};
use roots::Roots;

/// Namespaces that a container may have for itself, beside user, mount and cgroup.
#[derive(Clone, Copy, Debug, Default)]
pub struct Namespaces {
    /// Process numbers; the first process is the container's init.
    pub pid: bool,
    /// A network with nothing but an idle loopback device.
    pub net: bool,
    /// System V IPC and POSIX message queues.
    pub ipc: bool,
    /// Host and domain name.
    pub uts: bool,
}

/// What a root filesystem is made of.
#[derive(Clone, Debug)]
pub enum Root {
    /// A squashfs file or a directory; changes are gone with the container.
    Path(PathBuf),
    /// A named container, which keeps its changes.
    Container(containers::Container),
}

impl Root {
    /// What running processes show as the source of their root mount.
    fn mark(&self) -> String {
        match self {
            Root::Path(_) => "pyxis".to_owned(),
            Root::Container(container) => container.mark(),
        }
    }
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the root filesystem is made of.
    pub root: Root,
    /// Be uid and gid 0 inside.
    pub remap_root: bool,
    /// Let the root filesystem be written to.
    pub writable: bool,
    /// Mount the user's home directory.
    pub mount_home: bool,
    /// Use no user namespace (superuser only).
    pub privileged: bool,
    /// Mounts asked for, in order.
    pub mounts: Vec<Entry>,
    /// `NAME` (value from the host) or `NAME=VALUE`, set over the image's environment.
    pub env: Vec<OsString>,
    /// Namespaces of its own.
    pub unshare: Namespaces,
    /// Show the least devices in `/dev`.
    pub restrict_dev: bool,
}

/// A started container; the calling process is in it.
#[derive(Debug)]
pub struct Container {
    own: Namespaces,
    privileged: bool,
    cgroup: bool,
    helpers: Option<OwnedFd>,
    /// Its environment.
    pub environ: Environ,
    /// The directory programs start in.
    pub cwd: PathBuf,
}

/// Starts a container, leaving the calling process inside it. With a `lease`, the socket that the
/// container will be handed over to, the container is killed when the lease's other end is closed
/// without a farewell.
///
/// # Errors
/// [`StartError`]; the process is then in no usable state and should exit. Nothing is left
/// behind: all mounts are in a namespace that goes with the process.
pub fn start(plan: Plan, lease: Option<RawFd>) -> Result<Container, StartError> {
    let host_environ: Environ = std::env::vars_os().collect();
    let identity = Identity::of_caller(plan.remap_root);
    let (ground, claim) = Ground::find(&plan.root)?;
    if !plan.privileged {
        identity.enter_user_namespace()?;
    }
    let source = ground.prepare(&identity)?;
    let log = helper_log()?;
    let helpers = source.fork_helpers(lease, &log)?;
    if plan.unshare.pid {
        let failed = |source| StartError::Namespace { which: "pid", source };
        unshare(CloneFlags::CLONE_NEWPID).map_err(|errno| failed(errno.into()))?;
        supervise().map_err(failed)?;
    }
    let roots = Roots::enter(&plan.unshare)?;
    let (mark, writable) = (plan.root.mark(), plan.writable);
    rootfs::assemble(&roots, source, &mark, writable, &identity, log)?;

    for line in system::lines(&plan) {
        mount_line(&roots, OsStr::new(line))?;
    }
    system::add_links(&roots, &plan)?;
    for entry in cgroups::entries() {
        mounts::apply(&roots, &entry)?;
    }
    let timezone = roots.host(fixes::Timezone::of_host)?;
    let home = host_environ.get(OsStr::new("HOME")).map_or(identity.home.clone(), PathBuf::from);
    let inside_home = if plan.remap_root { PathBuf::from("/root") } else { home.clone() };
    let image_files = roots.container(|| {
        account::write(&identity);
        if let Some(timezone) = &timezone {
            timezone.set();
        }
        fixes::let_apt_be_root(&identity);
        ImageFiles::read()
    })?;
    for entry in image_mounts(&image_files.fstab, &host_environ)? {
        mounts::apply(&roots, &entry)?;
    }
    if plan.mount_home {
        mounts::apply(&roots, &mounts::home_entry(&home, &inside_home)?)?;
    }
    for entry in &plan.mounts {
        mounts::apply(&roots, entry)?;
    }
    let (environ, cwd) = roots.container(|| {
        let mut environ = environ::parse(&image_files.environment, &host_environ);
        if let Some(term) = host_environ.get(OsStr::new("TERM")) {
            environ.insert("TERM".into(), term.clone());
        }
        if plan.mount_home {
            environ.insert("HOME".into(), inside_home.into());
        }
        environ::add_wanted(&mut environ, &plan.env, &host_environ);
        fixes::add_locale(&mut environ);
        account::add_login_defaults(&mut environ, &identity);
        account::create_home(&environ, plan.writable);
        let cwd = image_files.workdir.filter(|path| path.is_dir()).unwrap_or_else(|| "/".into());
        environ.insert("PWD".into(), cwd.clone().into());
        (environ, cwd)
    })?;
    if !plan.writable {
        mounts::make_root_readonly(&roots)?;
    }
    roots.leave_host()?;
    // Made last, so that the view starts at the step's own cgroup.
    let cgroup = unshare(CloneFlags::CLONE_NEWCGROUP).is_ok();
    if let Some(mut claim) = claim {
        // Those who join read it; the container works without.
        let _ = claim.save_environ(&environ::to_block(&environ));
    }
    Ok(Container { own: plan.unshare, privileged: plan.privileged, cgroup, helpers, environ, cwd })
}

impl Container {
    /// Whether it has no user namespace of its own.
    pub fn privileged(&self) -> bool {
        self.privileged
    }

    /// Sends the container's descriptors to `socket` ([`crate::handover`]).
    ///
    /// # Errors
    /// [`StartError::Handover`].
    pub fn hand_over(self, socket: BorrowedFd<'_>) -> Result<(), StartError> {
        let failed = StartError::Handover;
        let mut parts = Vec::new();
        for (part, name, wanted) in [
            (Part::User, "user", !self.privileged),
            (Part::Cgroup, "cgroup", self.cgroup),
            (Part::Mount, "mnt", true),
            (Part::Ipc, "ipc", self.own.ipc),
            (Part::Uts, "uts", self.own.uts),
            (Part::Net, "net", self.own.net),
        ] {
            if wanted {
                let file = File::open(format!("/proc/self/ns/{name}")).map_err(failed)?;
                parts.push((part, file.into()));
            }
        }
        let cwd = open(&self.cwd, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| failed(errno.into()))?;
        parts.push((Part::Cwd, cwd));
        let block = environ::to_block(&self.environ);
        parts.push((Part::Environ, sys::memory_file("environ", &block).map_err(failed)?));
        if let Some(helpers) = self.helpers {
            parts.push((Part::Helpers, helpers));
        }
        Handover::new(parts).send(socket.as_fd()).map_err(failed)
    }
}

/// What an image says about how it wants to be started.
struct ImageFiles {
    environment: Vec<u8>,
    fstab: Vec<u8>,
    workdir: Option<PathBuf>,
}

impl ImageFiles {
    fn read() -> ImageFiles {
        ImageFiles {
            environment: fs::read("/etc/environment").unwrap_or_default(),
            fstab: fs::read("/etc/fstab").unwrap_or_default(),
            workdir: fs::read("/etc/rc").ok().as_deref().and_then(workdir),
        }
    }
}

/// The directory that an image's command script starts in: enroot's importer writes it as
/// `cd "DIR" && unset OLDPWD || exit 1`.
fn workdir(script: &[u8]) -> Option<PathBuf> {
    script.split(|byte| *byte == b'\n').find_map(|line| {
        let rest = line.trim_ascii().strip_prefix(b"cd \"")?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        (end > 0).then(|| PathBuf::from(OsString::from_vec(rest[..end].to_vec())))
    })
}

/// The image's own mount lines. `${ENROOT_ROOTFS}/x` means the image's own `/x`, which a volume
/// binds onto itself; with a root of our own there is nothing to do for those.
fn image_mounts(fstab: &[u8], host: &Environ) -> Result<Vec<Entry>, StartError> {
    let mut lines = Vec::new();
    for line in fstab.split(|byte| *byte == b'\n') {
        if !line.trim_ascii_start().starts_with(b"${ENROOT_ROOTFS}") {
            lines.extend_from_slice(&environ::substitute(line, host));
            lines.push(b'\n');
        }
    }
    mounts::parse_lines(OsStr::from_bytes(&lines))
}

fn mount_line(roots: &Roots, line: &OsStr) -> Result<(), StartError> {
    match Entry::parse(line)? {
        Some(entry) => mounts::apply(roots, &entry),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_working_directory_of_an_image() {
        let script = b"# enroot-provenance: docker://x\n\nmkdir -p \"/work dir\" 2> /dev/null\n\
            cd \"/work dir\" && unset OLDPWD || exit 1\n\nexec \"$@\"\n";
        assert_eq!(workdir(script), Some("/work dir".into()));
        assert_eq!(workdir(b"exec \"$@\"\n"), None);
    }

    #[test]
    fn an_images_volumes_need_no_mount() {
        let host = Environ::from([("HOME".into(), "/home/u".into())]);
        let fstab = b"${ENROOT_ROOTFS}/data /data none x-create=dir,bind\n${HOME} /h\n";
        let got = image_mounts(fstab, &host).unwrap();
        assert_eq!(got.len(), 1);
        assert_eq!((got[0].source.to_str(), got[0].target.to_str()), (Some("/home/u"), Some("/h")));
    }
}
