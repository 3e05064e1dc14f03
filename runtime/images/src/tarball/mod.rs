//! Tar as container layers use it: ustar, GNU and PAX extensions, names of any bytes, sparse
//! files, extended attributes. A reader and a writer of our own, because nothing may get lost
//! between the two, and because what a layer says is never applied to a file system.

mod header;
mod pax;
mod reader;
mod sparse;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

use std::io;

/// Bytes of a tar block.
pub(crate) const BLOCK: usize = 512;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// Another name for an earlier entry.
    HardLink(Vec<u8>),
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A character or block device.
    Device,
}

/// An extended attribute: name and value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// One entry's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name, as it stands in the archive.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with set-id and sticky bits.
    pub mode: u32,
    /// Seconds since the epoch.
    pub mtime: i64,
    /// Bytes of a regular file, holes included.
    pub size: u64,
    /// Extended attributes in the order given.
    pub xattrs: Vec<Xattr>,
}

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The data under the archive could not be had.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It ends in the middle of an entry.
    #[error("the archive ends in the middle of an entry")]
    Truncated,
    /// A header's checksum is wrong.
    #[error("it is not a tar archive, or damaged (wrong header checksum at byte {0})")]
    Checksum(u64),
    /// A field cannot be understood.
    #[error("the {field} of entry {entry:?} is malformed")]
    Field {
        /// Which field.
        field: &'static str,
        /// The entry's name.
        entry: String,
    },
    /// Extended headers of one entry larger than anybody needs.
    #[error("extended headers of {0} bytes are refused (at most {max})", max = pax::LIMIT)]
    Oversized(u64),
    /// An entry type that does not belong into an image.
    #[error("entry {entry:?} has the unknown type {kind:?}")]
    Type {
        /// The entry's name.
        entry: String,
        /// Its type byte.
        kind: char,
    },
}

impl TarError {
    fn field(field: &'static str, path: &[u8]) -> TarError {
        // An error is one line, not a megabyte.
        let entry = String::from_utf8_lossy(&path[..path.len().min(300)]).into_owned();
        TarError::Field { field, entry }
    }
}
