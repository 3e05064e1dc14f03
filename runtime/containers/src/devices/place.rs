//! Files and links of ours in a container's tree, which is the present root: whoever made the image
//! may have put a link in the way of each of them.
//!
//! A link of the image may lead anywhere in the image. It does not lead to what is the node's in
//! there (`/dev`, `/proc`, `/sys`, and by `/proc` anywhere): nothing is made in those but where the path itself says so.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use linux::path::normalized;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat, renameat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

/// Links that may follow one another.
const LINKS: u32 = 40;
/// What in a container's tree is the node's.
const OF_NODE: [&str; 3] = ["dev", "proc", "sys"];

/// Makes a symbolic link, in place of whatever file or link there is.
pub(crate) fn link(target: &str, at: &Path) -> io::Result<()> {
    let (directory, name) = parent(at)?;
    if readlinkat(directory.as_fd(), name).is_ok_and(|have| have == target) {
        return Ok(());
    }
    let temporary = temporary(name);
    symlinkat(target, directory.as_fd(), temporary.as_os_str())?;
    renamed(&directory, &temporary, name)
}

/// Writes a file, in place of whatever file or link there is.
pub(crate) fn write(at: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let (directory, name) = parent(at)?;
    let temporary = temporary(name);
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(mode);
    let file = openat(directory.as_fd(), temporary.as_path(), flags, mode)?;
    // Whatever the umask is.
    fchmod(file.as_fd(), mode)?;
    let written = std::fs::File::from(file).write_all(contents);
    written.inspect_err(|_| remove(&directory, &temporary))?;
    renamed(&directory, &temporary, name)
}

/// Makes the way to a file or directory that is to be mounted, and takes a link off that leads
/// from there to nothing, or out of the image.
pub(crate) fn clear(at: &Path) -> io::Result<()> {
    let (directory, name) = parent(at)?;
    if readlinkat(directory.as_fd(), name).is_err() {
        return Ok(());
    }
    let led = open(at, OFlag::O_PATH).map_err(io::Error::from);
    match led.and_then(|found| check(at, &found)) {
        Ok(()) => Ok(()),
        Err(_) => Ok(unlinkat(directory.as_fd(), name, UnlinkatFlags::NoRemoveDir)?),
    }
}

/// Opens a directory, as a place only, if no link leads from there to what is the node's.
pub(crate) fn directory(path: &Path) -> io::Result<OwnedFd> {
    let found = open(path, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    check(path, &found)?;
    Ok(found)
}

/// Opens the directory that something is in, made if there is none; and what it is called there.
fn parent(at: &Path) -> io::Result<(OwnedFd, &OsStr)> {
    let name = at.file_name().ok_or(Errno::EINVAL)?;
    let parent = at.parent().ok_or(Errno::EINVAL)?;
    if !at.is_absolute() || at.components().any(|part| part == Component::ParentDir) {
        return Err(Errno::EINVAL.into());
    }
    Ok((made(parent, parent, LINKS)?, name))
}

/// As [`directory`], made if there is none, also where a link of the image leads to none. `asked` is
/// the path that nobody has followed links of.
fn made(asked: &Path, path: &Path, links: u32) -> io::Result<OwnedFd> {
    match open(path, OFlag::O_PATH | OFlag::O_DIRECTORY) {
        Ok(found) => return check(asked, &found).map(|()| found),
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::ENOENT.into());
    };
    let above_it = made(asked, above, links)?;
    match mkdirat(above_it.as_fd(), name, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(above_it.as_fd(), name, flags, Mode::empty()) {
        Ok(found) => Ok(found),
        Err(Errno::ENOTDIR | Errno::ELOOP) => {
            let target = readlinkat(above_it.as_fd(), name)?;
            let left = links.checked_sub(1).ok_or(Errno::ELOOP)?;
            let target = resolved(&above_it)?.join(target);
            made(asked, &normalized(&target), left)
        }
        Err(errno) => Err(errno.into()),
    }
}

fn renamed(directory: &OwnedFd, from: &Path, to: &OsStr) -> io::Result<()> {
    match renameat(directory.as_fd(), from, directory.as_fd(), to) {
        Ok(()) => Ok(()),
        // Something has been mounted there, for the same purpose.
        Err(Errno::EBUSY) => {
            remove(directory, from);
            Ok(())
        }
        Err(errno) => {
            remove(directory, from);
            Err(errno.into())
        }
    }
}

fn remove(directory: &OwnedFd, name: &Path) {
    let _ = unlinkat(directory.as_fd(), name, UnlinkatFlags::NoRemoveDir);
}

/// A name that nothing has: two containers of one directory may be started at once.
fn temporary(name: &OsStr) -> PathBuf {
    let mut own = name.as_bytes().to_vec();
    own.truncate(200);
    own.extend_from_slice(format!(".pyxis-{}", std::process::id()).as_bytes());
    OsStr::from_bytes(&own).into()
}

/// Opens a path of the present root, by no link of `/proc`. Kernels before 5.6 cannot tell.
fn open(path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let flags = flags | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS);
    match openat2(AT_FDCWD, path, how) {
        Err(Errno::ENOSYS) => nix::fcntl::open(path, flags, Mode::empty()),
        opened => opened,
    }
}

/// Where it is in the present root.
fn resolved(found: &OwnedFd) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))
}

/// Fails if what was found for `asked` is the node's, and `asked` does not say so.
fn check(asked: &Path, found: &OwnedFd) -> io::Result<()> {
    let first = |path: &Path| match path.components().nth(1) {
        Some(Component::Normal(name)) => Some(name.to_owned()),
        _ => None,
    };
    let resolved = resolved(found)?;
    let (led, meant) = (first(&resolved), first(asked));
    let of_node = led.as_deref().is_some_and(|name| OF_NODE.iter().any(|known| name == *known));
    if resolved.is_absolute() && (!of_node || led == meant) {
        return Ok(());
    }
    let text = format!("a link of the image leads from there to {}", resolved.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// Opens a regular file for reading, by no link of `/proc`; a FIFO or a device is none.
pub(crate) fn file(path: &Path) -> io::Result<std::fs::File> {
    let found = open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
    let mode = nix::sys::stat::fstat(&found)?.st_mode;
    if mode & libc::S_IFMT != libc::S_IFREG {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(found.into())
}

/// Names in a directory, `most` of them.
pub(crate) fn names(path: &Path, most: usize) -> io::Result<Vec<std::ffi::OsString>> {
    let found = directory(path)?;
    let open = format!("/proc/self/fd/{}", found.as_raw_fd());
    let entries = std::fs::read_dir(open)?.take(most);
    Ok(entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn refused(result: io::Result<()>) {
        let text = result.unwrap_err().to_string();
        assert!(text.contains("a link of the image leads from there to /"), "{text}");
    }

    #[test]
    fn what_is_in_the_way_is_replaced() {
        let top = tempfile::tempdir().unwrap();
        let at = |below: &str| top.path().join(below);
        write(&at("a/b/file"), b"new", 0o644).unwrap();
        assert_eq!(fs::read(at("a/b/file")).unwrap(), b"new");
        assert_eq!(fs::metadata(at("a/b/file")).unwrap().permissions().mode() & 0o777, 0o644);
        symlink("/etc/passwd", at("a/link")).unwrap();
        let passwd = fs::read("/etc/passwd").unwrap();
        write(&at("a/link"), b"ours", 0o600).unwrap();
        assert!(fs::symlink_metadata(at("a/link")).unwrap().is_file());
        assert_eq!(fs::read("/etc/passwd").unwrap(), passwd);
        link("libx.so.1", &at("a/link")).unwrap();
        link("libx.so.1", &at("a/link")).unwrap();
        assert_eq!(fs::read_link(at("a/link")).unwrap(), Path::new("libx.so.1"));
        // Nothing of the work is left.
        assert_eq!(names(&at("a"), 100).unwrap().len(), 2);
        assert!(link("x", &at("a/../../x")).is_err());
    }

    #[test]
    fn links_within_the_tree_are_followed_and_others_are_not() {
        let top = tempfile::tempdir().unwrap();
        let at = |below: &str| top.path().join(below);
        fs::create_dir(at("usr")).unwrap();
        symlink("usr/lib", at("lib")).unwrap(); // dangles until it is made
        link("x", &at("lib/deep/er/libx.so")).unwrap();
        assert_eq!(fs::read_link(at("usr/lib/deep/er/libx.so")).unwrap(), Path::new("x"));

        let shared = tempfile::tempdir_in("/dev/shm").unwrap();
        let inside = fs::File::open(shared.path()).unwrap();
        let magic = format!("/proc/self/fd/{}", inside.as_raw_fd());
        for (name, target) in [
            ("shm", shared.path().to_owned()),
            ("absent", shared.path().join("absent")),
            ("up", Path::new("../../../../../..").join(shared.path().strip_prefix("/").unwrap())),
            ("loop", "loop".into()),
            ("magic", magic.into()),
        ] {
            symlink(&target, at(name)).unwrap();
            for below in ["x", "deep/er/x"] {
                let path = at(name).join(below);
                assert!(link("x", &path).is_err(), "{}", path.display());
                assert!(write(&path, b"x", 0o644).is_err(), "{}", path.display());
                assert!(clear(&path).is_err(), "{}", path.display());
            }
        }
        refused(link("x", &at("shm/x")));
        refused(write(&at("absent/x"), b"", 0o644));
        assert_eq!(fs::read_dir(shared.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_in_place_of_a_mounts_target() {
        let top = tempfile::tempdir().unwrap();
        let at = |below: &str| top.path().join(below);
        let shared = tempfile::tempdir_in("/dev/shm").unwrap();
        for target in [shared.path().join("absent"), shared.path().to_owned()] {
            symlink(&target, at("lib")).unwrap();
            clear(&at("lib")).unwrap();
            assert!(fs::symlink_metadata(at("lib")).is_err(), "{}", target.display());
        }
        // One that leads to a file of the image stays: what is mounted is mounted there.
        fs::write(at("real"), "").unwrap();
        symlink("real", at("lib")).unwrap();
        clear(&at("lib")).unwrap();
        assert!(fs::symlink_metadata(at("lib")).unwrap().is_symlink());
        clear(&at("new/folder/lib")).unwrap();
        assert!(at("new/folder").is_dir());
        assert_eq!(fs::read_dir(shared.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_regular_files_are_read() {
        let top = tempfile::tempdir().unwrap();
        let fifo = top.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        assert!(file(&fifo).is_err());
        assert!(file(Path::new("/dev/zero")).is_err());
    }
}
