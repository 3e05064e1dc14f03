//! `package`: deb and rpm packages, written by this program.

mod compile;
mod contents;
mod deb;
mod debug;
mod facts;
mod relations;
mod rpm;
mod sbom;
mod verb;

pub(crate) use verb::{Request, package};

use std::path::PathBuf;

/// A package, ready to be written in either format.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) summary: String,
    pub(crate) description: String,
    /// For every processor.
    pub(crate) any_arch: bool,
    pub(crate) relations: Relations,
    pub(crate) files: Vec<Entry>,
    /// Shell commands, run after installation and before removal.
    pub(crate) after_install: Option<String>,
    pub(crate) before_remove: Option<String>,
}

/// Relations to other packages, as both formats know them.
#[derive(Debug, Default)]
pub(crate) struct Relations {
    /// The newest glibc that the files want anything of.
    pub(crate) glibc: Option<String>,
    /// Packages of ours, in the same version.
    pub(crate) same_version: Vec<String>,
    /// `a | b`: any of them.
    pub(crate) recommends: Vec<Vec<&'static str>>,
    pub(crate) suggests: Vec<&'static str>,
    pub(crate) enhances: Vec<&'static str>,
    pub(crate) provides: Vec<&'static str>,
    /// Packages that this one takes the place of.
    pub(crate) replaces: Vec<&'static str>,
    /// Packages that must be older than this version.
    pub(crate) older_than: Vec<(String, String)>,
}

/// A file or directory of a package.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Without the slash at its beginning.
    pub(crate) path: String,
    pub(crate) what: What,
}

/// What is there.
#[derive(Debug)]
pub(crate) enum What {
    Directory,
    File { bytes: Vec<u8>, mode: u32 },
}

/// A package written.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Written {
    pub(crate) file: PathBuf,
    pub(crate) package: String,
    pub(crate) size: u64,
    pub(crate) sha256: String,
}
