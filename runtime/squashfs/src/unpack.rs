//! Writes an image's files to a directory, for where nothing can serve them: as the user who asks,
//! whom all of them belong to. Devices are left out, and so is what only root may set: owners,
//! set-user-id bits, attributes of other kinds than `user`.
//!
//! The directory is the caller's own and nobody else's. All the same each name is used below an open
//! directory, and no symbolic link is followed.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use linux::file_error::FileError;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, futimens, mkdirat, mknodat,
    utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{linkat, symlinkat};

use super::directory::Entry;
use super::inode::Directory;
use super::{Image, Inode, Kind, SquashfsError};

/// What is read and written at once.
const PIECE: usize = 1 << 20;
/// Zeros of this length are a hole.
const HOLE: usize = 4096;
/// More do not help a reader of one image.
const MOST_THREADS: usize = 8;
/// Longer than that no path can be opened.
const LONGEST_PATH: usize = 4000;
/// What any image may have: bytes of contents, and names. Larger images may have more.
const ANY_BYTES: u64 = 16 << 30;
const ANY_NAMES: u64 = 1 << 22;
/// Bytes of contents for each byte of an image, and bytes of the image for each name.
const BYTES_FOR_BYTE: u64 = 200;
const BYTES_FOR_NAME: u64 = 16;
/// Bytes of holes that cost as much time as one of contents.
const HOLES_FOR_BYTE: usize = 64;
/// Attributes of one file: each is looked for among all.
const MOST_ATTRIBUTES: usize = 256;
/// In which programs that merge layers keep what they know.
const OF_LAYERS: [&[u8]; 3] = [b"user.overlay.", b"user.fuseoverlayfs.", b"user.containers."];
/// What a user may not set, or not for others.
const PERMISSIONS: u32 = 0o1777;

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

/// What an image may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of contents; those of holes count for little.
    pub bytes: u64,
    /// Names.
    pub names: u64,
}

impl Limits {
    /// What is honest for an image of that size.
    pub fn of(image: &Image) -> Limits {
        Limits {
            bytes: ANY_BYTES.max(image.bytes().saturating_mul(BYTES_FOR_BYTE)),
            names: ANY_NAMES + image.bytes() / BYTES_FOR_NAME,
        }
    }
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
    /// Makes everything but regular files, directory after directory.
    fn make_names(&mut self) -> Result<()> {
        let root = self.image.inode(self.image.root())?;
        self.add_directory(PathBuf::new(), &root, self.image.root())?;
        let image = self.image;
        let mut next = 0;
        while next < self.directories.len() {
            if (self.interrupted)() {
                return Err(UnpackError::Interrupted);
            }
            let directory = self.open(next)?;
            let list = self.directories[next].list.clone();
            for entry in image.list(&list, 0)? {
                self.entry(next, &directory, &entry?)?;
            }
            next += 1;
        }
        Ok(())
    }

    fn add_directory(&mut self, path: PathBuf, inode: &Inode, reference: u64) -> Result<()> {
        let Kind::Directory(list) = &inode.kind else {
            return Err(SquashfsError::Damaged("a directory that is none").into());
        };
        if !self.known.insert(reference) {
            return Err(SquashfsError::Damaged("a directory in two places").into());
        }
        self.directories.push(OpenDirectory { path, list: list.clone(), inode: inode.clone() });
        Ok(())
    }

    fn entry(&mut self, at: usize, directory: &OwnedFd, entry: &Entry) -> Result<()> {
        self.names += 1;
        if self.names > self.limits.names {
            return Err(UnpackError::TooMuch("more names"));
        }
        let name = CString::new(entry.name.as_slice())
            .map_err(|_| SquashfsError::Damaged("a name with a zero"))?;
        let inode = self.image.inode(entry.reference)?;
        let name = Name { directory: at, name };
        if inode.links > 1 && !matches!(inode.kind, Kind::Directory(_) | Kind::Device(_)) {
            if self.first.contains_key(&entry.reference) {
                self.links.push((name, entry.reference));
                return Ok(());
            }
            self.first.insert(entry.reference, name.clone());
        }
        let mode = Mode::from_bits_truncate(inode.mode & 0o777);
        let made = match &inode.kind {
            Kind::Directory(_) => {
                let path = self.path(&name);
                if path.as_os_str().len() > LONGEST_PATH {
                    return Err(UnpackError::TooMuch("longer paths"));
                }
                self.add_directory(path, &inode, entry.reference)?;
                mkdirat(directory, name.name.as_c_str(), Mode::S_IRWXU)
            }
            Kind::File(_) => {
                self.files.push((name, entry.reference));
                return Ok(());
            }
            Kind::Symlink(target) => {
                let target = self.image.target(&inode, target)?;
                symlinkat(OsStr::from_bytes(&target), directory, name.name.as_c_str())
            }
            Kind::Device(_) => {
                self.devices += 1;
                return Ok(());
            }
            Kind::Pipe => {
                let kind = SFlag::from_bits_truncate(inode.mode) & SFlag::S_IFMT;
                // Once more, for a umask.
                mknodat(directory, name.name.as_c_str(), kind, mode, 0).and_then(|()| {
                    let flag = FchmodatFlags::FollowSymlink;
                    fchmodat(directory, name.name.as_c_str(), mode, flag)
                })
            }
        };
        made.map_err(|errno| self.failed("create", &name, errno))?;
        if !matches!(inode.kind, Kind::Directory(_)) {
            set_time(directory.as_fd(), &name.name, inode.mtime)
                .map_err(|errno| self.failed("set the time of", &name, errno))?;
        }
        Ok(())
    }

    /// Writes the regular files, with as many threads as there are cores.
    fn write_files(&self) -> Result<()> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
        let fault = Mutex::new(None);
        let work = || {
            let mut piece = vec![0; PIECE];
            let mut open = None;
            while !stopped.load(Ordering::Relaxed) {
                let Some((name, reference)) = self.files.get(next.fetch_add(1, Ordering::Relaxed))
                else {
                    return;
                };
                if let Err(error) = self.write_file(name, *reference, &mut open, &mut piece) {
                    stopped.store(true, Ordering::Relaxed);
                    let mut fault = fault.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    fault.get_or_insert(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..cores.min(MOST_THREADS).min(self.files.len()) {
                // One less where there may be no more of them.
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        let fault = fault.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        fault.map_or(Ok(()), Err)
    }

    /// `open` is the directory that the thread had last.
    fn write_file(
        &self,
        name: &Name,
        reference: u64,
        open: &mut Option<(usize, OwnedFd)>,
        piece: &mut [u8],
    ) -> Result<()> {
        if open.as_ref().is_none_or(|(number, _)| *number != name.directory) {
            *open = Some((name.directory, self.open(name.directory)?));
        }
        let Some((_, directory)) = open.as_ref() else { return Ok(()) };
        let inode = self.image.inode(reference)?;
        let Kind::File(contents) = &inode.kind else { return Ok(()) };
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let private = Mode::S_IRUSR | Mode::S_IWUSR;
        let file: File = openat(directory, name.name.as_c_str(), flags | OFlag::O_CLOEXEC, private)
            .map_err(|errno| self.failed("create", name, errno))?
            .into();
        let failed = |error: io::Error| self.failed("write", name, error);
        let mut offset = 0;
        while offset < inode.size {
            if (self.interrupted)() {
                return Err(UnpackError::Interrupted);
            }
            let length = self.image.read(&inode, contents, offset, piece)?;
            self.write_piece(&file, offset, &piece[..length]).map_err(failed)?;
            offset += length as u64;
            if self.bytes.load(Ordering::Relaxed) > self.limits.bytes {
                return Err(UnpackError::TooMuch("more contents"));
            }
        }
        file.set_len(inode.size).map_err(failed)?;
        self.set_attributes(file.as_fd(), &inode)?;
        fchmod(&file, Mode::from_bits_truncate(inode.mode & PERMISSIONS))
            .map_err(|errno| failed(errno.into()))?;
        set_time(directory.as_fd(), &name.name, inode.mtime).map_err(|errno| failed(errno.into()))
    }

    /// Leaves holes where there are zeros: an image may say of them as many as it likes.
    fn write_piece(&self, file: &File, offset: u64, piece: &[u8]) -> io::Result<()> {
        let is_hole = |part: &[u8]| part.iter().all(|byte| *byte == 0);
        let mut at = 0;
        while at < piece.len() {
            let parts = piece[at..].chunks(HOLE);
            let hole = is_hole(&piece[at..piece.len().min(at + HOLE)]);
            let same = parts.take_while(|part| is_hole(part) == hole);
            let end = at + same.map(<[u8]>::len).sum::<usize>();
            if !hole {
                file.write_all_at(&piece[at..end], offset + at as u64)?;
            }
            let cost = (end - at) / if hole { HOLES_FOR_BYTE } else { 1 };
            self.bytes.fetch_add(cost as u64, Ordering::Relaxed);
            at = end;
        }
        Ok(())
    }

    /// Gives further names to files that have several.
    fn link(&self) -> Result<()> {
        for (name, reference) in &self.links {
            let first = &self.first[reference];
            let (from, to) = (self.open(first.directory)?, self.open(name.directory)?);
            let flags = AtFlags::empty();
            linkat(&from, first.name.as_c_str(), &to, name.name.as_c_str(), flags)
                .map_err(|errno| self.failed("link", name, errno))?;
        }
        Ok(())
    }

    /// Gives directories their modes and times, those inside of others first.
    fn finish_directories(&self) -> Result<()> {
        for (number, made) in self.directories.iter().enumerate().rev() {
            let failed = |errno| {
                let path = made.path.clone();
                FileError::new("set the mode of", path, errno)
            };
            let directory = self.open(number)?;
            self.set_attributes(directory.as_fd(), &made.inode)?;
            let time = TimeSpec::new(made.inode.mtime.into(), 0);
            futimens(&directory, &time, &time).map_err(failed)?;
            let mode = Mode::from_bits_truncate(made.inode.mode & PERMISSIONS);
            fchmod(&directory, mode).map_err(failed)?;
        }
        Ok(())
    }

    /// Sets the attributes that a user may set. What overlayfs or fuse-overlayfs would take for its own is left
    /// out: an image is not to steer a layer.
    fn set_attributes(&self, file: BorrowedFd<'_>, inode: &Inode) -> Result<()> {
        let names = self.image.attribute_names(inode)?;
        for name in names.split_inclusive(|byte| *byte == 0).take(MOST_ATTRIBUTES) {
            let Ok(text) = CStr::from_bytes_with_nul(name) else { continue };
            let bytes = text.to_bytes();
            if !bytes.starts_with(b"user.")
                || OF_LAYERS.iter().any(|layer| bytes.starts_with(layer))
            {
                continue;
            }
            let value = self.image.attribute(inode, bytes)?.unwrap_or_default();
            if linux::xattr::set(file, text, &value).is_err() {
                self.attributes.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

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

fn set_time(directory: BorrowedFd<'_>, name: &CStr, mtime: u32) -> nix::Result<()> {
    let time = TimeSpec::new(mtime.into(), 0);
    utimensat(directory, name, &time, &time, UtimensatFlags::NoFollowSymlink)
}
