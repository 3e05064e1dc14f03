//! The two roots of a starting container: the host's tree, kept below `/host`, and the
//! container's, being put together below `/root`, on a tmpfs that only this mount namespace has.
//!
//! Paths of the image are walked inside a chroot of the container's tree, so that absolute
//! symbolic links and `..` in an image cannot lead to the host.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot, fchdir, mkdir, pivot_root};

use super::{Namespaces, StartError};
use handover::namespaces::Namespace;
use linux::sys;

/// Where the tmpfs is put before it becomes the root. The directory shows again afterwards.
const STAGE: &str = "/tmp";

/// Handles on both trees.
pub(super) struct Roots {
    base: OwnedFd,
    cwd: OwnedFd,
    /// The host's and the container's tree, seen from the stage.
    host: PathBuf,
    tree: PathBuf,
    /// The host's tree as it was before something was mounted in it.
    uncovered: Option<PathBuf>,
}

/// Where the container's tree is put together.
pub(super) const TREE: &str = "/root";

/// Where an image is mounted, on the stage.
pub(super) const LOWER: &str = "lower";

impl Roots {
    /// Enters new namespaces and makes the stage their root. `early` is done in between: on the
    /// host's tree, with the stage as working directory, [`LOWER`] in it, and the host's network.
    pub(super) fn enter<T>(
        own: &Namespaces,
        early: impl FnOnce() -> Result<T, StartError>,
    ) -> Result<(Roots, T), StartError> {
        let new = |which: Namespace| {
            let failed = |errno: nix::Error| StartError::namespace(which, errno);
            which.unshare().map_err(failed)
        };
        new(Namespace::Mount)?;
        let stage = |errno| StartError::mount("tmpfs", STAGE, errno);
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
            .map_err(|errno| StartError::mount("/ as slave", "/", errno))?;
        let cwd = open(".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| StartError::file("open", Path::new("."), errno))?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("pyxis"), STAGE, Some("tmpfs"), flags, Some("mode=700")).map_err(stage)?;
        chdir(STAGE).map_err(stage)?;
        let make = |directory| {
            mkdir(directory, Mode::from_bits_truncate(0o755))
                .map_err(|errno| StartError::file("create", Path::new(directory), errno))
        };
        make(LOWER)?;
        let done = early()?;
        ["host", "root", "upper", "work", "data"].into_iter().try_for_each(make)?;
        for (which, wanted) in
            [(Namespace::Ipc, own.ipc), (Namespace::Uts, own.uts), (Namespace::Net, own.net)]
        {
            if wanted {
                new(which)?;
            }
        }
        if own.net {
            sys::loopback_up()
                .map_err(|source| StartError::Namespace { which: "net (loopback)", source })?;
        }
        pivot_root(".", "host").map_err(|errno| StartError::mount("the stage", "/", errno))?;
        chdir("/").map_err(stage)?;
        let base = open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| StartError::file("open", Path::new("/"), errno))?;
        let (host, tree) = ("host".into(), TREE.into());
        Ok((Roots { base, cwd, host, tree, uncovered: None }, done))
    }

    /// For a container that is being put together at `tree` on the tree that the caller sees.
    pub(super) fn on_host(tree: &Path) -> io::Result<Roots> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let base = open("/", flags, Mode::empty())?;
        let cwd = open(".", flags, Mode::empty())?;
        let tree = std::path::absolute(tree)?;
        Ok(Roots { base, cwd, host: ".".into(), tree, uncovered: None })
    }

    /// Runs `work` with the stage as root.
    pub(super) fn stage<T>(&self, work: impl FnOnce() -> T) -> Result<T, StartError> {
        self.switch(".").map_err(|errno| StartError::file("enter", Path::new("/"), errno))?;
        Ok(work())
    }

    /// Runs `work` with the host's tree as root, in the caller's directory.
    pub(super) fn host<T>(&self, work: impl FnOnce() -> T) -> Result<T, StartError> {
        self.switch(&self.host)
            .and_then(|()| fchdir(&self.cwd))
            .map_err(|errno| StartError::file("enter", Path::new("/"), errno))?;
        Ok(work())
    }

    /// Opens a host path as the host sees it, relative ones from the caller's directory.
    pub(super) fn open_on_host(&self, path: &Path) -> io::Result<OwnedFd> {
        let found = || open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
        if let (Some(uncovered), true) = (&self.uncovered, path.is_absolute()) {
            self.switch(uncovered)?;
            // What hooks have made is in the other tree only.
            if let Ok(opened) = found() {
                return Ok(opened);
            }
        }
        self.switch(&self.host)?;
        fchdir(&self.cwd)?;
        Ok(found()?)
    }

    /// Keeps the host's tree as it is for [`Roots::open_on_host`], whatever is mounted in it from
    /// now on.
    pub(super) fn keep_uncovered(&mut self) -> Result<(), StartError> {
        let (host, copy) = (Path::new("/").join(&self.host), Path::new("/uncovered"));
        let none: Option<&str> = None;
        self.stage(|| {
            mkdir(copy, Mode::S_IRWXU)?;
            mount(Some(&host), copy, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
        })?
        .map_err(|errno| StartError::mount("the host's tree", "/uncovered", errno))?;
        self.uncovered = Some(copy.into());
        Ok(())
    }

    /// The container's tree, seen from the stage.
    pub(super) fn tree(&self) -> &Path {
        &self.tree
    }

    /// Moves the container's tree to a directory of the host, where hooks can see it.
    pub(super) fn show_on_host(&mut self, directory: &Path) -> Result<(), StartError> {
        let relative = directory.strip_prefix("/").unwrap_or(directory);
        let target = Path::new("/host").join(relative);
        let none: Option<&str> = None;
        self.stage(|| mount(Some(&self.tree), &target, none, MsFlags::MS_MOVE, none))?.map_err(
            |errno| StartError::mount("the container", &target.to_string_lossy(), errno),
        )?;
        self.tree = target;
        Ok(())
    }

    /// Runs `work` with the image alone as root and working directory, before there is a tree.
    pub(super) fn lower<T>(&self, work: impl FnOnce() -> T) -> Result<T, StartError> {
        self.switch(LOWER).map_err(|errno| StartError::file("enter", Path::new("/"), errno))?;
        Ok(work())
    }

    /// Runs `work` with the container's tree as root and working directory.
    pub(super) fn container<T>(&self, work: impl FnOnce() -> T) -> Result<T, StartError> {
        self.switch(&self.tree)
            .map_err(|errno| StartError::file("enter", Path::new("/"), errno))?;
        Ok(work())
    }

    fn switch(&self, directory: impl AsRef<Path>) -> nix::Result<()> {
        fchdir(&self.base)?;
        chroot(".")?;
        if directory.as_ref() != Path::new(".") {
            chdir(directory.as_ref())?;
            chroot(".")?;
        }
        Ok(())
    }

    /// Makes the container's tree the root for good and lets go of the host's.
    pub(super) fn leave_host(self) -> Result<(), StartError> {
        let failed = |errno| StartError::mount("the container's root", "/", errno);
        self.switch(".").map_err(failed)?;
        chdir(&self.tree).map_err(failed)?;
        // The old root is stacked on the new one and taken off again.
        pivot_root(".", ".").map_err(failed)?;
        umount2(".", MntFlags::MNT_DETACH).map_err(failed)?;
        chdir("/").map_err(failed)
    }
}
