//! Files of an image, read with care: whoever made it may have put anything in their place.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// More than any such file has; an image cannot fill the node's memory with one.
const LARGEST: u64 = 16 << 20;

/// Contents of a small regular file. Anything else, such as a FIFO, where reading would wait for
/// ever, or a device without an end, is an error.
pub(super) fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut text = Vec::new();
    if file.take(LARGEST + 1).read_to_end(&mut text)? as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than 16 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_small_regular_files_are_read() {
        let top = std::env::temp_dir().join(format!("pyxis-files-{}", std::process::id()));
        fs::create_dir_all(&top).unwrap();
        let fifo = top.join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&fifo).is_err()); // and does not wait
        std::os::unix::fs::symlink("/dev/zero", top.join("zero")).unwrap();
        assert!(read(top.join("zero")).is_err());
        let file = top.join("file");
        fs::write(&file, "text").unwrap();
        assert_eq!(read(&file).unwrap(), b"text");
        assert_eq!(read(top.join("absent")).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
        assert!(read(&file).is_err());
        fs::remove_dir_all(top).unwrap();
    }
}
