//! A package, before it is a deb or an rpm.

use std::path::PathBuf;

/// A package, ready to be written in either format.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) summary: String,
    pub(crate) description: String,
    /// For every processor.
    pub(crate) any_arch: bool,
    /// Has the debug symbols of another.
    pub(crate) debug: bool,
    pub(crate) relations: Relations,
    pub(crate) files: Vec<Entry>,
    /// Shell commands, run after installation, before removal and after it.
    pub(crate) after_install: Option<String>,
    /// The same, once the package manager has removed what this one takes the place of.
    pub(crate) after_all: Option<String>,
    pub(crate) before_remove: Option<String>,
    pub(crate) after_remove: Option<String>,
}

/// Relations to other packages, as both formats know them.
#[derive(Debug, Default)]
pub(crate) struct Relations {
    /// The newest glibc that the files want anything of.
    pub(crate) glibc: Option<String>,
    /// gcc's library is needed.
    pub(crate) libgcc: bool,
    /// Packages of ours, in the same version.
    pub(crate) same_version: Vec<String>,
    /// `a | b`: any of them.
    pub(crate) requires: Vec<Vec<&'static str>>,
    /// What the script after installation runs, where the format has a word for what must be there by then.
    pub(crate) for_after_install: Vec<&'static str>,
    pub(crate) recommends: Vec<Vec<&'static str>>,
    pub(crate) suggests: Vec<&'static str>,
    pub(crate) enhances: Vec<&'static str>,
    pub(crate) provides: Vec<&'static str>,
    /// Other packages' names, each in a version.
    pub(crate) provides_versions: Vec<(&'static str, &'static str)>,
    /// Packages that cannot be there beside it.
    pub(crate) conflicts: Vec<&'static str>,
    /// Packages that this one takes the place of.
    pub(crate) replaces: Vec<&'static str>,
    /// Of the first of those, the versions it stands for.
    pub(crate) stands_for: Vec<String>,
    /// Packages that must be older than this version.
    pub(crate) older_than: Vec<(String, String)>,
}

/// A file or directory of a package.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Without the slash at its beginning.
    pub(crate) path: String,
    pub(crate) what: EntryKind,
}

impl Entry {
    /// The admin's to change: kept as it is by an upgrade, and gone with a purge.
    pub(crate) fn is_config(&self) -> bool {
        matches!(self.what, EntryKind::File { .. }) && self.path.starts_with("etc/")
    }

    /// Installed even where documents are not.
    pub(crate) fn is_license(&self) -> bool {
        matches!(self.what, EntryKind::File { .. }) && self.path.starts_with("usr/share/licenses/")
    }
}

/// The kind of an entry, and what it has by that.
#[derive(Debug)]
pub(crate) enum EntryKind {
    Directory,
    /// A symbolic link: what it leads to.
    Link(String),
    File {
        bytes: Vec<u8>,
        mode: u32,
    },
}

/// A package written.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Written {
    pub(crate) file: PathBuf,
    pub(crate) package: String,
    pub(crate) size: u64,
    pub(crate) sha256: String,
}
