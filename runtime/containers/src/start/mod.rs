//! Starting a container: namespaces, a root filesystem, mounts, an environment.
//!
//! [`start`] turns the calling process, which must have one thread, into one inside the
//! container: it may exec the user's program itself or hand the container's descriptors over to
//! others ([`Container::hand_over`]).

mod account;
mod assemble;
mod cgroups;
mod configure;
mod cores;
mod detached_mounts;
mod devices;
mod error;
mod export;
mod extract;
pub(crate) mod files;
mod fixes;
mod guard;
mod helpers;
mod hooks;
mod host_facts;
mod identity;
mod image_files;
mod image_mounts;
pub(crate) mod launcher;
mod layers;
mod mounts;
mod process;
mod roots;
mod server;
mod site;
mod source;
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
use assemble::Assembly;
use configure::{Configuration, Configured};
use detached_mounts::DetachedMounts;
use handover::namespaces::Namespace;
use handover::{Handover, Part, environ_file};
use host_facts::HostFacts;
use identity::Identity;
use linux::environ::{self, Environ};
use linux::sys;
use roots::{Roots, Stage};
use source::{Helpers, Opened, RootfsSource, helper_log};
use tree::Tree;
use upper::{Filling, ImageProbe};

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

/// Starts a container, leaving the calling process inside it.
///
/// With a `step_socket`, whose other end slurmstepd holds, the container is killed when that end is
/// closed without a message before.
///
/// # Errors
/// [`StartError`]; the process is then in no usable state and should exit. Nothing is left
/// behind: all mounts are in a namespace that goes with the process.
pub fn start(plan: Plan, step_socket: Option<RawFd>) -> Result<Container, StartError> {
    let umask = sys::Umask::ours();
    let identity = Identity::of_caller(plan.remap_root);
    let mark = plan.root.mark(plan.label.as_ref());

    // Open the source, and prepare what is to serve it.
    let Opened { source, claim } = RootfsSource::open(&plan.root, plan.host.in_use)?;
    let image_path = source.image_path().map(Path::to_owned);
    let damaged = |error: StartError| error.of_image(image_path.as_deref());
    let log = helper_log()?;
    let source = source.prepare(&identity, &plan.host, &log)?;
    // By ourselves: the server, which is forked from this process, then has unpacked already what
    // it is asked for first.
    let image = source.readable_image();
    let probe = image.map(|image| ImageProbe::of(Tree::Image(image), &plan.host));

    // Fork the helpers, which are to stay in the namespaces that we leave.
    let mut helpers = source.fork_helpers(step_socket, &log)?;

    let guarded = enter_namespaces(&plan, &identity, &mut helpers)?;
    let stage = Stage::enter()?;

    // Serve the image. While its server starts, do what does not need it.
    let source = source.serve()?;
    let facts = HostFacts::look(&identity, &plan.host.environ);
    let mut roots = stage.pivot(&plan.unshare)?;
    let known = system::known_entries(&plan, guarded).chain(facts.cgroups.iter().cloned());
    let detached = DetachedMounts::make(&mut roots, known)?;

    // Assemble the root file system, and configure what is to be a container.
    let filling = Filling { probe, identity: &identity, host: &plan.host, facts: &facts };
    let assembly =
        Assembly { host: &plan.host, mark: &mark, writable: plan.writable, filling: Some(filling) };
    let prefilled = assembly.assemble(&mut roots, source).map_err(damaged)?;
    let configuration =
        Configuration { plan: &plan, identity: &identity, facts, guarded, detached };
    let configured = configuration.configure(&mut roots, prefilled).map_err(damaged)?;

    // Finish: nothing of the host's tree is left, and nobody to wait for.
    let cgroup = close(&plan, roots)?;
    helpers.settle();
    let Configured { environ, launched, cwd, script } = configured;
    Ok(Container {
        umask,
        namespaces: Vec::new(),
        own: plan.unshare,
        privileged: plan.privileged,
        cgroup,
        helpers: helpers.ended,
        claim,
        launched,
        environ,
        cwd,
        script,
    })
}

/// Enters the container's user and PID namespaces. Root's container that is not privileged is
/// guarded: it is kept from the node's switches, which it says by returning `true`.
fn enter_namespaces(
    plan: &Plan,
    identity: &Identity,
    helpers: &mut Helpers,
) -> Result<bool, StartError> {
    let guarded = geteuid().is_root() && !plan.privileged;
    if guarded {
        if plan.unshare.pid {
            own_processes()?;
        }
        guard::hide_switches(plan.unshare.pid)?;
    }
    if !plan.privileged {
        identity.enter_user_namespace()?;
        helpers.send_user_namespace_to_keeper().map_err(StartError::Process)?;
    }
    if plan.unshare.pid && !guarded {
        own_processes()?;
    }
    Ok(guarded)
}

/// Makes the container's tree the root for good. Returns whether there is a cgroup namespace.
fn close(plan: &Plan, mut roots: Roots) -> Result<bool, StartError> {
    if !plan.writable {
        mounts::make_root_readonly(&mut roots)?;
    }
    // Made late, so that the view starts at the step's own cgroup; and before anybody could take us
    // for the container and join the node's.
    let cgroup = Namespace::Cgroup.unshare().is_ok();
    roots.leave_host()?;
    Ok(cgroup)
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
