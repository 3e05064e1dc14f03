//! What may be started: a squashfs file or a directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use linux::hex::hex;
use sha2::{Digest, Sha256};

use crate::sif::{Extent, HEADER, SifError};
use crate::superblock::{MAGIC, SIZE, Superblock};

/// Is told of each squashfs file that is opened: the store in which it may lie keeps what is in use.
pub type InUse = fn(&Path, &File);

/// An opened image.
#[derive(Debug)]
pub enum Image {
    /// A squashfs file, or a SIF file with one in it; the descriptor is what gets mounted, so that a
    /// path replaced meanwhile cannot change the image.
    Squashfs {
        /// The opened file.
        file: File,
        /// Where it was found, for messages.
        path: PathBuf,
    },
    /// A directory holding a root filesystem.
    Directory(PathBuf),
}

/// Why an image cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The path cannot be opened.
    #[error("cannot open image {path}: {source}")]
    Open {
        /// As given.
        path: String,
        /// From the kernel.
        source: io::Error,
    },
    /// The file is no squashfs.
    #[error(
        "{path} is not a squashfs file (it does not start with \"hsqs\"), nor a SIF file{hint}"
    )]
    NotSquashfs {
        /// As given.
        path: String,
        /// What it is, with a separator before it; may be empty.
        hint: &'static str,
    },
    /// A directory that holds images, and is none.
    #[error("{path} is an OCI layout, no root file system: oci:{path} is an image in it")]
    Layout {
        /// As given.
        path: String,
    },
    /// A SIF file that is not served.
    #[error("{path} {source}")]
    Sif {
        /// As given.
        path: String,
        /// What is wrong with it.
        source: SifError,
    },
    /// The file is shorter than its superblock says.
    #[error("{path} is truncated: it should have {expected} bytes and has {actual}")]
    Truncated {
        /// As given.
        path: String,
        /// Bytes that the superblock promises.
        expected: u64,
        /// Bytes there are.
        actual: u64,
    },
}

impl ImageError {
    /// For a directory where only a squashfs file will do.
    pub fn not_squashfs(path: &Path) -> ImageError {
        ImageError::NotSquashfs { path: path.display().to_string(), hint: "" }
    }
}

impl Image {
    /// Opens `path` and checks that it is something to start.
    ///
    /// # Errors
    /// [`ImageError`], naming the path and what is wrong with it.
    pub fn open(path: &Path, in_use: InUse) -> Result<Image, ImageError> {
        let shown = path.display().to_string();
        let open = |source| ImageError::Open { path: shown.clone(), source };
        // O_NONBLOCK: a FIFO given as image must not hang the step.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY)
            .open(path)
            .map_err(open)?;
        let metadata = file.metadata().map_err(open)?;
        if metadata.is_dir() {
            if is_layout(path) {
                return Err(ImageError::Layout { path: shown });
            }
            return Ok(Image::Directory(path.to_owned()));
        }
        if !metadata.is_file() {
            return Err(ImageError::NotSquashfs { path: shown, hint: "" });
        }
        let mut head = [0; HEADER];
        // By position: whoever gets the file reads it from its beginning.
        let read = file.read_at(&mut head, 0).map_err(open)?;
        let extent = Extent::in_file(&file, &head[..read])
            .map_err(|source| ImageError::Sif { path: shown.clone(), source })?;
        if extent.start == 0 && (read < 4 || head[..4] != MAGIC) {
            let hint = if is_archive(&file, &head) { ARCHIVE } else { "" };
            return Err(ImageError::NotSquashfs { path: shown, hint });
        }
        let actual = metadata.len().min(extent.length);
        let mut head = [0; SIZE];
        let expected = match file.read_exact_at(&mut head, extent.start) {
            // Of a SIF file it is no matter yet what its image is.
            Ok(()) => Superblock::of(&head).tables.bytes_used,
            Err(_) => SIZE as u64,
        };
        if actual < expected {
            return Err(ImageError::Truncated { path: shown, expected, actual });
        }
        in_use(path, &file);
        Ok(Image::Squashfs { file, path: path.to_owned() })
    }
}

const ARCHIVE: &str =
    "; it may be an archive, and as docker-archive:PATH or oci-archive:PATH an image";

/// Whether it is a tar, or compressed as those of images are.
fn is_archive(file: &File, head: &[u8]) -> bool {
    let compressed: [&[u8]; 4] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh"];
    let mut ustar = [0; 5];
    compressed.iter().any(|magic| head.starts_with(magic))
        || file.read_exact_at(&mut ustar, 257).is_ok() && ustar == *b"ustar"
}

/// Whether a directory is an OCI layout, and has nothing of a root file system.
fn is_layout(path: &Path) -> bool {
    ["oci-layout", "index.json"].iter().all(|name| path.join(name).is_file())
        && !["bin", "usr", "etc"].iter().any(|name| path.join(name).exists())
}

/// The digest of everything in a squashfs file but the files' data: the superblock, and from the
/// inode table to the end, with each file's size, time, place and block sizes. An image of another
/// content has another one. `None` for a file that is too short for what its superblock says.
pub fn tables_digest(file: &File) -> io::Result<Option<String>> {
    let Ok(Extent { start, length }) = Extent::of(file) else { return Ok(None) };
    let mut superblock = [0; SIZE];
    if file.read_at(&mut superblock, start)? < SIZE {
        return Ok(None);
    }
    let length = file.metadata()?.len().min(length);
    let at = Superblock::of(&superblock).tables.inodes;
    if at >= length {
        return Ok(None);
    }
    // To the end of the file: a signature behind the image counts as well.
    let mut at = start + at;
    let mut digest = Sha256::new();
    digest.update(superblock);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => break,
            Ok(count) => {
                digest.update(&buffer[..count]);
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(hex(&digest.finalize())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> tempfile::TempPath {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, bytes).unwrap();
        file.into_temp_path()
    }

    #[test]
    fn says_what_is_wrong_with_a_file() {
        let missing = Image::open(Path::new("/nonexistent/x.sqsh"), |_, _| ()).unwrap_err();
        assert!(missing.to_string().starts_with("cannot open image /nonexistent/x.sqsh: No such"));

        let text = file(b"not an image");
        assert!(Image::open(&text, |_, _| ()).unwrap_err().to_string().contains("not a squashfs"));
        let empty = file(b"");
        assert!(Image::open(&empty, |_, _| ()).unwrap_err().to_string().contains("not a squashfs"));

        // None is waited for, nor read.
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        for odd in [fifo.as_path(), Path::new("/dev/zero"), Path::new("/dev/null")] {
            let error = Image::open(odd, |_, _| ()).unwrap_err().to_string();
            assert!(error.contains("is not a squashfs file"), "{error}");
        }

        let mut head = vec![0u8; 96];
        head[..4].copy_from_slice(b"hsqs");
        head[40..48].copy_from_slice(&4096u64.to_le_bytes());
        let cut = file(&head);
        let error = Image::open(&cut, |_, _| ()).unwrap_err().to_string();
        assert!(error.ends_with("should have 4096 bytes and has 96"), "{error}");
    }

    #[test]
    fn says_what_an_archive_and_a_layout_are() {
        let mut tar = vec![0; 1024];
        tar[257..263].copy_from_slice(b"ustar\0");
        for archive in [&tar[..], b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh9"] {
            let error = Image::open(&file(archive), |_, _| ()).unwrap_err().to_string();
            assert!(error.contains("as docker-archive:PATH or oci-archive:PATH"), "{error}");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::write(path.join("oci-layout"), "{}").unwrap();
        assert!(matches!(Image::open(path, |_, _| ()), Ok(Image::Directory(_))));
        std::fs::write(path.join("index.json"), "{}").unwrap();
        let error = Image::open(path, |_, _| ()).unwrap_err().to_string();
        assert!(error.ends_with(&format!("oci:{} is an image in it", path.display())), "{error}");
        std::fs::create_dir(path.join("bin")).unwrap();
        assert!(matches!(Image::open(path, |_, _| ()), Ok(Image::Directory(_))));
    }

    #[test]
    fn a_directory_is_an_image() {
        assert!(matches!(Image::open(Path::new("/"), |_, _| ()), Ok(Image::Directory(_))));
    }
}
