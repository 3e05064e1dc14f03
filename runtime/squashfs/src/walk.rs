//! Paths of an image, walked as the kernel would in a process that has the image as its root.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::Error as Errno;

use super::{Image, Inode, Kind};

/// Symbolic links that the kernel follows for one path.
const MOST_LINKS: usize = 40;
/// Names that are looked up for one path, each in a list of any length. No honest path has more.
const MOST_NAMES: usize = 256;

impl Image {
    /// What is at a path; with `follow`, at the end of the last link.
    ///
    /// # Errors
    /// As from open(2).
    pub fn find(&self, path: &Path, follow: bool) -> io::Result<Inode> {
        if path.as_os_str().is_empty() {
            Err(Errno::ENOENT)?;
        }
        let (mut links, mut looked_up) = (0, 0);
        // What leads to here, and the names that lead on, the next one last.
        let mut way = vec![(self.root(), self.inode(self.root()).map_err(io::Error::other)?)];
        let mut names = reversed(path.as_os_str().as_bytes());
        while let Some(name) = names.pop() {
            let here = way.last().map(|(_, inode)| &inode.kind);
            let Some(Kind::Directory(here)) = here else { Err(Errno::ENOTDIR)? };
            match name.as_slice() {
                b"" | b"." => {}
                b".." if way.len() > 1 => drop(way.pop()),
                b".." => {}
                name => {
                    looked_up += 1;
                    let entry = self.lookup(here, name).map_err(io::Error::other)?;
                    let reference = entry.ok_or(Errno::ENOENT)?.reference;
                    // As the kernel: no directory is in itself.
                    let circle = way.iter().any(|(above, _)| *above == reference);
                    if circle || looked_up > MOST_NAMES {
                        Err(Errno::ELOOP)?;
                    }
                    let inode = self.inode(reference).map_err(io::Error::other)?;
                    match &inode.kind {
                        Kind::Symlink(target) if follow || !names.is_empty() => {
                            links += 1;
                            if links > MOST_LINKS {
                                Err(Errno::ELOOP)?;
                            }
                            let target = self.target(&inode, target).map_err(io::Error::other)?;
                            if target.starts_with(b"/") {
                                way.truncate(1);
                            }
                            names.extend(reversed(&target));
                        }
                        _ => way.push((reference, inode)),
                    }
                }
            }
        }
        way.pop().map(|(_, inode)| inode).ok_or_else(|| Errno::ENOENT.into())
    }

    /// The contents of a regular file with at most `most` bytes.
    ///
    /// # Errors
    /// As from open(2) and read(2), and for anything else.
    pub fn contents(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        let inode = self.find(path, true)?;
        let Kind::File(contents) = &inode.kind else { Err(Errno::EINVAL)? };
        if inode.size > most {
            Err(Errno::EFBIG)?;
        }
        let mut bytes = vec![0; inode.size as usize];
        self.read(&inode, contents, 0, &mut bytes).map_err(io::Error::other)?;
        Ok(bytes)
    }

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// As from readlink(2).
    pub fn link(&self, path: &Path) -> io::Result<PathBuf> {
        let inode = self.find(path, false)?;
        let Kind::Symlink(target) = &inode.kind else { Err(Errno::EINVAL)? };
        let target = self.target(&inode, target).map_err(io::Error::other)?;
        Ok(std::ffi::OsStr::from_bytes(&target).into())
    }
}

fn reversed(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect()
}
