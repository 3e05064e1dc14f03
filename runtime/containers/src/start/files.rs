//! Files of an image, handled with care: whoever made it may have put anything in their place.
//!
//! Inside a chroot of the container's tree, links and `..` stay in it, except by way of `/proc`: a
//! link to `/proc/self/fd/N` leads to whatever this process has open, the host's tree included.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};

const NO_WAY_OUT: ResolveFlag = ResolveFlag::RESOLVE_NO_MAGICLINKS;
/// More than any such file has; an image cannot fill the node's memory with one.
pub(super) const LARGEST: u64 = 16 << 20;

/// Contents of a small regular file. Anything else, such as a FIFO, where reading would wait for
/// ever, or a device without an end, is an error.
pub(crate) fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = match open(path.as_ref(), flags) {
        Err(Errno::ENOSYS) => {
            OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?
        }
        opened => File::from(opened?),
    };
    // std's would ask for the time of birth, too, and FUSE its server for that.
    let stat = fstat(&file)?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    // Its end is found by the same call that reads it.
    let mut text = Vec::with_capacity((stat.st_size as u64).min(LARGEST) as usize + 32);
    if file.take(LARGEST + 1).read_to_end(&mut text)? as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than 16 MiB"));
    }
    Ok(text)
}

/// Fails if a link on the way to `path` is one of those in `/proc` that lead to what a process
/// has open. Kernels before 5.6 cannot tell.
pub(super) fn refuse_magic_links(path: &Path) -> io::Result<()> {
    match open(path, OFlag::O_PATH) {
        Err(Errno::ELOOP) => Err(loops()),
        _ => Ok(()),
    }
}

/// Opens what is at `path`, as a place only, if [`refuse_magic_links`] finds nothing.
pub(super) fn open_path(path: &Path) -> io::Result<OwnedFd> {
    open_as(path, OFlag::O_PATH)
}

/// The same of a directory.
pub(super) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    open_as(path, OFlag::O_PATH | OFlag::O_DIRECTORY)
}

fn open_as(path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
    match open(path, flags) {
        Err(Errno::ELOOP) => Err(loops()),
        Err(Errno::ENOSYS) => Ok(nix::fcntl::open(path, flags | OFlag::O_CLOEXEC, Mode::empty())?),
        opened => Ok(opened?),
    }
}

/// Makes a file, if there is none, by the way of which [`refuse_magic_links`] tells, whoever changes that
/// meanwhile.
pub(super) fn create(path: &Path, mode: Mode) -> io::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(NO_WAY_OUT);
    match openat2(AT_FDCWD, path, how) {
        Err(Errno::ELOOP) => Err(loops()),
        Err(Errno::ENOSYS) => Ok(nix::fcntl::open(path, flags | OFlag::O_CLOEXEC, mode).map(drop)?),
        opened => Ok(opened.map(drop)?),
    }
}

/// Makes a directory likewise; that there is something is an error.
pub(super) fn create_directory(path: &Path, mode: Mode) -> io::Result<()> {
    let Some(name) = path.file_name() else { return Err(io::ErrorKind::AlreadyExists.into()) };
    Ok(mkdirat(&open_path(parent(path))?, name, mode)?)
}

/// Makes a directory and what is missing above it. The new one, unless it was there.
pub(super) fn new_directory(path: &Path, mode: Mode) -> io::Result<OwnedFd> {
    let Some(name) = path.file_name() else { return Err(io::ErrorKind::AlreadyExists.into()) };
    let above = match open_path(parent(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => new_directory(parent(path), mode)?,
        opened => opened?,
    };
    mkdirat(&above, name, mode)?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(&above, name, flags, Mode::empty())?)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn loops() -> io::Error {
    let text = "a link there leads out of the container, by /proc, or to itself";
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

fn open(path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(NO_WAY_OUT);
    openat2(AT_FDCWD, path, how)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_small_regular_files_are_read() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().join("files");
        fs::create_dir_all(&top).unwrap();
        let fifo = top.join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&fifo).is_err()); // and does not wait
        std::os::unix::fs::symlink("/dev/zero", top.join("zero")).unwrap();
        assert!(read(top.join("zero")).is_err());
        let file = top.join("file");
        fs::write(&file, "text").unwrap();
        assert_eq!(read(&file).unwrap(), b"text");
        // What this process has open is nothing that a link may lead to.
        let folder = fs::File::open(&top).unwrap();
        let magic = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&folder));
        std::os::unix::fs::symlink(&magic, top.join("magic")).unwrap();
        assert!(read(top.join("magic/file")).is_err());
        for way in ["magic", "magic/file", "magic/absent"] {
            assert!(refuse_magic_links(&top.join(way)).is_err(), "{way}");
        }
        let all = Mode::S_IRWXU;
        assert!(create(&top.join("magic/new"), all).is_err());
        assert!(create_directory(&top.join("magic/new"), all).is_err());
        assert!(new_directory(&top.join("magic/new/below"), all).is_err());
        assert!(new_directory(&top.join("magic/new"), all).is_err());
        assert!(top.join("new").symlink_metadata().is_err(), "made by way of a link");
        create(&top.join("made"), all).unwrap();
        create(&top.join("made"), all).unwrap();
        create_directory(&top.join("new"), all).unwrap();
        assert!(create_directory(&top.join("new"), all).is_err());
        new_directory(&top.join("new/one/two"), all).unwrap();
        assert!(top.join("new/one/two").is_dir() && top.join("made").is_file());
        assert!(refuse_magic_links(&top.join("absent/magic")).is_ok());
        assert!(refuse_magic_links(Path::new("/proc/self/status")).is_ok());
        assert_eq!(read(top.join("absent")).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
        assert!(read(&file).is_err());
    }
}
