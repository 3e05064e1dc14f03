//! Deleting a tree that programs of a container may still be changing: one whose processes are not
//! seen, or whose image's server was killed. Nothing leads out of it: each name is used below an open directory,
//! and no symbolic link is followed. However deep it is, it goes: what lies too deep is brought up first.

use std::ffi::{CStr, CString};
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, open, openat, renameat2};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Directories that are open at once.
const DEPTH: usize = 64;
const PLACE: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Deletes a tree, whatever the modes of its directories are, on one file system only.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    remove_tree_until(path, None)
}

/// The same; when it takes longer, a part of the tree stays.
pub(super) fn remove_tree_until(path: &Path, end: Option<Instant>) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let here = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let name = CString::new(name.as_bytes())?;
    let found = open(here, PLACE, Mode::empty()).and_then(|parent| {
        let stat = fstatat(&parent, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        Ok((parent, stat))
    });
    let (parent, stat) = match found {
        Err(Errno::ENOENT) => return Ok(()),
        found => found?,
    };
    let mut removal = Removal { device: stat.st_dev, end, top: None, deep: Vec::new(), count: 0 };
    removal.entry(parent.as_fd(), &name, 0)
}

struct Removal {
    device: libc::dev_t,
    end: Option<Instant>,
    top: Option<OwnedFd>,
    /// Names at the top of what was brought up.
    deep: Vec<CString>,
    count: u32,
}

impl Removal {
    fn entry(&mut self, directory: BorrowedFd<'_>, name: &CStr, depth: usize) -> io::Result<()> {
        if self.end.is_some_and(|end| Instant::now() > end) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let stat = match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(()),
            found => found?,
        };
        if stat.st_dev != self.device {
            return Err(io::Error::other("another file system is mounted there"));
        }
        if stat.st_mode & libc::S_IFMT != libc::S_IFDIR {
            return gone(unlinkat(directory, name, UnlinkatFlags::NoRemoveDir));
        }
        if depth >= DEPTH {
            return self.bring_up(directory, name);
        }
        self.directory(directory, name, &stat, depth)
    }

    /// Deletes what was a directory a moment ago.
    fn directory(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        stat: &FileStat,
        depth: usize,
    ) -> io::Result<()> {
        let place = match openat(directory, name, PLACE | OFlag::O_NOFOLLOW, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(()),
            opened => opened?,
        };
        // The mode of what was opened, whatever the name leads to by now.
        if stat.st_mode & 0o700 != 0o700 && fstat(&place)?.st_dev == self.device {
            let path = format!("/proc/self/fd/{}", place.as_raw_fd());
            fs::set_permissions(path, Permissions::from_mode(0o700))?;
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = openat(&place, c".", flags, Mode::empty())?;
        if fstat(&opened)?.st_dev != self.device {
            return Err(io::Error::other("another file system is mounted there"));
        }
        if depth == 0 {
            self.top = Some(place);
        }
        let mut entries = Dir::from_fd(opened)?;
        let below = entries.as_fd().try_clone_to_owned()?;
        for entry in entries.iter() {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                self.entry(below.as_fd(), entry.file_name(), depth + 1)?;
            }
        }
        if depth == 0 {
            while let Some(deep) = self.deep.pop() {
                self.entry(below.as_fd(), &deep, 1)?;
            }
        }
        gone(unlinkat(directory, name, UnlinkatFlags::RemoveDir))
    }

    /// Moves a directory to the top of the tree, to be deleted from there.
    fn bring_up(&mut self, directory: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let Some(top) = &self.top else { return Err(io::ErrorKind::NotADirectory.into()) };
        loop {
            self.count += 1;
            let up = CString::new(format!(".pyxis.deep.{}", self.count))?;
            match renameat2(directory, name, top, up.as_c_str(), RenameFlags::RENAME_NOREPLACE) {
                Err(Errno::EEXIST) => {}
                Err(Errno::ENOENT) => return Ok(()),
                moved => {
                    moved?;
                    self.deep.push(up);
                    return Ok(());
                }
            }
        }
    }
}

fn gone(result: nix::Result<()>) -> io::Result<()> {
    match result {
        Err(Errno::ENOENT) => Ok(()),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{DirBuilderExt, symlink};
    use std::time::Duration;

    use nix::sys::stat::mkdirat;

    #[test]
    fn removes_what_modes_protect() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().join("top");
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::write(top.join("a/b/file"), "x").unwrap();
        symlink("/", top.join("a/link")).unwrap();
        fs::set_permissions(top.join("a/b"), Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(top.join("a"), Permissions::from_mode(0o000)).unwrap();
        let past = Instant::now() - Duration::from_secs(1);
        assert!(remove_tree_until(&top, Some(past)).is_err());
        remove_tree(&top).unwrap();
        assert!(!top.exists() && Path::new("/etc").exists());
        remove_tree(&top).unwrap();
        symlink("/etc", &top).unwrap();
        remove_tree(&top).unwrap();
        assert!(top.symlink_metadata().is_err() && Path::new("/etc").exists());
    }

    /// Deeper than any path can be long.
    #[test]
    fn however_deep_a_tree_is_it_goes() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().join("top");
        fs::create_dir(&top).unwrap();
        let mut here: OwnedFd = fs::File::open(&top).unwrap().into();
        for _ in 0..1100 {
            mkdirat(&here, c"deep", Mode::S_IRWXU).unwrap();
            here = openat(&here, c"deep", PLACE, Mode::empty()).unwrap();
        }
        drop(here);
        remove_tree(&top).unwrap();
        assert!(!top.exists());
    }

    /// As a program of the container's may do it in between.
    #[test]
    fn a_directory_that_has_become_a_link_leads_nowhere() {
        let base = tempfile::tempdir().unwrap();
        let (precious, top) = (base.path().join("precious"), base.path().join("top"));
        fs::create_dir(&precious).unwrap();
        fs::write(precious.join("file"), "x").unwrap();
        fs::DirBuilder::new().mode(0o500).create(&top).unwrap();
        let parent: OwnedFd = fs::File::open(base.path()).unwrap().into();
        let stat = fstatat(&parent, c"top", AtFlags::AT_SYMLINK_NOFOLLOW).unwrap();
        fs::remove_dir(&top).unwrap();
        symlink(&precious, &top).unwrap();
        let mut removal =
            Removal { device: stat.st_dev, end: None, top: None, deep: Vec::new(), count: 0 };
        assert!(removal.directory(parent.as_fd(), c"top", &stat, 0).is_err());
        assert!(precious.join("file").exists(), "what a link leads to was deleted");
    }
}
