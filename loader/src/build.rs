//! One installed build: what it is for, and whether it may be used.

use crate::elf::{self, ElfFault, Stamp};
use crate::text::{Path, real_path};
use core::ffi::{CStr, c_int};
use core::mem::MaybeUninit;

/// Why a build is not used.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// The file cannot be opened.
    Unreadable,
    /// A directory, a pipe or the like.
    NoFile,
    /// Somebody else than root and the owner of the loader owns the file or its directory.
    Owner,
    /// Others may write to the file or its directory.
    Writable,
    Truncated,
    NoStamp,
    /// Not for this Slurm, whatever is wrong with it.
    OtherMachine,
}

impl Fault {
    pub(crate) fn text(self) -> &'static [u8] {
        match self {
            Fault::Unreadable => b"unreadable",
            Fault::NoFile => b"not a regular file",
            Fault::Owner => b"it or its directory belongs to somebody else than root",
            Fault::Writable => {
                b"it or its directory can be written by others than root; chmod go-w"
            }
            Fault::Truncated => b"truncated; install its package again",
            Fault::NoStamp => b"without the stamp of a build of pyxis",
            Fault::OtherMachine => b"for another processor",
        }
    }
}

/// What a path leads to.
pub(crate) struct Build {
    /// Without symbolic links.
    pub(crate) path: Path,
    /// `Err` if it cannot be read.
    pub(crate) stamp: Result<Stamp, Fault>,
    /// Why it must not be used though it can be read.
    pub(crate) fault: Option<Fault>,
}

/// Looks at the file; `None` if there is none. `owner` may own it, as root may: the one whose
/// loader is already part of this process.
pub(crate) fn look(path: &Path, owner: libc::uid_t) -> Option<Build> {
    // SAFETY: `Path` always ends with a NUL.
    let real = real_path(unsafe { CStr::from_ptr(path.as_ptr()) })?;
    let directory = status(&real.parent()).map_or(Some(Fault::Unreadable), |s| trust(&s, owner));
    // A pipe must not make us wait.
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK;
    // SAFETY: a C string.
    let file = unsafe { libc::open(real.as_ptr(), flags) };
    if file < 0 {
        return Some(Build { path: real, stamp: Err(Fault::Unreadable), fault: directory });
    }
    let (stamp, fault) = examine(file, owner);
    // SAFETY: opened above, and used no more.
    unsafe { libc::close(file) };
    Some(Build { path: real, stamp, fault: fault.or(directory) })
}

fn examine(file: c_int, owner: libc::uid_t) -> (Result<Stamp, Fault>, Option<Fault>) {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: an open descriptor, and room for its status; all zeroes are a valid status.
    let status = unsafe {
        if libc::fstat(file, status.as_mut_ptr()) != 0 {
            return (Err(Fault::Unreadable), None);
        }
        status.assume_init()
    };
    if status.st_mode & libc::S_IFMT != libc::S_IFREG {
        return (Err(Fault::NoFile), None);
    }
    let stamp = elf::stamp(file, u64::try_from(status.st_size).unwrap_or(0));
    let stamp = stamp.map_err(|fault| match fault {
        ElfFault::NoStamp => Fault::NoStamp,
        ElfFault::OtherMachine => Fault::OtherMachine,
        ElfFault::Truncated => Fault::Truncated,
    });
    (stamp, trust(&status, owner))
}

/// Whether others could put something else there between this look and dlopen, or later.
pub(crate) fn trust(status: &libc::stat, owner: libc::uid_t) -> Option<Fault> {
    if status.st_uid != 0 && status.st_uid != owner {
        Some(Fault::Owner)
    } else if status.st_mode & 0o022 != 0 {
        Some(Fault::Writable)
    } else {
        None
    }
}

/// Status of a path.
pub(crate) fn status(path: &Path) -> Option<libc::stat> {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: a C string, and room for the status; all zeroes are a valid status.
    unsafe {
        let known = libc::stat(path.as_ptr(), status.as_mut_ptr()) == 0;
        known.then(|| status.assume_init())
    }
}
