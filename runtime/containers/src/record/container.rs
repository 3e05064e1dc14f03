//! A named container, as its directory says.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::metadata::Metadata;
use super::name::Name;

/// A container that exists.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its name.
    pub name: Name,
    /// Its directory.
    pub path: PathBuf,
    /// `None` for a plain root filesystem.
    pub layered: Option<Metadata>,
}

impl Container {
    /// The image below the container's own changes.
    pub(crate) fn image(&self) -> PathBuf {
        self.path.join("image.sqsh")
    }

    /// The `source` that the container's root shows in `mountinfo`, for a root that is an overlay.
    pub(crate) fn mark(&self) -> String {
        match &self.layered {
            Some(metadata) => format!("pyxis-{}", metadata.id),
            None => fs::metadata(&self.path)
                .map_or_else(|_| "pyxis".to_owned(), |stat| directory_mark(stat.dev(), stat.ino())),
        }
    }

    /// Where the environment is kept for those who join.
    pub(crate) fn environ_file(&self) -> PathBuf {
        self.path.join("environ")
    }
}

/// As [`Container::mark`], of a plain directory.
pub(super) fn directory_mark(device: u64, inode: u64) -> String {
    format!("pyxis-{device:x}-{inode:x}")
}
