//! What was unpacked a moment ago. Of several threads that want the same, one unpacks it.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Result;

/// Bytes that something occupies.
pub(super) trait Weight {
    fn weight(&self) -> usize;
}

impl Weight for Vec<u8> {
    fn weight(&self) -> usize {
        self.capacity()
    }
}

/// Bytes that keeping something costs besides.
const PLACE: usize = 256;

/// Up to a number of bytes, and one thing at least.
pub(super) struct Cache<V> {
    most: usize,
    kept: Mutex<Kept<V>>,
}

struct Kept<V> {
    places: HashMap<u64, Place<V>>,
    /// What was made, in the order in which it is looked at when room is wanted.
    queue: VecDeque<u64>,
    weight: usize,
}

type Slot<V> = Arc<Mutex<Option<Arc<V>>>>;

struct Place<V> {
    slot: Slot<V>,
    weight: usize,
    /// Since it was looked at.
    used: bool,
}

impl<V: Weight> Cache<V> {
    pub(super) fn new(most: usize) -> Cache<V> {
        let (places, queue) = (HashMap::new(), VecDeque::new());
        Cache { most, kept: Mutex::new(Kept { places, queue, weight: 0 }) }
    }

    /// What `key` stands for, made by `make` unless it is there.
    pub(super) fn get(&self, key: u64, make: impl FnOnce() -> Result<V>) -> Result<Arc<V>> {
        let slot = match lock(&self.kept).places.entry(key) {
            Entry::Occupied(mut place) => {
                place.get_mut().used = true;
                place.get().slot.clone()
            }
            Entry::Vacant(place) => {
                let slot = Slot::default();
                place.insert(Place { slot: slot.clone(), weight: 0, used: false });
                slot
            }
        };
        let mut value = lock(&slot);
        if let Some(value) = &*value {
            return Ok(value.clone());
        }
        let made = make().map(Arc::new);
        let mut kept = lock(&self.kept);
        // Another thread that had waited for it, and failed, may have given the place up.
        let ours = kept.places.get(&key).is_some_and(|place| Arc::ptr_eq(&place.slot, &slot));
        match made {
            Ok(made) => {
                *value = Some(made.clone());
                if ours {
                    kept.keep(key, made.weight() + PLACE, self.most);
                }
                Ok(made)
            }
            Err(error) => {
                if ours {
                    kept.places.remove(&key);
                }
                Err(error)
            }
        }
    }
}

impl<V> Kept<V> {
    /// Notes what was made, and makes room by what was not used since it was last looked at.
    fn keep(&mut self, key: u64, weight: usize, most: usize) {
        if let Some(place) = self.places.get_mut(&key) {
            place.weight = weight;
        }
        self.weight += weight;
        while self.weight > most {
            let Some(oldest) = self.queue.pop_front() else { break };
            match self.places.get_mut(&oldest) {
                Some(place) if place.used => {
                    place.used = false;
                    self.queue.push_back(oldest);
                }
                _ => self.weight -= self.places.remove(&oldest).map_or(0, |place| place.weight),
            }
        }
        self.queue.push_back(key);
    }
}

/// A thread that has panicked has ended the process.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SquashfsError;

    #[test]
    fn what_was_used_last_is_kept() {
        let cache = Cache::new(200 + 2 * PLACE);
        let fresh = |key| {
            let mut made = false;
            let value = cache.get(key, || {
                made = true;
                Ok(vec![key as u8; 80])
            });
            assert_eq!(value.unwrap()[0], key as u8);
            made
        };
        assert!(fresh(1) && fresh(2) && !fresh(1));
        assert!(fresh(3), "makes room");
        assert!(!fresh(1) && !fresh(3) && fresh(2));
        assert!(cache.get(9, || Err(SquashfsError::Damaged("x"))).is_err());
        assert!(fresh(9), "an error is not kept");
        assert!(cache.get(4, || Ok(vec![0; 500])).is_ok(), "larger than everything");
        assert!(fresh(1));
    }

    #[test]
    fn one_of_several_threads_makes_it() {
        let cache = Cache::new(1000);
        let made = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    cache.get(7, || {
                        made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        Ok(vec![7])
                    })
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }
}
