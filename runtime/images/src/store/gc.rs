//! Garbage collection: leftovers of the dead, then what was not used for the longest time, until
//! the store is as small as it is to be. Images in use are never taken, nor is anything that has no name
//! of the store's giving.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use linux::file_error::FileError;

use super::image::{image_path, read_record, record_path};
use super::leases::Leases;
use super::names::{self, TEMPORARY, name_of};
use super::{BLOBS, IMAGES, LOCKS, REFERENCES, SCRATCH, USES};
use super::{Store, StoreError, is_absent, open_plain, read_small, usage};

/// What to keep.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    /// Bytes to keep at most; the configuration's number if none.
    pub max_bytes: Option<u64>,
    /// Take everything that is not in use, however new.
    pub all: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// What was used so recently is left; the configuration's time if none.
    pub grace: Option<Duration>,
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Paths, relative to the store.
    pub removed: Vec<PathBuf>,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Bytes of what is left.
    pub left: u64,
}

/// Something that may be taken.
struct Candidate {
    path: PathBuf,
    used: SystemTime,
    bytes: u64,
    image: Option<String>,
}

/// A leftover of another node or process namespace is certainly one after this time: no file is written for longer
/// without being renewed.
const ABANDONED: Duration = Duration::from_secs(86400);

impl Store {
    /// Collects garbage. Safe at any time, also twice at once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn collect(&self, policy: Policy) -> Result<Collected, StoreError> {
        let mut out = Collected::default();
        self.refuse_links()?;
        self.leftovers(policy, &mut out)?;
        self.broken_images(policy, &mut out)?;

        let max = if policy.all { 0 } else { self.max_bytes(policy.max_bytes) };
        let mut candidates = self.candidates()?;
        candidates.sort_by_key(|candidate| candidate.used);
        let mut total: u64 = candidates.iter().map(|candidate| candidate.bytes).sum();
        let grace = policy.grace.unwrap_or(self.config.grace);
        let grace = if policy.all { Duration::ZERO } else { grace };
        let leases = Leases::of(self.root(), self.config.lease);
        for candidate in candidates {
            if total <= max {
                break;
            }
            if age(candidate.used) < grace {
                continue;
            }
            // Held until the image has no name any more, which who opens it meanwhile notices.
            let Some(_lock) = self.if_free(&candidate, &leases) else { continue };
            self.take(&candidate.path, policy, &mut out)?;
            if let Some(hex) = &candidate.image {
                self.take(&record_path(self.root(), hex), policy, &mut out)?;
            }
            total = total.saturating_sub(candidate.bytes);
        }
        if policy.all && !policy.dry_run {
            self.forget_what_is_gone()?;
        }
        out.left = total;
        Ok(out)
    }

    pub(super) fn max_bytes(&self, wanted: Option<u64>) -> u64 {
        wanted.or(self.config.max_bytes).unwrap_or_else(|| {
            nix::sys::statvfs::statvfs(self.root())
                .map_or(u64::MAX, |fs| fs.blocks().saturating_mul(fs.fragment_size()) / 5)
        })
    }

    /// What a link leads to is not the store's, whoever has put it there.
    fn refuse_links(&self) -> Result<(), StoreError> {
        for name in [IMAGES, BLOBS, LOCKS, REFERENCES, SCRATCH, USES] {
            let path = self.root().join(name);
            if path.is_symlink() {
                return Err(StoreError::Linked(path));
            }
        }
        Ok(())
    }

    /// Files of the scratch and lock folders whose makers are gone, and what was written in directories of theirs.
    fn leftovers(&self, policy: Policy, out: &mut Collected) -> Result<(), StoreError> {
        let locks = names::files(&self.root().join(LOCKS), names::is_lock)?;
        let sent = names::files(&self.scratch(), names::is_sent)?;
        let temporary = names::entries(&self.scratch(), names::is_temporary)?;
        for (path, data) in locks.into_iter().chain(sent).chain(temporary) {
            if is_leftover(&path, &data) {
                self.take(&path, policy, out)?;
            }
        }
        Ok(())
    }

    /// Images whose size is not the recorded one, images and records without the other.
    fn broken_images(&self, policy: Policy, out: &mut Collected) -> Result<(), StoreError> {
        for (path, metadata) in self.files_of_images()? {
            let Some((hex, kind)) = names::image(name_of(&path)) else { continue };
            // What is being published has one of both for a moment.
            if age(metadata.modified().unwrap_or(SystemTime::now())) < Duration::from_secs(60)
                && !policy.all
            {
                continue;
            }
            let good = match (kind, read_record(self.root(), hex)?) {
                ("sqsh", Some(record)) => metadata.len() == record.size,
                ("json", Some(_)) => image_path(self.root(), hex).exists(),
                _ => false,
            };
            if !good {
                self.take(&path, policy, out)?;
            }
        }
        Ok(())
    }

    fn files_of_images(&self) -> Result<Vec<(PathBuf, Metadata)>, FileError> {
        names::files(&self.root().join(IMAGES), |name| names::image(name).is_some())
    }

    fn candidates(&self) -> Result<Vec<Candidate>, StoreError> {
        let mut out = Vec::new();
        for (path, metadata) in names::files(&self.root().join(BLOBS), names::is_blob)? {
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            out.push(Candidate { path, used, bytes: metadata.blocks() * 512, image: None });
        }
        for (path, metadata) in self.files_of_images()? {
            let Some((hex, "sqsh")) = names::image(name_of(&path)) else { continue };
            let hex = hex.to_owned();
            let used =
                fs::metadata(record_path(self.root(), &hex)).and_then(|data| data.modified());
            // Other users cannot note that they use it, but the kernel notes that they read it,
            // once a day or so.
            let read = metadata.accessed().ok().filter(|_| self.public);
            out.push(Candidate {
                path,
                used: used
                    .unwrap_or(SystemTime::UNIX_EPOCH)
                    .max(read.unwrap_or(SystemTime::UNIX_EPOCH)),
                bytes: metadata.blocks() * 512,
                image: Some(hex),
            });
        }
        Ok(out)
    }

    fn if_free(&self, candidate: &Candidate, leases: &Leases) -> Option<File> {
        let file = open_plain(&candidate.path).ok()?;
        let leased = candidate.image.as_ref().is_some_and(|hex| leases.hold(hex));
        (usage::is_free(&file) && !leased).then_some(file)
    }

    fn take(&self, path: &Path, policy: Policy, out: &mut Collected) -> Result<(), StoreError> {
        let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
        if !policy.dry_run {
            let removed =
                if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            match removed {
                Err(error) if !is_absent(&error) => {
                    return Err(FileError::new("remove", path, error).into());
                }
                _ => {}
            }
        }
        out.bytes += metadata.blocks() * 512;
        out.removed.push(path.strip_prefix(self.root()).unwrap_or(path).to_owned());
        Ok(())
    }
}

/// Whether the maker of a temporary file or a lock is gone.
fn is_leftover(path: &Path, data: &Metadata) -> bool {
    if age(data.modified().unwrap_or(SystemTime::now())) > ABANDONED {
        return true;
    }
    // Scratch files tell in their names who made them, locks in their content.
    match name_of(path).strip_prefix(TEMPORARY) {
        Some(maker) => usage::is_dead_by_file(maker),
        None => {
            read_small(path).is_ok_and(|content| usage::is_dead(&String::from_utf8_lossy(&content)))
        }
    }
}

/// How long ago; nothing, where clocks disagree.
fn age(time: SystemTime) -> Duration {
    SystemTime::now().duration_since(time).unwrap_or_default()
}
