//! What goes wrong in a store.

use std::path::PathBuf;

use linux::file_error::{FileError, is_full};

/// Errors of the image store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing says where it is.
    #[error("nowhere to keep images: set PYXIS_STORE_PATH to an absolute path, or HOME")]
    NoPlace,
    /// Its directory cannot be made.
    #[error("{0}; another place for images: path in [store] of pyxis.toml, or PYXIS_STORE_PATH")]
    NoDirectory(FileError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is another user's.
    #[error(
        "the image store {} belongs to user id {owner}; set PYXIS_STORE_PATH to a directory of \
         your own, or to one with mode 1777, in which every user gets one",
        path.display()
    )]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Whose.
        owner: u32,
    },
    /// What is to be written has no place.
    #[error(
        "it does not fit into the image store {}, of which at most {limit} bytes may be used; \
         raise max_size of [store], or run pyxis gc",
        path.display()
    )]
    Full {
        /// Which.
        path: PathBuf,
        /// How large it may get.
        limit: u64,
    },
    /// Another program's files would be taken for its own.
    #[error(
        "{} has files of something else that are named as an image store's: set path in [store] of pyxis.toml, or \
         PYXIS_STORE_PATH, to another directory (or, if it is an image store, make a directory locks in it)",
        .0.display()
    )]
    Occupied(PathBuf),
    /// It leads to where other things may be.
    #[error(
        "{} is a symbolic link, and so nothing is removed in it: make it a directory, or mount one there",
        .0.display()
    )]
    Linked(PathBuf),
    /// Others could change images.
    #[error("the image store {} can be written by others: chmod go-w it", .0.display())]
    Writable(PathBuf),
}

impl StoreError {
    /// Whether a file system has no room, or its user may have no more of it.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, StoreError::File(error) if is_full(&error.source))
    }
}
