//! What goes wrong in a store.

use std::io;
use std::path::{Path, PathBuf};

/// Errors of the image store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing says where it is.
    #[error("nowhere to keep images: set PYXIS_STORE_PATH to an absolute path, or HOME")]
    NoPlace,
    /// A file operation failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    File {
        /// Such as "create".
        operation: &'static str,
        /// Which file.
        path: PathBuf,
        /// From the kernel.
        source: io::Error,
    },
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
    /// Others could change images.
    #[error("the image store {} can be written by others: chmod go-w it", .0.display())]
    Writable(PathBuf),
}

impl StoreError {
    pub(super) fn file(operation: &'static str, path: &Path, source: io::Error) -> StoreError {
        StoreError::File { operation, path: path.to_owned(), source }
    }
}
