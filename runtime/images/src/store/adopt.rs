//! Blobs that something else than this store's importer has written to its scratch folder, and what tells
//! one store from another.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use linux::file_error::FileError;
use nix::sys::statvfs::statvfs;

use super::names::{self, name_of};
use super::{Store, StoreError, is_absent, open_plain, read_small, usage};
use crate::digest::{Digest, Hasher};

/// The file whose content no other store has.
const IDENTITY: &str = "identity";

impl Store {
    /// Where the part of an image at that place is as long as it is on its way to a step, `JOB.STEP`.
    pub fn sent(&self, step: &str, place: usize) -> PathBuf {
        self.scratch().join(format!("{}{place}", names::sent_to(step)))
    }

    /// Removes what has come for a step and has not been taken.
    pub fn clear_sent(&self, step: &str) {
        let own = names::sent_to(step);
        for (path, _) in names::entries(&self.scratch(), names::is_sent).unwrap_or_default() {
            if name_of(&path).starts_with(&own) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Gives a file of the scratch folder the name of a blob, if it has that digest. Else it is removed, and
    /// the digest that it has is returned.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn adopt_blob(&self, path: &Path, digest: &Digest) -> Result<Option<Digest>, StoreError> {
        let failed = |what| move |source| FileError::new(what, path, source);
        let mut file = open_plain(path).map_err(failed("open"))?;
        let mut hash = Hasher::like(digest);
        let mut part = vec![0; 1 << 20];
        loop {
            let count = file.read(&mut part).map_err(failed("read"))?;
            if count == 0 {
                break;
            }
            hash.update(&part[..count]);
        }
        let actual = hash.finish();
        if actual != *digest {
            fs::remove_file(path).map_err(failed("remove"))?;
            return Ok(Some(actual));
        }
        let mode = if self.public { 0o444 } else { 0o400 };
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(failed("change"))?;
        fs::rename(path, self.blob_path(digest)).map_err(failed("rename"))?;
        usage::hold(&file);
        Ok(None)
    }

    /// Whether its file system and its limit have room for so many bytes.
    pub fn has_room(&self, bytes: u64) -> bool {
        let free = statvfs(self.root());
        let free = free.map_or(0, |fs| fs.blocks_available().saturating_mul(fs.fragment_size()));
        bytes <= free && bytes <= self.max_bytes(None)
    }

    /// What tells this store from all others: nodes that find the same have the same store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn identity(&self) -> Result<String, StoreError> {
        let path = self.root.join(IDENTITY);
        let failed = |source| FileError::new("read", &path, source);
        loop {
            match read_small(&path) {
                Ok(text) => return Ok(String::from_utf8_lossy(&text).trim_end().to_owned()),
                Err(error) if is_absent(&error) => {}
                Err(source) => return Err(failed(source).into()),
            }
            let id = fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(failed)?;
            let pending = self.pending()?;
            pending.write_all(id.as_bytes())?;
            // Of several that make it at once one is the first, and all take that one's.
            match pending.publish_new(&path, 0o600) {
                Err(_) if path.exists() => {}
                made => made?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Policy, StoreConfig};
    use std::time::{Duration, SystemTime};

    fn store(root: &Path) -> Store {
        Store::open(StoreConfig::new(root.join("store"))).unwrap()
    }

    #[test]
    fn what_is_sent_goes_with_its_step_or_once_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let sent = [store.sent("1.2", 0), store.sent("1.2", 11), store.sent("1.20", 0)];
        sent.iter().for_each(|path| fs::write(path, "part").unwrap());
        store.clear_sent("1.2");
        assert_eq!(sent.each_ref().map(|path| path.exists()), [false, false, true]);
        let left = fs::File::open(&sent[2]).unwrap();
        left.set_modified(SystemTime::now() - Duration::from_secs(200_000)).unwrap();
        store.collect(Policy::default()).unwrap();
        assert!(!sent[2].exists());
    }

    #[test]
    fn a_file_becomes_a_blob_by_its_digest_or_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let (right, wrong) = (Digest::of(b"layer"), Digest::of(b"other"));
        let path = store.sent("1.2", 0);
        fs::write(&path, b"layer").unwrap();
        assert_eq!(store.adopt_blob(&path, &right).unwrap(), None);
        assert!(!path.exists());
        let mut content = Vec::new();
        store.blob(&right).unwrap().unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(content, b"layer");

        fs::write(&path, b"layer").unwrap();
        assert_eq!(store.adopt_blob(&path, &wrong).unwrap(), Some(right));
        assert!(!path.exists());
        assert!(store.blob(&wrong).unwrap().is_none());
        // No link of anybody's is followed.
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(store.adopt_blob(&path, &wrong).is_err());
    }

    #[test]
    fn there_is_room_for_what_fits() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        assert!(store.has_room(1));
        assert!(!store.has_room(u64::MAX));
    }

    #[test]
    fn a_store_stays_the_one_that_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let of = |folder: &tempfile::TempDir| store(folder.path()).identity().unwrap();
        let first = of(&folder);
        assert_eq!(first, of(&folder));
        assert_ne!(first, of(&other));
        assert_eq!(first.len(), 36, "{first}");
    }
}
