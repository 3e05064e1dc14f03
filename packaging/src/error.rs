//! What goes wrong: each message says what, where, and what to do.

use build_matrix::error::Error as Building;
use std::io;
use std::path::{Path, PathBuf};

/// Any failure of a verb.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Of what build-matrix does, or of its kind.
    #[error(transparent)]
    Building(#[from] Building),
    /// SOURCE_DATE_EPOCH
    #[error("SOURCE_DATE_EPOCH={text} is no number of seconds")]
    Epoch { text: String },
    /// The linker for an old glibc.
    #[error(
        "cargo-zigbuild is not installed: packaging/zig fetches it; or package for the glibc of this \
         machine: --glibc host"
    )]
    NoZig,
    /// `--single`
    #[error("--single makes the package of one Slurm: name a release, or its place with --slurm")]
    OneSlurm,
    /// Newer than the floor.
    #[error("{}: needs glibc {needed}, more than {floor}", path.display())]
    Glibc { path: PathBuf, needed: String, floor: String },
    /// A plugin that must not be shipped.
    #[error("{}: {}", path.display(), faults.join("; "))]
    Unsound { path: PathBuf, faults: Vec<String> },
    /// Debuggers find symbols by it.
    #[error("{}: has no build id", path.display())]
    NoBuildId { path: PathBuf },
    /// A package that could not be put together.
    #[error("{package}: {source}")]
    Rpm { package: String, source: Box<rpm::Error> },
    /// Nothing to make a repository of.
    #[error("no deb and no rpm in {}: `build-matrix package` writes them", path.display())]
    NoPackages { path: PathBuf },
    /// A repository of its own packages.
    #[error("{}: is in a folder that is made anew: name another --from, or another DIR", path.display())]
    MadeAnew { path: PathBuf },
    /// A program of the distribution.
    #[error("{program} is not installed: it is in the package {package}")]
    NoTool { program: &'static str, package: &'static str },
    /// `report`
    #[error(
        "no results in target/results: build-matrix build, package and verify write them, and so does tests/run"
    )]
    NoResults,
}

impl Error {
    /// For `map_err`: an I/O error with what was done to which path.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let failed = Building::io(what, path);
        move |source| failed(source).into()
    }

    /// A program that failed, or could not be run.
    pub(crate) fn command(command: impl Into<String>, why: Option<io::Error>) -> Error {
        Building::Command { command: command.into(), why }.into()
    }

    /// A data file.
    pub(crate) fn data(path: PathBuf, why: impl Into<String>) -> Error {
        Building::Data { path, why: why.into() }.into()
    }
}
