//! What a store may still take, while something is being written there.
//!
//! Files that are being written have no names, so others cannot count them. Whoever writes says in
//! the length of an empty file beside the locks how much that may be. It goes when its maker
//! ends, or is a leftover.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::names::{self, SPACE};
use super::{BLOBS, IMAGES, LOCKS, Policy, Store, StoreError};

/// Asked for at once: the store is not looked through for each byte.
const STEP: u64 = 32 << 20;
/// What was used so recently stays, even if there is no room otherwise: an image that was made
/// just now is about to be started.
const GRACE: Duration = Duration::from_secs(60);

/// What one process writes to the store.
#[derive(Debug)]
pub struct Space {
    store: Store,
    limit: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: u64,
    /// What of it could be done without.
    spared: u64,
    granted: u64,
    note: Option<(File, PathBuf)>,
}

impl Store {
    /// Begins to write something.
    pub fn space(&self) -> Space {
        let limit = self.max_bytes(None);
        Space { store: self.clone(), limit, state: Mutex::default() }
    }
}

impl Space {
    /// So many bytes are about to be written.
    ///
    /// # Errors
    /// [`StoreError::Full`] if there is no room, and none can be made.
    pub fn take(&self, bytes: u64) -> Result<(), StoreError> {
        let mut state = self.lock();
        let taken = state.taken.saturating_add(bytes);
        if taken > state.granted {
            let step = taken.saturating_add(STEP);
            let granted = [step, taken].into_iter().find(|wanted| self.grant(&mut state, *wanted));
            if granted.is_none() && !(self.collect(taken) && self.grant(&mut state, taken)) {
                let granted = state.granted;
                state.tell(&self.store, granted);
                return Err(self.full());
            }
        }
        state.taken = taken;
        Ok(())
    }

    /// Whether so many bytes more may be written of what could be done without: nothing is removed for
    /// them. They are taken then.
    pub fn spare(&self, bytes: u64) -> bool {
        let mut state = self.lock();
        let taken = state.taken.saturating_add(bytes);
        let granted = state.granted;
        if taken > granted && !self.grant(&mut state, taken.saturating_add(STEP)) {
            state.tell(&self.store, granted);
            return false;
        }
        state.taken = taken;
        state.spared += bytes;
        true
    }

    /// So many bytes of what was spared are gone, or will be while others come: as far as they have not been given back.
    pub fn give_back(&self, bytes: u64) {
        let mut state = self.lock();
        let bytes = bytes.min(state.spared);
        state.spared -= bytes;
        state.taken = state.taken.saturating_sub(bytes);
    }

    /// So many bytes of what was taken were written, and are gone.
    pub fn dropped(&self, bytes: u64) {
        let mut state = self.lock();
        state.taken = state.taken.saturating_sub(bytes);
    }

    /// All that was spared is.
    pub fn give_all_back(&self) {
        self.give_back(u64::MAX);
    }

    /// Whether so many bytes could be written at all.
    ///
    /// # Errors
    /// [`StoreError::Full`].
    pub fn check(&self, bytes: u64) -> Result<(), StoreError> {
        if bytes > self.limit { Err(self.full()) } else { Ok(()) }
    }

    /// So many bytes of what was taken are a file of the store now, and counted there.
    pub fn published(&self, bytes: u64) {
        let mut state = self.lock();
        state.taken = state.taken.saturating_sub(bytes);
        state.granted = state.granted.saturating_sub(bytes);
        let granted = state.granted;
        state.tell(&self.store, granted);
    }

    /// How large one more file may get that becomes no larger than `wanted`, by what is said of it, and is larger than `tried`
    /// by what was seen. First nothing is removed for it, then no more than for twice what was really written.
    ///
    /// # Errors
    /// [`StoreError::Full`] if there is no room, and none can be made.
    pub fn room(&self, wanted: u64, tried: u64) -> Result<u64, StoreError> {
        /// Names, inodes and tables of an image, beside its files.
        const REST: u64 = 64 << 20;
        let mut state = self.lock();
        let wanted = wanted.saturating_add(REST);
        let next = STEP.min(self.limit / 16).max(tried.saturating_mul(2)).min(wanted);
        let taken = state.taken;
        let free = |state: &State| self.limit.saturating_sub(self.used(state));
        let at_most = |bytes: u64| taken.saturating_add(bytes).min(self.limit);
        if free(&state) < at_most(next) {
            self.collect(at_most(next));
        }
        let granted = free(&state).min(at_most(wanted));
        if granted <= taken.saturating_add(tried) || !self.grant(&mut state, granted) {
            let granted = state.granted;
            state.tell(&self.store, granted);
            return Err(self.full());
        }
        Ok(granted - taken)
    }

    /// What there is to be said.
    pub fn full(&self) -> StoreError {
        StoreError::Full { path: self.store.root().to_owned(), limit: self.limit }
    }

    /// Notes the wish, then looks: of two who wish for the same, neither can miss the other.
    fn grant(&self, state: &mut State, wanted: u64) -> bool {
        state.tell(&self.store, wanted);
        let fits = self.used(state).saturating_add(wanted) <= self.limit;
        if fits {
            state.granted = wanted;
        }
        fits
    }

    /// Bytes of the store and of all others who write.
    fn used(&self, state: &State) -> u64 {
        let own = state.note.as_ref().map(|(_, path)| path.as_path());
        let root = self.store.root();
        let bytes = |_: &Path, data: &fs::Metadata| data.blocks() * 512;
        let note = |name: &str| names::is_temporary(name) && name.ends_with(SPACE);
        sum(&root.join(BLOBS), names::is_blob, bytes)
            .saturating_add(sum(&root.join(IMAGES), |name| names::image(name).is_some(), bytes))
            .saturating_add(sum(&root.join(LOCKS), note, |path, data| match own {
                Some(own) if own == path => 0,
                _ => data.len(),
            }))
    }

    /// Makes room. False if there is none to be made; nothing is removed then for what could never fit.
    fn collect(&self, wanted: u64) -> bool {
        if wanted > self.limit {
            return false;
        }
        let max_bytes = Some(self.limit.saturating_sub(wanted));
        let policy = Policy { max_bytes, grace: Some(GRACE), ..Policy::default() };
        // What somebody who is gone had asked for is room, and no bytes on the disk.
        self.store.collect(policy).is_ok_and(|collected| !collected.removed.is_empty())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn tell(&mut self, store: &Store, bytes: u64) {
        if self.note.is_none() {
            let mut name = super::file::unique(&store.root().join(LOCKS)).into_os_string();
            name.push(SPACE);
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name);
            self.note = made.ok().map(|file| (file, name.into()));
        }
        if let Some((file, _)) = &self.note {
            // No block of it is ever written.
            let _ = file.set_len(bytes);
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if let Some((_, path)) = self.lock().note.take() {
            let _ = fs::remove_file(path);
        }
    }
}

fn sum(folder: &Path, is: impl Fn(&str) -> bool, of: impl Fn(&Path, &fs::Metadata) -> u64) -> u64 {
    let files = names::files(folder, is).unwrap_or_default();
    files.iter().fold(0, |sum, (path, data)| sum.saturating_add(of(path, data)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreConfig;

    /// As where a disk is too slow for it: what it took would be missed by the image, or taken from other images.
    #[test]
    fn what_was_spared_and_given_up_takes_no_room_and_is_given_back_once() {
        const MIB: u64 = 1 << 20;
        let folder = tempfile::tempdir().unwrap();
        let max_bytes = Some(100 * MIB);
        let config = StoreConfig { max_bytes, ..StoreConfig::new(folder.path().join("store")) };
        let store = Store::open(config).unwrap();
        let space = store.space();
        space.take(20 * MIB).unwrap();
        assert!(space.spare(30 * MIB));
        space.give_all_back();
        space.give_back(30 * MIB);
        assert_eq!(space.room(u64::MAX, 0).unwrap(), 80 * MIB);
    }
}
