//! What is wrong with a setting, and where it was said.

use std::path::PathBuf;

use linux::file_error::FileError;

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file is there but cannot be read.
    #[error(transparent)]
    Read(#[from] FileError),
    /// The file does not say what can be understood.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong, and a hint.
        problem: String,
    },
    /// An environment variable does not.
    #[error("{variable}={value}: {problem}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What it is set to.
        value: String,
        /// What is wrong.
        problem: String,
    },
}
