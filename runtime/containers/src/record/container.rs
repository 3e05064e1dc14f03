//! A named container, as its directory says.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::metadata::{self, Metadata};
use super::name::Name;

/// What is in the directory of one with an image. What NFS keeps of files that are gone is nobody's.
const OWN: [&str; 8] =
    [metadata::FILE, metadata::NEW, "image.sqsh", "upper", "work", "environ", "lock", "used"];
const OF_NFS: &[u8] = b".nfs";
/// As many others are named.
const NAMED: usize = 8;

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

    /// Names in the directory of a container with an image that are not its own: somebody has taken the directory for
    /// the root filesystem, which enroot's is.
    pub(crate) fn strangers(&self) -> Vec<OsString> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let is_strange = |name: &OsString| {
            OWN.iter().all(|own| name != own) && !name.as_bytes().starts_with(OF_NFS)
        };
        let names = entries.map(|entry| entry.file_name()).filter(is_strange);
        let mut names: Vec<OsString> = names.take(NAMED).collect();
        names.sort();
        names
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
