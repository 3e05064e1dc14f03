//! An image, to be looked at before there is a container: by reading it, or, where somebody else
//! serves it, as the root of this process. A request to a server takes as long as a dozen system calls.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::lstat;
use nix::unistd::{AccessFlags, access};

use crate::start::files;
use squashfs::{Image, Kind};

/// So many directories are looked into, and names read in each.
const DIRECTORIES: usize = 16;

/// Where it is looked for.
#[derive(Clone, Copy)]
pub(in crate::start) enum Tree<'a> {
    Root,
    Image(&'a Image),
}

impl Tree<'_> {
    /// As [`files::read`].
    pub(in crate::start) fn read(self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        match self {
            Tree::Root => files::read(path),
            Tree::Image(image) => image.contents(path.as_ref(), files::LARGEST),
        }
    }

    /// Kind and permissions, of a link its own.
    pub(in crate::start) fn mode(self, path: &Path) -> io::Result<u32> {
        match self {
            Tree::Root => Ok(lstat(path)?.st_mode),
            Tree::Image(image) => Ok(image.find(path, false)?.mode),
        }
    }

    pub(in crate::start) fn link(self, path: &Path) -> io::Result<PathBuf> {
        match self {
            Tree::Root => std::fs::read_link(path),
            Tree::Image(image) => image.link(path),
        }
    }

    /// Whether there are files below a directory, where a link leads to one as well. Directories count where
    /// `directories` says so.
    pub(in crate::start) fn has_files(self, path: &Path, directories: bool) -> bool {
        let mut left = vec![path.to_owned()];
        for _ in 0..DIRECTORIES {
            let Some(path) = left.pop() else { return false };
            let Ok(names) = self.names(&path) else { continue };
            for (name, is_directory) in names {
                if !is_directory || directories {
                    return true;
                }
                left.push(path.join(name));
            }
        }
        // Somebody has filled it.
        true
    }

    /// Names of a directory, and whether they are directories', as far as anybody asks for them here.
    fn names(self, path: &Path) -> io::Result<Vec<(OsString, bool)>> {
        match self {
            Tree::Root => std::fs::read_dir(path)?
                .take(DIRECTORIES)
                .map(|entry| {
                    let entry = entry?;
                    Ok((entry.file_name(), entry.file_type()?.is_dir()))
                })
                .collect(),
            Tree::Image(image) => {
                let inode = image.find(path, true)?;
                let Kind::Directory(directory) = &inode.kind else { Err(Errno::ENOTDIR)? };
                let names = image.list(directory, 0).map_err(io::Error::other)?;
                names
                    .take(DIRECTORIES)
                    .map(|entry| {
                        let entry = entry.map_err(io::Error::other)?;
                        let is_directory = entry.kind == u32::from(libc::DT_DIR);
                        Ok((OsString::from_vec(entry.name), is_directory))
                    })
                    .collect()
            }
        }
    }

    pub(in crate::start) fn is_executable(self, path: &Path) -> bool {
        match self {
            Tree::Root => access(path, AccessFlags::X_OK).is_ok(),
            Tree::Image(image) => image.find(path, true).is_ok_and(|at| at.mode & 0o100 != 0),
        }
    }
}
