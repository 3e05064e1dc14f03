//! What goes wrong: each message says what, where, and what to do.

use slurm_releases::RELEASES;
use std::io;
use std::path::{Path, PathBuf};

/// Any failure of a verb.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "what a field is, its message says")]
pub enum Error {
    /// A file or directory.
    #[error("cannot {what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    /// An argument that names no release.
    #[error("there is no release {asked:?} here; there are {}, and `all`", release_names())]
    NoRelease { asked: String },
    /// Nothing asked for, nothing installed.
    #[error(
        "no {}: install Slurm's headers (libslurm-dev, slurm-devel), or say which Slurm: a release \
         (build 24.11), or its place (--slurm /opt/slurm)", looked.display()
    )]
    NoHeader { looked: PathBuf },
    /// `--slurm` with something that holds no spank.h.
    #[error(
        "{}: no slurm/spank.h with its version in it; give an install prefix, a source tree or \
         tarball, or an include directory", path.display()
    )]
    NoSlurm { path: PathBuf },
    /// A header of a release that nobody asked for.
    #[error("the header in {} is Slurm {found}, but {asked} was asked for", path.display())]
    OtherRelease { path: PathBuf, found: String, asked: String },
    /// A header of a release that is not supported.
    #[error("the header in {} is Slurm {found}; supported are {}", path.display(), release_names())]
    Unsupported { path: PathBuf, found: String },
    /// One header cannot be that of several releases.
    #[error("--slurm names one Slurm, so name at most one release with it")]
    OneHeader,
    /// Not run below the workspace.
    #[error(
        "no slurm-releases/releases in {} or above: run it in the source tree", start.display()
    )]
    NoWorkspace { start: PathBuf },
    /// Cargo could not be run, or said no; its own words went to stderr.
    #[error("{command} failed{}", why.as_ref().map(|w| format!(": {w}")).unwrap_or_default())]
    Command { command: String, why: Option<io::Error> },
    /// Cargo said yes but not what was awaited.
    #[error("cargo reported no {what} for {release}: is this the tree of this build-matrix?")]
    NoArtifact { what: &'static str, release: String },
    /// A data file.
    #[error("{}: {why}", path.display())]
    Data { path: PathBuf, why: String },
    /// `diff`
    #[error("{a} and {b} differ in {count} places")]
    Differ { count: usize, a: String, b: String },
    /// `bindings --check`
    #[error("not up to date: {}; run `build-matrix bindings`", .0.join(", "))]
    Stale(Vec<String>),
    /// A file that should list the releases.
    #[error("{}: lists no releases, so that there is no place to put a new one at", path.display())]
    NoList { path: PathBuf },
    /// Plugins with faults, each of them reported before.
    #[error("{faulty} of {total} plugins are not as they should be")]
    Faulty { faulty: usize, total: usize },
}

impl Error {
    /// For `map_err`: an I/O error with what was done to which path.
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io { what, path, source }
    }
}

fn release_names() -> String {
    RELEASES.iter().map(|release| release.name).collect::<Vec<_>>().join(", ")
}
