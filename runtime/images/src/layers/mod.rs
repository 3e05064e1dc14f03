//! Image layers: read as archives, merged as a tree of names, written out as one archive.
//!
//! Two passes. The first reads every layer's headers while it is downloaded ([`Index`]) and
//! settles in memory which entry each name of the image comes from ([`Tree`]). The second passes on
//! the entries that won ([`write()`]): as the first has kept them ([`SpooledLayer`]), or by reading the layers
//! again. Nothing is unpacked, so no name in a layer can reach the file system of the host.

mod decode;
mod emit;
mod index;
mod limits;
mod sink;
mod spool;
mod tree;

pub use decode::{decoder, is_compressed, limit_windows};
pub use emit::{LayerSource, OwnFiles, write};
pub use index::{Entry, EntryKind, Index, Interpretation, Meta};
pub use limits::{Allowance, Limits, Meter, Quantity};
pub use sink::{ArchiveSink, DirectorySink, Sink};
pub use spool::{LayerSpool, LayerSpooler, SpooledLayer};
pub use tree::{Content, Name, Tree};

use std::io;

use crate::tarball::TarError;

/// Why layers cannot be merged. Which layer it was is known to the caller.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive is damaged.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A compression nobody uses for layers.
    #[error("it is compressed with {0}, which is not supported for image layers")]
    Compression(&'static str),
    /// The compressed data is damaged.
    #[error("it cannot be decompressed: {0}")]
    Decompress(io::Error),
    /// A name that points out of the image.
    #[error("refused: the entry {0:?} points outside the image")]
    Outside(String),
    /// A name no file system can hold.
    #[error("refused: the entry {0:?} has a name that no file can have")]
    Name(String),
    /// A hard link to nothing.
    #[error("the entry {link:?} is a hard link to {target:?}, which is no file of the image")]
    HardLink {
        /// The link's name.
        link: String,
        /// What it should be another name of.
        target: String,
    },
    /// Symbolic links that never end.
    #[error("refused: the entry {0:?} goes through too many symbolic links")]
    Loop(String),
    /// More than the limits allow.
    #[error(
        "refused: it unpacks to more than {limit} {what}, too much for its size; if the image is \
         trusted, raise the limit with {setting}",
        setting = Limits::SETTING
    )]
    Limit {
        /// The limit that was met.
        limit: u64,
        /// Of what.
        what: &'static str,
    },
    /// A path of more names than any real one.
    #[error("refused: the entry {0:?} is nested too deeply")]
    Depth(String),
    /// Extended attributes that no file can have.
    #[error("refused: the entry {0:?} has more or larger extended attributes than a file can have")]
    Attributes(String),
    /// Longer than it may take.
    #[error("refused: it takes more than {0} seconds")]
    Time(u64),
    /// The result cannot be written.
    #[error("cannot write {what}: {source}")]
    Write {
        /// What was being written.
        what: String,
        /// From the kernel.
        source: io::Error,
    },
}
