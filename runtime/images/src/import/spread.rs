//! An image for several nodes at once: one of them fetches its layers, Slurm sends them to the others, and
//! each of these takes them into its user's store by their digest.
//!
//! Nobody is believed for it. What makes the image, on each node, checks every layer against the manifest
//! that the registry has given that node.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use linux::phases;

use super::blobs::Shared;
use super::resolve::Resolved;
use super::{ImportError, Importer, PullPolicy};
use crate::digest::{Digest, Hasher};
use crate::layers::Meter;
use crate::registry::Descriptor;
use crate::store::Space;
use crate::uri::Uri;

impl Importer {
    /// How large what an image is made of is, unless the image is in the store, or in one below it that everybody
    /// may have it from.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn lacks(&self, uri: &Uri) -> Result<Option<u64>, ImportError> {
        let none = || ImportError::NoDigest(uri.to_string());
        let resolved = self.resolve(uri, PullPolicy::Missing)?.ok_or_else(none)?;
        let image = self.known(&resolved.digest)?;
        if image.is_some_and(|image| image.own || !image.record.private) {
            return Ok(None);
        }
        let parts = unique(resolved.image.layers.iter().chain([&resolved.image.config]));
        Ok(Some(parts.iter().fold(0, |sum, part| part.size.saturating_add(sum))))
    }

    /// Fetches what an image is made of to the caller's own store, and makes nothing of it. What has a
    /// name there now.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn fetch_parts(&self, uri: &Uri) -> Result<Vec<Digest>, ImportError> {
        let none = || ImportError::NoDigest(uri.to_string());
        let resolved = self.resolve(uri, PullPolicy::Missing)?.ok_or_else(none)?;
        let client = self.source(&resolved.origin).map_err(|_| none())?;
        let parts = unique(resolved.image.layers.iter().chain([&resolved.image.config]));
        phases::begin("download");
        let (meter, space) = (Meter::new(self.limits), self.store.space());
        self.tell_layers(&parts, &space)?;
        self.each(&parts, (&meter, &space, None), |part, shared: &Shared<'_>| {
            self.blob_from_registry(client, part, shared, &|_| Ok(())).map(drop)
        })?;
        let mut named = Vec::new();
        for part in parts {
            if self.store.blob(&part.digest)?.is_some() {
                named.push(part.digest.clone());
            }
        }
        Ok(named)
    }

    /// Takes a file of the store's scratch folder for what has this digest, if it has.
    ///
    /// # Errors
    /// [`ImportError`]; the file is gone then as well.
    pub fn adopt(&self, path: &Path, digest: &Digest) -> Result<(), ImportError> {
        match self.store.adopt_blob(path, digest)? {
            None => Ok(()),
            Some(actual) => Err(ImportError::Digest {
                from: path.display().to_string(),
                expected: digest.clone(),
                actual,
            }),
        }
    }

    /// Puts into the store what others have brought of an image, as far as the manifest names it. It takes no
    /// lock: who brings a file that cannot be read to its end, or only slowly, keeps nobody waiting.
    pub(super) fn take_brought(
        &self,
        resolved: &Resolved,
        brought: Vec<File>,
    ) -> Result<(), ImportError> {
        let Ok(client) = self.source(&resolved.origin) else { return Ok(()) };
        phases::begin("download");
        let parts = unique(resolved.image.layers.iter().chain([&resolved.image.config]));
        let stated = parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.size));
        (self.before_fetching)(stated);
        let space = self.store.space();
        space.check(stated)?;
        for file in brought {
            let Ok(data) = file.metadata() else { continue };
            if !data.is_file() {
                continue;
            }
            for part in parts.iter().filter(|part| part.size == data.len()) {
                if self.store.blob(&part.digest)?.is_none()
                    && self.take_file(&file, part, &space, client.used_credentials())?
                {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether that file is this part of the image; then it is in the store.
    fn take_file(
        &self,
        file: &File,
        part: &Descriptor,
        space: &Space,
        private: bool,
    ) -> Result<bool, ImportError> {
        let pending = self.store.pending()?;
        let mut hash = Hasher::like(&part.digest);
        let mut bytes = vec![0; 1 << 20];
        let mut at = 0u64;
        while at < part.size {
            let left = usize::try_from(part.size - at).unwrap_or(usize::MAX);
            let most = left.min(bytes.len());
            let count = match file.read_at(&mut bytes[..most], at) {
                Ok(0) | Err(_) => return Ok(false),
                Ok(count) => count,
            };
            // What is hashed is what is kept, whatever becomes of the file meanwhile.
            hash.update(&bytes[..count]);
            space.take(count as u64)?;
            pending.write_all(&bytes[..count])?;
            at += count as u64;
        }
        if hash.finish() != part.digest {
            return Ok(false);
        }
        if self.store.publish_blob(pending, &part.digest, private)?.1 {
            space.published(part.size);
        }
        Ok(true)
    }

    /// What of an image's parts the caller's own store has, opened.
    pub(super) fn parts_at_hand(&self, parts: &[&Descriptor]) -> Vec<File> {
        parts.iter().filter_map(|part| self.store.blob(&part.digest).ok().flatten()).collect()
    }
}

/// Each once.
pub(super) fn unique<'a>(parts: impl Iterator<Item = &'a Descriptor>) -> Vec<&'a Descriptor> {
    let mut out: Vec<&Descriptor> = Vec::new();
    for part in parts {
        if !out.iter().any(|known| known.digest == part.digest) {
            out.push(part);
        }
    }
    out
}
