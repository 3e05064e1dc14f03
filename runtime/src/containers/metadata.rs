//! What a container's directory says about itself.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ContainerError;

/// The file that tells a container of ours from a plain root filesystem.
pub(super) const FILE: &str = "container.toml";
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
}

impl Metadata {
    /// Describes a new container over `image`.
    pub(super) fn new(origin: &Path, image: &fs::Metadata) -> io::Result<Metadata> {
        let mut random = [0u8; 16];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        Ok(Metadata {
            format: FORMAT,
            id: random.iter().map(|byte| format!("{byte:02x}")).collect(),
            image: origin.to_string_lossy().into_owned(),
            image_size: image.size(),
            image_mtime: image.mtime(),
            image_mtime_nsec: image.mtime_nsec(),
        })
    }

    /// Whether `image` is still the file that the container was made over. A hard link notices
    /// when the original is written to.
    pub fn is_of(&self, image: &fs::Metadata) -> bool {
        (self.image_size, self.image_mtime, self.image_mtime_nsec)
            == (image.size(), image.mtime(), image.mtime_nsec())
    }

    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let mut file = File::create(directory.join(FILE))?;
        file.write_all(text.as_bytes())?;
        // A power cut must not leave a container without an identity.
        file.sync_all()
    }

    /// `None` for a directory that is a plain root filesystem.
    pub(super) fn read(directory: &Path) -> Result<Option<Metadata>, ContainerError> {
        let path = directory.join(FILE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(|error| ContainerError::file("read", &path, error))?,
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
