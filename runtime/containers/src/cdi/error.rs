//! Why a device cannot be given to a container.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use linux::file_error::FileError;

/// Errors of [`super`].
#[derive(Clone, Debug, thiserror::Error)]
pub enum CdiError {
    /// A specification is there but cannot be read.
    #[error(transparent)]
    Read(Arc<FileError>),
    /// A specification does not say what can be understood.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong, and a hint.
        problem: String,
    },
    /// What was asked for cannot be the name of a device.
    #[error("Invalid argument: {name:?}: a device is named VENDOR/CLASS=NAME ({problem})")]
    Name {
        /// As given.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No specification has the device.
    #[error("no device {device} on this node: {}", because(known, faulty.as_deref(), searched))]
    Absent {
        /// `VENDOR/CLASS=NAME`.
        device: String,
        /// Devices of the same kind.
        known: Vec<String>,
        /// A specification that could not be used and may have had it.
        faulty: Option<Box<CdiError>>,
        /// Directories of specifications.
        searched: String,
    },
    /// Two specifications of one directory have the device.
    #[error("device {device} is in {} and in {}; remove it from one", one.display(), other.display())]
    Conflict {
        /// `VENDOR/CLASS=NAME`.
        device: String,
        /// A specification.
        one: PathBuf,
        /// The other one.
        other: PathBuf,
    },
}

impl CdiError {
    pub(super) fn read(path: &std::path::Path, source: io::Error) -> CdiError {
        CdiError::Read(Arc::new(FileError::new("read", path, source)))
    }
}

fn because(known: &[String], faulty: Option<&CdiError>, searched: &str) -> String {
    match faulty {
        Some(error) => error.to_string(),
        None if known.is_empty() => {
            format!("no CDI specification in {searched} is of this kind")
        }
        None => format!("there are {}", known.join(", ")),
    }
}
