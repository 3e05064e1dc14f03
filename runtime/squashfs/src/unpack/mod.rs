//! Writes an image's files to a directory, for where nothing can serve them: as the user who asks,
//! whom all of them belong to. Devices are left out, and so is what only root may set: owners,
//! set-user-id bits, attributes of other kinds than `user`.
//!
//! The directory is the caller's own and nobody else's. All the same each name is used below an open
//! directory, and no symbolic link is followed.

mod attributes;
mod contents;
mod limits;
mod names;

use std::collections::{HashMap, HashSet};
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use linux::file_error::FileError;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;

use super::inode::Directory;
use super::{Image, Inode, SquashfsError};

pub use limits::Limits;

/// Why an image cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The image cannot be read.
    #[error(transparent)]
    Image(#[from] SquashfsError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The image has more of something than its size is worth.
    #[error("the image has {0} than its size is worth")]
    TooMuch(&'static str),
    /// Whoever asked wants no more of it.
    #[error("interrupted")]
    Interrupted,
}

type Result<T> = std::result::Result<T, UnpackError>;

/// What was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Devices.
    pub devices: u64,
    /// Attributes that the file system does not keep.
    pub attributes: u64,
}

/// A directory that was made and is being filled; its attributes follow at the end.
struct OpenDirectory {
    path: PathBuf,
    list: Directory,
    inode: Inode,
}

/// A name in one of the directories, by number.
#[derive(Clone)]
struct Name {
    directory: usize,
    name: CString,
}

struct Unpacker<'a> {
    image: &'a Image,
    root: BorrowedFd<'a>,
    limits: Limits,
    interrupted: &'a (dyn Fn() -> bool + Sync),
    directories: Vec<OpenDirectory>,
    /// No directory is in two places, whatever an image says.
    known: HashSet<u64>,
    files: Vec<(Name, u64)>,
    /// The first name of what has several, by the place of the inode.
    first: HashMap<u64, Name>,
    links: Vec<(Name, u64)>,
    names: u64,
    devices: u64,
    attributes: AtomicU64,
    bytes: AtomicU64,
}

impl Image {
    /// Writes all files to the empty directory `root`, until `interrupted`. For this it has threads of
    /// its own, which are gone afterwards.
    ///
    /// # Errors
    /// [`UnpackError`]; what was written until then is there.
    pub fn unpack(
        &self,
        root: BorrowedFd<'_>,
        limits: Limits,
        interrupted: &(dyn Fn() -> bool + Sync),
    ) -> Result<LeftOut> {
        let mut unpacker = Unpacker {
            image: self,
            root,
            limits,
            interrupted,
            directories: Vec::new(),
            known: HashSet::new(),
            files: Vec::new(),
            first: HashMap::new(),
            links: Vec::new(),
            names: 0,
            devices: 0,
            attributes: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        unpacker.make_names()?;
        unpacker.write_files()?;
        unpacker.link()?;
        unpacker.finish_directories()?;
        let attributes = unpacker.attributes.into_inner();
        Ok(LeftOut { devices: unpacker.devices, attributes })
    }
}

impl Unpacker<'_> {
    fn path(&self, name: &Name) -> PathBuf {
        self.directories[name.directory].path.join(OsStr::from_bytes(name.name.to_bytes()))
    }

    fn open(&self, number: usize) -> Result<OwnedFd> {
        let path = &self.directories[number].path;
        let path = if number == 0 { Path::new(".") } else { path };
        open_below(self.root, path).map_err(|errno| {
            let path = path.to_owned();
            FileError::new("open", path, errno).into()
        })
    }

    fn failed(
        &self,
        operation: &'static str,
        name: &Name,
        source: impl Into<io::Error>,
    ) -> UnpackError {
        FileError::new(operation, self.path(name), source).into()
    }
}

fn open_below(root: BorrowedFd<'_>, path: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
    match openat2(root, path, OpenHow::new().flags(flags).resolve(resolve)) {
        // Kernels before 5.6.
        Err(Errno::ENOSYS) => openat(root, path, flags, Mode::empty()),
        opened => opened,
    }
}
