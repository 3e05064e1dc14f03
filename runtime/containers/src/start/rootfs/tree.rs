//! An image, to be looked at before there is a container: by reading it, or, where somebody else
//! serves it, as the root of this process. A request to a server takes as long as a dozen system calls.

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::stat::lstat;
use nix::unistd::{AccessFlags, access};

use crate::start::files;
use squashfs::Image;

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

    pub(in crate::start) fn is_executable(self, path: &Path) -> bool {
        match self {
            Tree::Root => access(path, AccessFlags::X_OK).is_ok(),
            Tree::Image(image) => image.find(path, true).is_ok_and(|at| at.mode & 0o100 != 0),
        }
    }
}
