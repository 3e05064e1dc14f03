//! Names: directories and all that is no regular file, then further names of what has several.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use linux::file_error::FileError;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmod, fchmodat, futimens, mkdirat, mknodat};
use nix::sys::time::TimeSpec;
use nix::unistd::{linkat, symlinkat};

use super::attributes::{PERMISSIONS, set_time};
use super::{Name, OpenDirectory, Result, UnpackError, Unpacker};
use crate::directory::Entry;
use crate::{Inode, Kind, SquashfsError};

/// Longer than that no path can be opened.
const LONGEST_PATH: usize = 4000;

impl Unpacker<'_> {
    /// Makes everything but regular files, directory after directory.
    pub(super) fn make_names(&mut self) -> Result<()> {
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

    /// Gives further names to files that have several.
    pub(super) fn link(&self) -> Result<()> {
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
    pub(super) fn finish_directories(&self) -> Result<()> {
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
}
