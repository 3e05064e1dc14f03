//! Images and what is known of them.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use linux::file_error::FileError;
use serde::{Deserialize, Serialize};

use super::file::new_mode;
use super::{IMAGES, Pending, Store, StoreError, is_absent, names, open_plain, read_small, usage};
use crate::digest::Digest;

/// What is known of an image beside its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The digest of its manifest.
    pub digest: Digest,
    /// Where it came from when it was made.
    pub origin: String,
    /// Bytes of the squashfs file.
    pub size: u64,
    /// When it was written last: an image is linked to where users want it, and who changes it
    /// there has changed it here.
    pub modified: i64,
    /// Digests of its layers.
    pub layers: Vec<Digest>,
    /// Whether the registry was shown credentials for it.
    pub private: bool,
    /// When it was made: seconds since the epoch.
    pub created: u64,
    /// What has written the squashfs file: [`Record::OWN_WRITER`], or nothing that root's kernel is to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<String>,
}

impl Record {
    /// Our own writer.
    pub const OWN_WRITER: &str = "pyxis";
}

/// An image in a store, opened.
#[derive(Debug)]
pub struct StoredImage {
    /// The squashfs file.
    pub file: File,
    /// Its path.
    pub path: PathBuf,
    /// What is known of it.
    pub record: Record,
    /// Whether it is in the caller's own store.
    pub own: bool,
}

impl Store {
    /// The image made from a manifest, in this store or one below.
    ///
    /// # Errors
    /// [`StoreError`]; an image that is damaged is none.
    pub fn image(&self, manifest: &Digest) -> Result<Option<StoredImage>, StoreError> {
        let hex = manifest.hex();
        if let Some(image) = open_image(&self.root, hex, true)? {
            return Ok(Some(image));
        }
        Ok(self.lower_image(manifest))
    }

    /// The image made from a manifest, in a store below this one.
    pub fn lower_image(&self, manifest: &Digest) -> Option<StoredImage> {
        // What cannot be read there is somebody else's and no error.
        let open = |lower: &PathBuf| open_image(lower, manifest.hex(), false).ok().flatten();
        self.config.lower.iter().find_map(open)
    }

    /// Publishes an image. It is on disk when it gets its name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn publish_image(
        &self,
        pending: Pending,
        mut record: Record,
    ) -> Result<StoredImage, StoreError> {
        let hex = record.digest.hex().to_owned();
        let path = image_path(&self.root, &hex);
        let failed = |source| FileError::new("write", &path, source);
        pending.file().sync_data().map_err(failed)?;
        let metadata = pending.file().metadata().map_err(failed)?;
        (record.size, record.modified) = (metadata.len(), metadata.mtime());
        let text = serde_json::to_vec(&record).map_err(|error| failed(error.into()))?;
        let description = self.pending()?;
        description.write_all(&text)?;
        description.file().sync_data().map_err(failed)?;
        // The record first: an image is never without one.
        let (text, image) = match (self.public, record.private) {
            // Nobody else gets there; who is to read a link to it, the umask says.
            (false, _) => (0o600, 0o400 | (0o444 & new_mode())),
            (true, false) => (0o644, 0o444),
            (true, true) => (0o600, 0o400),
        };
        description.publish(&record_path(&self.root, &hex), text)?;
        let file = pending.publish(&path, image)?;
        usage::hold(&file);
        Ok(StoredImage { file, path, record, own: true })
    }

    /// All images of the caller's own store and when they were used last.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn images(&self) -> Result<Vec<(Record, SystemTime)>, StoreError> {
        list(&self.root, self.public)
    }
}

/// The images of anybody's store that the caller may read, and when they were used last. Nothing is made there.
///
/// # Errors
/// [`StoreError`].
pub fn images_at(root: &Path) -> Result<Vec<(Record, SystemTime)>, StoreError> {
    list(root, true)
}

/// Where others read, the kernel notes their use, and nobody else.
fn list(root: &Path, public: bool) -> Result<Vec<(Record, SystemTime)>, StoreError> {
    let mut out = Vec::new();
    let is_image = |name: &str| matches!(names::image(name), Some((_, "sqsh")));
    for (path, data) in names::files(&root.join(IMAGES), is_image)? {
        let Some((hex, _)) = names::image(names::name_of(&path)) else { continue };
        if let Ok(Some(record)) = read_record(root, hex) {
            let noted = fs::metadata(record_path(root, hex)).and_then(|data| data.modified()).ok();
            let read = data.accessed().ok().filter(|_| public);
            out.push((record, noted.max(read).unwrap_or(SystemTime::UNIX_EPOCH)));
        }
    }
    out.sort_by_key(|(_, used)| std::cmp::Reverse(*used));
    Ok(out)
}

pub(super) fn image_path(root: &Path, hex: &str) -> PathBuf {
    root.join(IMAGES).join(format!("{hex}.sqsh"))
}

pub(super) fn record_path(root: &Path, hex: &str) -> PathBuf {
    root.join(IMAGES).join(format!("{hex}.json"))
}

/// The record of an image; none if it is missing or makes no sense.
pub(super) fn read_record(root: &Path, hex: &str) -> Result<Option<Record>, StoreError> {
    let path = record_path(root, hex);
    match read_small(&path) {
        Ok(text) => {
            let record: Option<Record> = serde_json::from_slice(&text).ok();
            Ok(record.filter(|record| record.digest.hex() == hex))
        }
        Err(error) if is_absent(&error) => Ok(None),
        Err(source) => Err(FileError::new("read", &path, source).into()),
    }
}

fn open_image(root: &Path, hex: &str, own: bool) -> Result<Option<StoredImage>, StoreError> {
    let path = image_path(root, hex);
    let failed = |source| FileError::new("open", &path, source);
    let file = match open_plain(&path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(source) => return Err(failed(source).into()),
    };
    // Held before it is looked at: the garbage collector takes it before or not at all.
    usage::hold(&file);
    let Some(record) = read_record(root, hex)? else { return Ok(None) };
    let metadata = file.metadata().map_err(failed)?;
    let as_recorded = (metadata.len(), metadata.mtime()) == (record.size, record.modified);
    if !as_recorded || metadata.nlink() == 0 {
        return Ok(None);
    }
    if !own && !trusted(root, &metadata).map_err(failed)? {
        return Ok(None);
    }
    if own {
        let used = || File::open(record_path(root, hex))?.set_modified(SystemTime::now());
        let _ = used();
    }
    Ok(Some(StoredImage { file, path, record, own }))
}

/// Whether a file in somebody's store is that somebody's, and nobody else can write there.
pub(super) fn trusted(root: &Path, file: &fs::Metadata) -> std::io::Result<bool> {
    let directories = [fs::metadata(root)?, fs::metadata(root.join(IMAGES))?];
    let owner = directories[0].uid();
    let closed = |metadata: &fs::Metadata| metadata.mode() & 0o022 == 0 && metadata.uid() == owner;
    Ok(directories.iter().all(closed) && closed(file))
}
