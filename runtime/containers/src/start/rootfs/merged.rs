//! The merged tree of a container that is not entered: for `export`.

use std::os::fd::OwnedFd;

use linux::file_error::FileError;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::HostSide;
use crate::record::{Claim, Container};
use crate::start::error::StartError;
use crate::start::mounts::data_images::DataImages;
use crate::start::plan::Namespaces;
use crate::start::process::identity::Identity;
use crate::start::rootfs::assemble::{Assembly, bind_host_directory};
use crate::start::rootfs::source::{Opened, RootfsSource, helper_log};
use crate::start::roots::{Roots, Stage, TREE};

/// A root filesystem with nothing mounted in it.
pub(crate) struct Merged {
    /// The tree, to be reached by `/proc/self/fd/N`.
    pub(crate) tree: OwnedFd,
    roots: Roots,
    _claim: Option<Claim>,
}

impl Merged {
    /// Makes the host's tree the process's root, and the caller's directory the working directory.
    pub(crate) fn enter_host(&mut self) -> Result<(), StartError> {
        self.roots.host().map(drop)
    }
}

/// Puts the container's tree together, readable whatever its modes say. The calling process, in
/// namespaces of its own afterwards, should do its work and end: a container that does not run
/// cannot be started meanwhile.
pub(crate) fn merged(container: &Container, host: &HostSide) -> Result<Merged, StartError> {
    let _umask = linux::sys::Umask::ours();
    let identity = Identity::of_caller(true);
    let root = crate::start::plan::Root::Container(container.clone());
    let Opened { source, claim } = RootfsSource::open(&root, host.in_use)?;
    if !nix::unistd::geteuid().is_root() {
        identity.enter_user_namespace()?;
    }
    let running = matches!(source, RootfsSource::RunningRoot(_));
    let log = helper_log()?;
    let source = source.prepare(&identity, (&container.mark(), false), host, &log)?;
    source.fork_helpers(&DataImages::default(), None, &log)?.reap_intermediate();
    let stage = Stage::enter()?;
    let source = source.serve()?;
    let mut roots = stage.pivot(&Namespaces::default())?;
    match source {
        RootfsSource::Directory(path) => bind_host_directory(&mut roots, &path, TREE)?,
        source => {
            let mark = &container.mark();
            let assembly = Assembly { host, mark, writable: true, filling: None };
            assembly.assemble(&mut roots, source)?;
        }
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    roots.stage()?;
    let tree =
        open(TREE, flags, Mode::empty()).map_err(|errno| FileError::new("open", TREE, errno))?;
    // Others wait for the lock instead of failing at a layer that is taken.
    let claim = claim.filter(|_| !running);
    Ok(Merged { tree, roots, _claim: claim })
}
