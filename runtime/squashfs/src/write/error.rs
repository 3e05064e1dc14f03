//! Why no image was written.

use std::io;

/// Why an image cannot be written. What was written so far is no image.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output does not take it.
    #[error("cannot write the image: {0}")]
    Output(io::Error),
    /// It would have more bytes than it may have.
    #[error("the image would have more than {0} bytes")]
    TooLarge(u64),
    /// A file's content cannot be read.
    #[error("cannot read {path:?}: {source}")]
    Content {
        /// The path in the image.
        path: String,
        /// From its reader.
        source: io::Error,
    },
    /// Something that no squashfs file can hold, or that is not a tree.
    #[error("{path:?} cannot be put into an image: {problem}")]
    Entry {
        /// The path in the image.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// More than the format has room for.
    #[error("an image has room for {limit} {what} at most")]
    Limit {
        /// The limit that was met.
        limit: u64,
        /// Of what.
        what: &'static str,
    },
    /// Settings that no image can have.
    #[error("an image cannot be written with {0}")]
    Options(String),
    /// An entry before this one could not be added.
    #[error("the image was given up after an earlier error")]
    GivenUp,
}

impl WriteError {
    pub(super) fn entry(path: &[u8], problem: &'static str) -> WriteError {
        WriteError::Entry { path: shown(path), problem }
    }

    pub(super) fn content(path: &[u8], source: impl Into<io::Error>) -> WriteError {
        WriteError::Content { path: shown(path), source: source.into() }
    }

    pub(super) fn limit(limit: impl Into<u64>, what: &'static str) -> WriteError {
        WriteError::Limit { limit: limit.into(), what }
    }
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
