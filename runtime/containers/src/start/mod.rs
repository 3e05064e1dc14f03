//! Starting a container: namespaces, a root filesystem, mounts, an environment.
//!
//! [`start`] turns the calling process, which must have one thread, into one inside the
//! container: it may exec the user's program itself or hand the container's descriptors over to
//! others ([`Container::hand_over`]).

mod account;
mod cgroups;
mod configure;
mod cores;
mod devices;
mod error;
mod export;
pub(crate) mod files;
mod fixes;
mod guard;
mod helpers;
mod hooks;
mod identity;
mod image_mounts;
pub(crate) mod launcher;
mod layers;
mod mounts;
mod process;
mod ready;
mod rootfs;
mod roots;
mod server;
mod site;
mod system;
mod tool;
mod tree;
mod upper;

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

pub use devices::Wanted;
pub use error::StartError;
pub(crate) use export::merged;
pub(crate) use layers::can_layer;
pub(crate) use process::supervise;
pub use site::{Site, SiteFolders};
pub use tool::enroot_mount;

use crate::HostSide;
use crate::fstab::Entry;
use crate::named::{self, Claim};
use configure::{Configured, Host, Prepared, configure};
use handover::namespaces::Namespace;
use handover::{Handover, Part, environ_file};
use identity::Identity;
use linux::environ::{self, Environ};
use linux::sys;
use ready::Ready;
use rootfs::{Ground, helper_log};
use roots::Roots;
use tree::Tree;
use upper::Seen;

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
    Container(named::Container),
}

impl Root {
    /// What running processes show as the source of their root mount.
    fn mark(&self, label: Option<&named::Name>) -> String {
        match (self, label) {
            (Root::Container(container), _) => container.mark(),
            (Root::Path(_), Some(label)) => named::label_mark(label),
            (Root::Path(_), None) => "pyxis".to_owned(),
        }
    }
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the root filesystem is made of.
    pub root: Root,
    /// What a container that has no name of its own is called while it runs.
    pub label: Option<named::Name>,
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
    /// Devices by CDI.
    pub devices: Wanted,
    /// Carry out all mount lines of the image's own `/etc/fstab`, those of the host's files, too.
    pub image_mounts: bool,
    /// What the site adds.
    pub site: Site,
    /// The host.
    pub host: HostSide,
    /// A configuration script: bash with functions `environ`, `mounts`, `hooks` and `rc`.
    pub conf: Option<PathBuf>,
}

/// A started container; the calling process is in it.
#[derive(Debug)]
pub struct Container {
    umask: sys::Umask,
    namespaces: Vec<(Part, OwnedFd)>,
    own: Namespaces,
    privileged: bool,
    cgroup: bool,
    helpers: Option<OwnedFd>,
    /// Others who want this container wait until it is complete.
    claim: Option<Claim>,
    /// Variables that only concern this step.
    launched: Environ,
    /// Its environment.
    pub environ: Environ,
    /// The directory programs start in.
    pub cwd: PathBuf,
    /// A command script that the configuration script put in place of the image's.
    pub script: Option<Vec<u8>>,
}

/// Starts a container, leaving the calling process inside it. With a `lease`, the socket that the
/// container will be handed over to, the container is killed when the lease's other end is closed
/// without a farewell.
///
/// # Errors
/// [`StartError`]; the process is then in no usable state and should exit. Nothing is left
/// behind: all mounts are in a namespace that goes with the process.
pub fn start(plan: Plan, lease: Option<RawFd>) -> Result<Container, StartError> {
    let umask = sys::Umask::ours();
    let identity = Identity::of_caller(plan.remap_root);
    let (ground, claim) = Ground::find(&plan.root, plan.host.in_use)?;
    let image = match &ground {
        Ground::Image { path, .. } => Some(path.clone()),
        Ground::Directory(_) | Ground::Mount(_) => None,
    };
    let log = helper_log()?;
    let source = ground.prepare(&identity, &plan.host, &log)?;
    // By ourselves, without the server; which then has unpacked already what it is asked for first.
    let seen = source.image().map(|image| Seen::of(Tree::Image(image), &plan.host));
    let mut helpers = source.fork_helpers(lease, &log)?;
    let guarded = geteuid().is_root() && !plan.privileged;
    if guarded {
        if plan.unshare.pid {
            own_processes()?;
        }
        guard::hide_switches(plan.unshare.pid)?;
    }
    if !plan.privileged {
        identity.enter_user_namespace()?;
        helpers.tell_keeper().map_err(StartError::Process)?;
    }
    if plan.unshare.pid && !guarded {
        own_processes()?;
    }
    let (mut roots, (source, host)) = Roots::enter(&plan.unshare, || {
        let source = source.serve()?;
        // While the server starts.
        Ok((source, Host::look(&identity, &plan.host.environ)))
    })?;
    // While the server starts, too.
    let known = system::known_entries(&plan, guarded).chain(host.cgroups.iter().cloned());
    let ready = Ready::make(&roots, known)?;
    let mark = plan.root.mark(plan.label.as_ref());
    let filling = |upper: &Path| upper::fill(&roots, upper, seen, &identity, (&plan.host, &host));
    let damaged = |error: StartError| error.of_image(image.as_deref());
    let early = rootfs::assemble(&roots, &plan.host, source, &mark, plan.writable, filling)
        .map_err(damaged)?;
    let Configured { environ, launched, cwd, script } =
        configure(&mut roots, &plan, &identity, host, Prepared { early, ready, guarded })
            .map_err(damaged)?;
    if !plan.writable {
        mounts::make_root_readonly(&roots)?;
    }
    // Made late, so that the view starts at the step's own cgroup; and before anybody could take us
    // for the container and join the node's.
    let cgroup = Namespace::Cgroup.unshare().is_ok();
    roots.leave_host()?;
    helpers.settle();
    let (own, privileged, helpers) = (plan.unshare, plan.privileged, helpers.ended);
    Ok(Container {
        umask,
        namespaces: Vec::new(),
        own,
        privileged,
        cgroup,
        helpers,
        claim,
        launched,
        environ,
        cwd,
        script,
    })
}

/// Goes on as the first process of a new PID namespace.
fn own_processes() -> Result<(), StartError> {
    let failed = |source| StartError::namespace(Namespace::Pid, source);
    Namespace::Pid.unshare().map_err(|errno| failed(errno.into()))?;
    supervise().map_err(failed)
}

impl Container {
    /// Opens the namespaces that are to be handed over, while `/proc` is what it says.
    pub(crate) fn keep_namespaces(&mut self) -> std::io::Result<()> {
        if !self.namespaces.is_empty() {
            return Ok(());
        }
        for namespace in Namespace::ALL {
            let wanted = match namespace {
                Namespace::User => !self.privileged,
                Namespace::Cgroup => self.cgroup,
                Namespace::Mount => true,
                Namespace::Ipc => self.own.ipc,
                Namespace::Uts => self.own.uts,
                Namespace::Net => self.own.net,
                Namespace::Pid => false,
            };
            if let (Some(part), true) = (namespace.part(), wanted) {
                self.namespaces.push((part, namespace.own()?));
            }
        }
        Ok(())
    }

    /// The user's mask for new files again, for a program that is about to be executed.
    pub(crate) fn restore_umask(&self) {
        self.umask.restore();
    }

    /// Whether it has no user namespace of its own.
    pub fn privileged(&self) -> bool {
        self.privileged
    }

    /// The container is as it will be: those who join it get this environment.
    pub(crate) fn complete(&mut self) {
        if let Some(mut claim) = self.claim.take() {
            let mut environ = self.environ.clone();
            environ.retain(|name, value| self.launched.get(name) != Some(value));
            // The container works without.
            let _ = claim.save_environ(&environ::to_block(&environ));
        }
    }

    /// Sends the container's descriptors to `socket` ([`handover`]).
    ///
    /// # Errors
    /// [`StartError::Handover`].
    pub fn hand_over(mut self, socket: BorrowedFd<'_>) -> Result<(), StartError> {
        let failed = StartError::Handover;
        self.complete();
        self.keep_namespaces().map_err(failed)?;
        let mut parts = std::mem::take(&mut self.namespaces);
        let cwd = files::open_path(&self.cwd).map_err(failed)?;
        parts.push((Part::Cwd, cwd));
        let block = environ::to_block(&self.environ);
        parts.push((Part::Environ, environ_file(&block).map_err(failed)?));
        if let Some(helpers) = self.helpers {
            parts.push((Part::Helpers, helpers));
        }
        Handover::new(parts).send(socket.as_fd()).map_err(failed)
    }
}
