//! The merged tree of a container that is not entered: for `export`.

use std::os::fd::OwnedFd;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::identity::Identity;
use super::rootfs::{self, Ground, Source, helper_log};
use super::roots::Roots;
use super::{Namespaces, StartError};
use crate::HostSide;
use crate::named::{Claim, Container};

/// A root filesystem with nothing mounted in it, while the calling process sees the host's tree.
pub(crate) struct Merged {
    /// The tree, to be reached by `/proc/self/fd/N`.
    pub(crate) tree: OwnedFd,
    roots: Roots,
    _claim: Option<Claim>,
}

impl Merged {
    /// Runs `work` with the host's tree as root, in the caller's directory.
    pub(crate) fn on_host<T>(&self, work: impl FnOnce() -> T) -> Result<T, StartError> {
        self.roots.host(work)
    }
}

/// Puts the container's tree together, readable whatever its modes say. The calling process, in
/// namespaces of its own afterwards, should do its work and end: a container that does not run
/// cannot be started meanwhile.
pub(crate) fn merged(container: &Container, host: &HostSide) -> Result<Merged, StartError> {
    let _umask = linux::sys::Umask::ours();
    let identity = Identity::of_caller(true);
    let (ground, claim) = Ground::find(&super::Root::Container(container.clone()), host.in_use)?;
    if !nix::unistd::geteuid().is_root() {
        identity.enter_user_namespace()?;
    }
    let running = matches!(ground, Ground::Mount(_));
    let log = helper_log()?;
    let source = ground.prepare(&identity, host, &log)?;
    source.fork_helpers(None, &log)?.settle();
    let (roots, source) = Roots::enter(&Namespaces::default(), || source.serve())?;
    match source {
        Source::Directory(path) => rootfs::bind_host_directory(&roots, &path, "/root")?,
        source => {
            rootfs::assemble(&roots, host, source, &container.mark(), true, |_| Ok(()))?;
        }
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let tree = roots
        .stage(|| open("/root", flags, Mode::empty()))?
        .map_err(|errno| StartError::file("open", "/root", errno))?;
    // Others wait for the lock instead of failing at a layer that is taken.
    let claim = claim.filter(|_| !running);
    Ok(Merged { tree, roots, _claim: claim })
}
