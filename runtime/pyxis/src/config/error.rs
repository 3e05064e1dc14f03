//! What is wrong with a configuration file, where, and what may have been meant.

use std::io;
use std::path::PathBuf;

/// Errors of [`super::Config::load`].
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is there but cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// From the kernel.
        source: io::Error,
    },
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
}
