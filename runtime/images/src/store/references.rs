//! What tags named when they were last looked up.

use std::path::{Path, PathBuf};

use super::image::{image_path, read_record, trusted};
use super::{BLOBS, IMAGES, REFERENCES, Store, StoreError, names, read_small, remove};
use crate::digest::Digest;

impl Store {
    /// Remembers which digest a tag had last.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remember(&self, reference: &str, digest: &Digest) -> Result<(), StoreError> {
        if self.remembered(reference).as_ref() == Some(digest) {
            return Ok(());
        }
        let pending = self.pending()?;
        pending.write_all(format!("{digest}\n{reference}\n").as_bytes())?;
        pending.publish(&self.reference_path(reference), 0o600).map(drop)
    }

    /// The digest that a tag had when it was last looked up.
    pub fn remembered(&self, reference: &str) -> Option<Digest> {
        let (digest, of) = read(&self.reference_path(reference))?;
        (of == reference).then_some(digest)
    }

    /// Images of the stores below that everybody may have and that were fetched from there, the last one first.
    pub(crate) fn lower_images_from(&self, origin: &str) -> Vec<Digest> {
        let mut found = Vec::new();
        for root in &self.config.lower {
            let is_record = |name: &str| matches!(names::image(name), Some((_, "json")));
            let records = names::files(&root.join(IMAGES), is_record).unwrap_or_default();
            found.extend(records.into_iter().filter_map(|(path, data)| {
                let (hex, _) = names::image(names::name_of(&path))?;
                let record = read_record(root, hex).ok().flatten()?;
                let is_meant = record.origin == origin && !record.private;
                let trusted = || trusted(root, &data).is_ok_and(|is| is);
                (is_meant && trusted()).then_some((record.created, record.digest))
            }));
        }
        found.sort_by_key(|(created, _)| std::cmp::Reverse(*created));
        found.into_iter().map(|(_, digest)| digest).collect()
    }

    /// Forgets what tags named of which nothing is left, neither in this store nor in one below: an image, or the index or
    /// manifest of one.
    pub(super) fn forget_what_is_gone(&self) -> Result<(), StoreError> {
        let roots = || [&self.root].into_iter().chain(&self.config.lower);
        for (path, _) in names::files(&self.root.join(REFERENCES), names::is_reference)? {
            // What is none was not written here.
            let Some((digest, _)) = read(&path) else { continue };
            let hex = digest.hex();
            let left = |root: &PathBuf| {
                image_path(root, hex).exists() || root.join(BLOBS).join(hex).exists()
            };
            if !roots().any(left) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn reference_path(&self, reference: &str) -> PathBuf {
        use sha2::{Digest, Sha256};
        let hash = Sha256::digest(reference.as_bytes());
        self.root.join(REFERENCES).join(linux::hex::hex(&hash))
    }
}

/// The digest, and of what.
fn read(path: &Path) -> Option<(Digest, String)> {
    let text = String::from_utf8(read_small(path).ok()?).ok()?;
    let (digest, of) = text.split_once('\n')?;
    Some((Digest::parse(digest)?, of.trim_end().to_owned()))
}
