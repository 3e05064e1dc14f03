//! One error for all operations on files that fail: what was to be done, with which file, and why not.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An operation on a file that failed. Crates' own errors have a variant for it.
#[derive(Debug)]
pub struct FileError {
    /// Such as "create".
    pub operation: &'static str,
    /// The file, in the container where one is being started.
    pub path: PathBuf,
    /// From the kernel.
    pub source: io::Error,
}

impl FileError {
    /// The error of `operation` on the file at `path`.
    pub fn new(
        operation: &'static str,
        path: impl AsRef<Path>,
        source: impl Into<io::Error>,
    ) -> FileError {
        FileError { operation, path: path.as_ref().to_owned(), source: source.into() }
    }
}

/// Whether a file system has no room, or its user may have no more of it.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.operation, self.path.display(), self.source)
    }
}

impl Error for FileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
