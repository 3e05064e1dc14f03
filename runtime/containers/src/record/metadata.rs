//! What a container's directory says about itself.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use linux::file_error::FileError;
use nix::unistd::gethostname;
use serde::{Deserialize, Serialize};

use super::error::ContainerError;
use squashfs::image::tables_digest;

/// The file that tells a container of ours from a plain root filesystem.
pub(super) const FILE: &str = "container.toml";
/// It, while it is being written.
pub(super) const NEW: &str = "container.toml.new";
/// Layout of the directory that this version writes.
const FORMAT: u32 = 1;

/// Contents of [`FILE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    format: u32,
    /// What running processes of the container are recognized by. Random, so that a container
    /// removed and made anew under the same name is another one.
    pub id: String,
    /// Where the image came from, for people.
    pub image: String,
    image_size: u64,
    image_mtime: i64,
    image_mtime_nsec: i64,
    /// Of the image's superblock and tables, which tell it from others once its time says nothing
    /// any more. Containers made before there was one have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image_tables: Option<String>,
    /// Where it was made: nodes may share the place for containers, by mistake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
}

/// The name of this node.
fn own_node() -> Option<String> {
    gethostname().ok()?.into_string().ok()
}

impl ContainerError {
    /// There is a container at `path` already, of this node or another one.
    pub fn exists(path: PathBuf) -> ContainerError {
        let made = Metadata::read(&path).ok().flatten();
        let node = made.and_then(|made| made.node).filter(|node| Some(node) != own_node().as_ref());
        ContainerError::Exists { path, node }
    }
}

impl Metadata {
    /// Describes a new container over `image`.
    pub(crate) fn new(origin: &Path, image: &File) -> io::Result<Metadata> {
        let tables = tables_digest(image)?;
        let image = image.metadata()?;
        Ok(Metadata {
            format: FORMAT,
            id: linux::hex::random::<16>()?,
            image: origin.to_string_lossy().into_owned(),
            image_size: image.size(),
            image_mtime: image.mtime(),
            image_mtime_nsec: image.mtime_nsec(),
            image_tables: tables,
            node: own_node(),
        })
    }

    /// Whether nothing was done to the image since: a hard link notices when the original is
    /// written to.
    pub(super) fn is_untouched(&self, image: &fs::Metadata) -> bool {
        (self.image_size, self.image_mtime, self.image_mtime_nsec)
            == (image.size(), image.mtime(), image.mtime_nsec())
    }

    /// The same, where the image is what it was and only its time is another: somebody touched one
    /// of its names, to keep it from being purged perhaps.
    pub(super) fn renewed(&self, image: &File) -> io::Result<Option<Metadata>> {
        // Its time first: what is written meanwhile is noticed by the next.
        let stat = image.metadata()?;
        if self.image_tables.is_none() || self.image_size != stat.size() {
            return Ok(None);
        }
        let same = tables_digest(image)? == self.image_tables;
        Ok(same.then(|| Metadata {
            image_mtime: stat.mtime(),
            image_mtime_nsec: stat.mtime_nsec(),
            ..self.clone()
        }))
    }

    /// Replaces what is there, or leaves it as it is.
    pub(crate) fn write(&self, directory: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let new = directory.join(NEW);
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        // A power cut must not leave a container without an identity.
        file.sync_all()?;
        fs::rename(new, directory.join(FILE))
    }

    /// `None` for a directory that is a plain root filesystem.
    pub(crate) fn read(directory: &Path) -> Result<Option<Metadata>, ContainerError> {
        let path = directory.join(FILE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(|error| FileError::new("read", &path, error))?,
        };
        let damaged = |problem| ContainerError::Damaged { path: directory.to_owned(), problem };
        let metadata: Metadata =
            toml::from_str(&text).map_err(|error| damaged(error.message().to_owned()))?;
        if metadata.format != FORMAT {
            return Err(damaged(format!("made by another version, format {}", metadata.format)));
        }
        Ok(Some(metadata))
    }
}
