//! The files of all spools together, and when their room is given back.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Bytes by which it is judged how fast a disk takes them, and how long these may take: what a disk is
/// waited for is not faster than to unpack it again. The page cache takes ten times as much.
pub(super) const JUDGED: u64 = 64 << 20;
pub(super) const SLOWEST: Duration = Duration::from_millis(640);

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) given_up: AtomicBool,
    outputs: Mutex<Vec<Weak<Output>>>,
    pub(super) pace: Mutex<Pace>,
}

/// Of late: bytes that were written, and how long that took.
#[derive(Debug, Default)]
pub(super) struct Pace(pub(super) u64, pub(super) Duration);

#[derive(Debug)]
pub(super) struct Output {
    pub(super) file: File,
    pub(super) end: AtomicU64,
    pub(super) closed: AtomicBool,
}

impl State {
    pub(super) fn give_up(&self) -> bool {
        // Whoever finds it given up finds the room as well.
        let mut outputs = self.lock();
        self.given_up.store(true, Ordering::SeqCst);
        let outputs: Vec<_> = outputs.drain(..).filter_map(|output| output.upgrade()).collect();
        outputs.iter().for_each(|output| output.empty());
        !outputs.is_empty()
    }

    pub(super) fn has_written(&self, bytes: u64, took: Duration) {
        if self.pace.lock().unwrap_or_else(PoisonError::into_inner).is_too_slow(bytes, took) {
            self.give_up();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Weak<Output>>> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    /// Counts what was written now.
    fn is_too_slow(&mut self, bytes: u64, took: Duration) -> bool {
        (self.0, self.1) = (self.0 + bytes, self.1 + took);
        if self.0 < JUDGED {
            return false;
        }
        let Pace(_, took) = std::mem::take(self);
        took > SLOWEST
    }
}

impl Drop for Output {
    /// Nobody waits until all of it is on a disk.
    fn drop(&mut self) {
        self.empty();
    }
}

impl Output {
    /// Without what is being written at this moment, which goes with the file.
    pub(super) fn empty(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let _ = self.file.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_has_to_be_waited_for_is_too_slow() {
        let block = 128 << 10;
        let mut pace = Pace::default();
        let mut judged = |micros| {
            let took = Duration::from_micros(micros);
            (0..JUDGED / block).any(|_| pace.is_too_slow(block, took))
        };
        // The page cache, also of a machine with much else to do; a disk of 50 MB/s.
        assert_eq!(
            [judged(40), judged(800), judged(2600), judged(40)],
            [false, false, true, false]
        );
    }
}
