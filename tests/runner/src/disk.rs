//! What a run leaves free on its disk. A full one makes suites fail at odd places, far from the cause, so the figures
//! are said: before the first suite where they are small, and at the end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::statvfs::statvfs;

/// What all suites take in a clean clone without a cache, in bytes, with some room: 8 GB below `target`, 4 GB of downloads
/// and roots, and what two machines write.
const WHOLE_RUN: u64 = 15_000_000_000;
/// Below that, something has failed for want of room.
const FULL: u64 = 200_000_000;

/// The free room of one disk, looked at each second until the program ends.
pub(crate) struct Disk {
    at_first: u64,
    least: Arc<AtomicU64>,
}

impl Disk {
    /// Watches the disk that `folder` is on.
    pub(crate) fn watch(folder: &Path) -> Option<Disk> {
        let at_first = free(folder)?;
        let least = Arc::new(AtomicU64::new(at_first));
        let (folder, seen) = (folder.to_owned(), Arc::clone(&least));
        thread::spawn(move || {
            while let Some(free) = free(&folder) {
                seen.fetch_min(free, Ordering::Relaxed);
                thread::sleep(Duration::from_secs(1));
            }
        });
        Some(Disk { at_first, least })
    }

    /// What is to be said before a run of everything, if there is little room.
    pub(crate) fn warning(&self) -> Option<String> {
        (self.at_first < WHOLE_RUN).then(|| {
            let (free, wanted) = (gigabytes(self.at_first), gigabytes(WHOLE_RUN));
            format!("disk: {free} free; all suites take up to {wanted} in a clean clone")
        })
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        lines(self.at_first, self.least.load(Ordering::Relaxed))
    }
}

fn lines(at_first: u64, least: u64) -> Vec<String> {
    let (first, last) = (gigabytes(at_first), gigabytes(least));
    let mut lines = vec![format!("disk: {first} free at first, {last} at the least")];
    if least < FULL {
        lines
            .push("disk: it was full, which is why suites failed: make room, and run again".into());
    }
    lines
}

/// What root and everybody else can use there, in bytes.
fn free(folder: &Path) -> Option<u64> {
    statvfs(folder).ok().map(|disk| disk.blocks_available() * disk.fragment_size())
}

fn gigabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000_000;
    format!("{}.{} GB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named() {
        let well = lines(41_260_000_000, 9_000_000_000);
        assert_eq!(well, ["disk: 41.2 GB free at first, 9.0 GB at the least"]);
        let full = lines(12_000_000_000, 4096);
        assert_eq!(full.len(), 2);
        assert!(full[1].contains("full"), "{full:?}");
    }

    #[test]
    fn a_small_disk_is_said_before() {
        let disk = |at_first| Disk { at_first, least: Arc::default() };
        let said = disk(12_000_000_000).warning();
        assert_eq!(
            said.as_deref(),
            Some("disk: 12.0 GB free; all suites take up to 15.0 GB in a clean clone")
        );
        assert_eq!(disk(WHOLE_RUN).warning(), None);
    }

    #[test]
    fn what_fills_the_disk_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::watch(folder.path()).unwrap();
        assert!(disk.at_first > 0);
        assert!(disk.least.load(Ordering::Relaxed) <= disk.at_first);
    }
}
