//! The roots of a starting container: the stage, a tmpfs that only this mount namespace has; the
//! host's tree, kept at `/host` of the stage; and the container's tree, put together at `/root`.
//!
//! The process has one of them as its root at a time. To enter one gives a view of it, and no two
//! views exist at once: what is to be done in a tree takes the view of that tree.
//!
//! Paths of the image are walked inside a chroot of the container's tree, so that absolute
//! symbolic links and `..` in an image cannot lead to the host.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::file_error::FileError;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot, fchdir, mkdir, pivot_root};

use crate::start::error::StartError;
use crate::start::plan::Namespaces;
use handover::namespaces::Namespace;
use linux::{detached, sys};

/// Where the stage is mounted before it becomes the root. The directory shows again afterwards.
const MOUNT_POINT: &str = "/tmp";
const NONE: Option<&str> = None;

/// Where the container's tree is put together, on the stage.
pub(super) const TREE: &str = "/root";
/// Where an image is mounted, on the stage.
pub(super) const LOWER: &str = "lower";
/// The other directories of the stage: the host's tree, the container's tree, the two parts of a
/// writable layer in memory, and a named container's directory.
const DIRECTORIES: [&str; 5] = ["host", "root", "upper", "work", "data"];

/// The stage, while the process's root is still the host's tree.
pub(super) struct Stage {
    /// The caller's working directory.
    cwd: OwnedFd,
}

impl Stage {
    /// Enters a mount namespace and mounts the stage, which becomes the working directory. It has
    /// one directory, [`LOWER`], for an image to be mounted on.
    pub(super) fn enter() -> Result<Stage, StartError> {
        unshare(Namespace::Mount)?;
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE)
            .map_err(|errno| StartError::mount("/ as slave", "/", errno))?;
        let cwd = open(".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| FileError::new("open", Path::new("."), errno))?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("pyxis"), MOUNT_POINT, Some("tmpfs"), flags, Some("mode=700"))
            .and_then(|()| chdir(MOUNT_POINT))
            .map_err(failed)?;
        make(LOWER)?;
        Ok(Stage { cwd })
    }

    /// Enters the other namespaces that the container has for itself, and makes the stage the root.
    pub(super) fn pivot(self, own: &Namespaces) -> Result<Roots, StartError> {
        DIRECTORIES.into_iter().try_for_each(make)?;
        for (which, wanted) in
            [(Namespace::Ipc, own.ipc), (Namespace::Uts, own.uts), (Namespace::Net, own.net)]
        {
            if wanted {
                unshare(which)?;
            }
        }
        if own.net {
            sys::loopback_up()
                .map_err(|source| StartError::Namespace { which: "net (loopback)", source })?;
        }
        pivot_root(".", "host").map_err(|errno| StartError::mount("the stage", "/", errno))?;
        chdir("/").map_err(failed)?;
        let base = open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| FileError::new("open", Path::new("/"), errno))?;
        Ok(Roots {
            base,
            cwd: self.cwd,
            host: "host".into(),
            tree: None,
            uncovered: None,
            made: Vec::new(),
        })
    }
}

fn unshare(which: Namespace) -> Result<(), StartError> {
    which.unshare().map_err(|errno| StartError::namespace(which, errno))
}

fn failed(errno: nix::Error) -> StartError {
    StartError::mount("tmpfs", MOUNT_POINT, errno)
}

fn make(directory: &str) -> Result<(), StartError> {
    mkdir(directory, Mode::from_bits_truncate(0o755))
        .map_err(|errno| FileError::new("create", Path::new(directory), errno).into())
}

/// Handles on all trees.
pub(super) struct Roots {
    /// The root of the stage.
    base: OwnedFd,
    /// The caller's working directory.
    cwd: OwnedFd,
    /// The host's tree, seen from the stage.
    host: PathBuf,
    /// The container's, which is opened when it is entered first: where it is shown to hooks, a path could come to
    /// lead elsewhere.
    tree: Option<OwnedFd>,
    /// The host's tree as it was before something was mounted in it.
    uncovered: Option<PathBuf>,
    /// The mounts that mount lines have made in the container's tree, and where that was then.
    made: Vec<(PathBuf, OwnedFd)>,
}

/// The process's root is the stage.
pub(super) struct StageRoot<'a>(&'a mut Roots);

/// The process's root is the host's tree, its working directory the caller's.
pub(super) struct HostRoot<'a>(PhantomData<&'a mut Roots>);

/// The process's root and working directory is the container's tree.
pub(super) struct ContainerRoot<'a>(PhantomData<&'a mut Roots>);

/// The process's root and working directory is the image alone: there is no container's tree yet.
pub(super) struct ImageRoot<'a>(PhantomData<&'a mut Roots>);

impl Roots {
    /// For a container that is being put together at `tree` on the tree that the caller sees.
    pub(super) fn on_host(tree: &Path) -> io::Result<Roots> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let base = open("/", flags, Mode::empty())?;
        let cwd = open(".", flags, Mode::empty())?;
        let tree = Some(open(tree, flags, Mode::empty())?);
        Ok(Roots { base, cwd, host: ".".into(), tree, uncovered: None, made: Vec::new() })
    }

    /// Makes the stage the process's root.
    pub(super) fn stage(&mut self) -> Result<StageRoot<'_>, StartError> {
        self.switch(".").map_err(not_entered)?;
        Ok(StageRoot(self))
    }

    /// Makes the host's tree the process's root.
    pub(super) fn host(&mut self) -> Result<HostRoot<'_>, StartError> {
        self.switch(&self.host).and_then(|()| fchdir(&self.cwd)).map_err(not_entered)?;
        Ok(HostRoot(PhantomData))
    }

    /// Makes the container's tree the process's root.
    pub(super) fn container(&mut self) -> Result<ContainerRoot<'_>, StartError> {
        self.open_tree().and_then(enter).map_err(not_entered)?;
        Ok(ContainerRoot(PhantomData))
    }

    /// Makes the image, at [`LOWER`], the process's root.
    pub(super) fn image(&mut self) -> Result<ImageRoot<'_>, StartError> {
        self.switch(LOWER).map_err(not_entered)?;
        Ok(ImageRoot(PhantomData))
    }

    /// Opens a host path as the host sees it, relative ones from the caller's directory.
    pub(super) fn open_on_host(&mut self, path: &Path) -> io::Result<OwnedFd> {
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

    /// Keeps what a mount line has mounted at `target`, for later lines that change it: by then a program of a
    /// container that runs may have had the path lead elsewhere.
    pub(super) fn keep_mount(&mut self, target: PathBuf, mount: OwnedFd) {
        self.made.push((target, mount));
    }

    /// What a line has mounted there last.
    pub(super) fn kept_mount(&self, target: &Path) -> Option<BorrowedFd<'_>> {
        let found = self.made.iter().rev().find(|(at, _)| at == target);
        found.map(|(_, mount)| mount.as_fd())
    }

    /// Forgets what a line has mounted there last.
    pub(super) fn forget_mount(&mut self, target: &Path) {
        if let Some(at) = self.made.iter().rposition(|(made, _)| made == target) {
            self.made.remove(at);
        }
    }

    fn open_tree(&mut self) -> nix::Result<&OwnedFd> {
        if self.tree.is_none() {
            self.switch(".")?;
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            self.tree = Some(open(TREE, flags, Mode::empty())?);
        }
        self.tree.as_ref().ok_or(nix::Error::ENOENT)
    }

    fn switch(&self, directory: impl AsRef<Path>) -> nix::Result<()> {
        enter(&self.base)?;
        if directory.as_ref() != Path::new(".") {
            chdir(directory.as_ref())?;
            chroot(".")?;
        }
        Ok(())
    }

    /// Makes the container's tree the root for good and lets go of the host's.
    pub(super) fn leave_host(mut self) -> Result<(), StartError> {
        let failed = |errno| StartError::mount("the container's root", "/", errno);
        self.switch(".").map_err(failed)?;
        self.open_tree().and_then(fchdir).map_err(failed)?;
        become_root().map_err(failed)
    }
}

/// Makes the mount that the working directory is on the root for good. The old one is stacked on it and taken off again.
pub(super) fn become_root() -> nix::Result<()> {
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")
}

/// Makes an opened directory the process's root and working directory.
fn enter(directory: &OwnedFd) -> nix::Result<()> {
    fchdir(directory)?;
    chroot(".")
}

fn not_entered(errno: nix::Error) -> StartError {
    FileError::new("enter", Path::new("/"), errno).into()
}

impl StageRoot<'_> {
    /// The container's tree.
    pub(super) fn tree(&mut self) -> nix::Result<&OwnedFd> {
        self.0.open_tree()
    }

    /// Keeps the host's tree as it is for [`Roots::open_on_host`], whatever is mounted in it from
    /// now on.
    pub(super) fn keep_host_uncovered(&mut self) -> Result<(), StartError> {
        let (host, copy) = (Path::new("/").join(&self.0.host), Path::new("/uncovered"));
        mkdir(copy, Mode::S_IRWXU)
            .and_then(|()| mount(Some(&host), copy, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE))
            .map_err(|errno| StartError::mount("the host's tree", "/uncovered", errno))?;
        self.0.uncovered = Some(copy.into());
        Ok(())
    }

    /// Moves the container's tree to a directory of the host, where hooks can see it.
    pub(super) fn show_tree_on_host(&mut self, directory: &Path) -> Result<(), StartError> {
        let relative = directory.strip_prefix("/").unwrap_or(directory);
        let target = Path::new("/host").join(relative);
        let moved = match self.tree().and_then(|tree| move_to(tree, &target)) {
            Err(nix::Error::ENOSYS) => mount(Some(TREE), &target, NONE, MsFlags::MS_MOVE, NONE),
            moved => moved,
        };
        moved.map_err(|errno| StartError::mount("the container", &target.to_string_lossy(), errno))
    }
}

fn move_to(mount: &OwnedFd, target: &Path) -> nix::Result<()> {
    let target = open(target, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    detached::attach(mount.as_fd(), target.as_fd())
}
