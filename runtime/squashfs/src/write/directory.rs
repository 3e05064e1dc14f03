//! What is below a directory of the host, added to an image. Nothing leads out of the directory:
//! no symbolic link is followed, whoever changes it meanwhile.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use linux::xattr;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, fstat, fstatat, major, minor};

use super::{Attribute, Attributes, Handle, NewFile, WriteError, Writer};

/// What was found, before it is added.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Its path in the image.
    pub path: &'a [u8],
    /// What the kernel says of it.
    pub stat: &'a FileStat,
}

type Result<T> = std::result::Result<T, WriteError>;

/// Files with several names by device and inode.
type Linked = HashMap<(u64, u64), Handle>;

impl Writer {
    /// Adds what is below a directory, and its own attributes, in the order of names. What
    /// `leave_out` says yes to is left out, and so is what is below it.
    ///
    /// # Errors
    /// [`WriteError`]: nothing more can be added then.
    pub fn add_directory(
        &mut self,
        root: BorrowedFd<'_>,
        leave_out: &mut dyn FnMut(Found<'_>) -> bool,
    ) -> Result<()> {
        let mut linked = Linked::new();
        let mut waiting = vec![Vec::new()];
        while let Some(path) = waiting.pop() {
            let failed = |errno: Errno| WriteError::content(&path, errno);
            let directory = open_below(root, &path).map_err(failed)?;
            let stat = fstat(&directory).map_err(failed)?;
            let extended =
                xattr::of_file(directory.as_fd()).map_err(|e| WriteError::content(&path, e))?;
            self.add(&path, &attributes(&stat, &extended), NewFile::Directory)?;
            let mut below = Vec::new();
            for name in names(&directory).map_err(failed)? {
                let path = if path.is_empty() {
                    name.as_bytes().to_vec()
                } else {
                    [&path, &b"/"[..], name.as_bytes()].concat()
                };
                if self.found(&directory, &name, &path, &mut linked, leave_out)? {
                    below.push(path);
                }
            }
            waiting.extend(below.into_iter().rev());
        }
        Ok(())
    }

    /// Adds what has a name, unless it is a directory, which is said.
    fn found(
        &mut self,
        directory: &OwnedFd,
        name: &CStr,
        path: &[u8],
        linked: &mut Linked,
        leave_out: &mut dyn FnMut(Found<'_>) -> bool,
    ) -> Result<bool> {
        let failed = |errno: Errno| WriteError::content(path, errno);
        let unread = |error: io::Error| WriteError::content(path, error);
        let stat = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed)?;
        if leave_out(Found { path, stat: &stat }) {
            return Ok(false);
        }
        let format = stat.st_mode & libc::S_IFMT;
        if format == libc::S_IFDIR {
            return Ok(true);
        }
        let number = (stat.st_dev, stat.st_ino);
        if let (true, Some(handle)) = (stat.st_nlink > 1, linked.get(&number)) {
            self.link(path, *handle)?;
            return Ok(false);
        }
        let handle = if format == libc::S_IFREG {
            self.regular(directory, name, path)?
        } else {
            let extended = xattr::of_name(directory.as_fd(), name).map_err(unread)?;
            let (major, minor) = (major(stat.st_rdev) as u32, minor(stat.st_rdev) as u32);
            let target;
            let what = match format {
                libc::S_IFLNK => {
                    target = readlinkat(directory, name).map_err(failed)?.into_vec();
                    NewFile::Symlink(&target)
                }
                libc::S_IFCHR => NewFile::CharacterDevice(major, minor),
                libc::S_IFBLK => NewFile::BlockDevice(major, minor),
                libc::S_IFIFO => NewFile::Fifo,
                libc::S_IFSOCK => NewFile::Socket,
                _ => return Err(WriteError::entry(path, "it is of no kind that is known")),
            };
            self.add(path, &attributes(&stat, &extended), what)?
        };
        if stat.st_nlink > 1 {
            linked.insert(number, handle);
        }
        Ok(false)
    }

    fn regular(&mut self, directory: &OwnedFd, name: &CStr, path: &[u8]) -> Result<Handle> {
        // O_NONBLOCK: what is a FIFO by now keeps nobody waiting.
        let flags = OFlag::O_RDONLY
            | OFlag::O_NOFOLLOW
            | OFlag::O_NONBLOCK
            | OFlag::O_NOCTTY
            | OFlag::O_CLOEXEC;
        let failed = |errno: Errno| WriteError::content(path, errno);
        let file = File::from(openat(directory, name, flags, Mode::empty()).map_err(failed)?);
        let stat = fstat(&file).map_err(failed)?;
        if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
            return Err(WriteError::entry(path, "it has become another kind of file"));
        }
        let extended =
            xattr::of_file(file.as_fd()).map_err(|error| WriteError::content(path, error))?;
        // No more than there was: it may grow as fast as it is read.
        let mut content = file.take(u64::try_from(stat.st_size).unwrap_or(0));
        self.add(path, &attributes(&stat, &extended), NewFile::File(&mut content))
    }
}

fn attributes<'a>(stat: &FileStat, extended: &'a [Attribute]) -> Attributes<'a> {
    let owner = (stat.st_uid, stat.st_gid);
    Attributes { mode: stat.st_mode, owner, mtime: stat.st_mtime, extended }
}

/// Opens a directory by its path from another, one name after the other.
fn open_below(root: BorrowedFd<'_>, path: &[u8]) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut here = openat(root, c".", flags, Mode::empty())?;
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        here = openat(&here, OsStr::from_bytes(name), flags, Mode::empty())?;
    }
    Ok(here)
}

/// The names in a directory, sorted.
fn names(directory: &OwnedFd) -> nix::Result<Vec<CString>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut names = Vec::new();
    for entry in Dir::openat(directory, c".", flags, Mode::empty())?.iter() {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
