//! Reading what somebody else may have made: regular files only, so many bytes and no more, and
//! without waiting for anybody. A FIFO would wait for its writer, a device may do something when it
//! is opened, a lease of its owner holds up whoever opens a file, and a sparse file has no end.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::{OFlag, open as nix_open};
use nix::sys::stat::{Mode, SFlag, fstat};

/// More than any configuration has.
pub const CONFIGURATION: u64 = 1 << 20;
/// As much as is wanted of a file in `/proc/PID`.
pub const OF_PROCESS: u64 = 64 << 10;

const CAREFUL: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

/// Opens a regular file.
///
/// # Errors
/// From the kernel, or that it is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    // Looked at before it is opened: opening is what some devices wait for.
    let place = nix_open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let stat = fstat(&place)?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let same = format!("/proc/self/fd/{}", place.as_raw_fd());
    match nix_open(same.as_str(), CAREFUL, Mode::empty()) {
        // In the image of a node, whose /proc is empty.
        Err(nix::Error::ENOENT) => {
            let file = File::from(nix_open(path, CAREFUL, Mode::empty())?);
            let found = file.metadata()?;
            if (found.dev(), found.ino()) != (stat.st_dev, stat.st_ino) {
                return Err(io::Error::other("it was replaced meanwhile"));
            }
            Ok(file)
        }
        opened => Ok(opened?.into()),
    }
}

/// The contents of a regular file of at most `most` bytes.
///
/// # Errors
/// As [`open`], or that it is larger.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if open(path)?.take(most + 1).read_to_end(&mut bytes)? as u64 > most {
        let text = format!("it is larger than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// As [`read`], of text.
///
/// # Errors
/// As [`read`], or that it is no UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8 text"))
}

/// The first `most` bytes of a regular file, such as one in `/proc`, which may go on for ever.
///
/// # Errors
/// As [`open`].
pub fn beginning(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn regular_files_only_and_so_many_bytes() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        fs::write(&file, "12345").unwrap();
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        assert_eq!(read(&file, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(beginning(&file, 4).unwrap(), b"1234");
        assert_eq!(read_text(&file, 9).unwrap(), "12345");
        assert_eq!(read(&temp.path().join("x"), 9).unwrap_err().kind(), io::ErrorKind::NotFound);
        // One that has no end.
        File::options().write(true).open(&file).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read(&file, 1 << 20).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(beginning(&file, 100).unwrap().len(), 100);
    }

    #[test]
    fn nobody_is_waited_for() {
        let temp = tempfile::tempdir().unwrap();
        let fifo = temp.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let link = temp.path().join("link");
        std::os::unix::fs::symlink(&fifo, &link).unwrap();
        for path in [&fifo, &link, Path::new("/dev/zero"), temp.path()] {
            let error = read(path, 9).unwrap_err();
            assert!(error.to_string().contains("no regular file"), "{path:?}: {error}");
        }
    }

    #[test]
    fn files_of_processes_end_where_they_are_to() {
        assert_eq!(beginning(Path::new("/proc/self/maps"), 10).unwrap().len(), 10);
        assert!(!beginning(Path::new("/proc/self/cmdline"), OF_PROCESS).unwrap().is_empty());
    }
}
