//! What was unpacked a moment ago. Of several threads that want the same, one unpacks it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Result;

/// Bytes that something occupies.
pub(super) trait Weight {
    fn weight(&self) -> usize;
}

impl Weight for Vec<u8> {
    fn weight(&self) -> usize {
        self.len()
    }
}

/// Up to a number of bytes, and one thing at least.
pub(super) struct Cache<V> {
    most: usize,
    kept: Mutex<Kept<V>>,
}

struct Kept<V> {
    places: HashMap<u64, Place<V>>,
    weight: usize,
    /// Counts up with each use.
    clock: u64,
}

struct Place<V> {
    value: Arc<Mutex<Option<Arc<V>>>>,
    weight: usize,
    used: u64,
}

impl<V: Weight> Cache<V> {
    pub(super) fn new(most: usize) -> Cache<V> {
        Cache { most, kept: Mutex::new(Kept { places: HashMap::new(), weight: 0, clock: 0 }) }
    }

    /// What `key` stands for, made by `make` unless it is there.
    pub(super) fn get(&self, key: u64, make: impl FnOnce() -> Result<V>) -> Result<Arc<V>> {
        let place = {
            let mut kept = lock(&self.kept);
            kept.clock += 1;
            let used = kept.clock;
            let place = kept.places.entry(key);
            let place = place.or_insert_with(|| Place { value: Arc::default(), weight: 0, used });
            place.used = used;
            place.value.clone()
        };
        let mut value = lock(&place);
        if let Some(value) = &*value {
            return Ok(value.clone());
        }
        let made = make().map(Arc::new);
        let mut kept = lock(&self.kept);
        match made {
            Ok(made) => {
                *value = Some(made.clone());
                kept.weigh(key, made.weight().max(64), self.most);
                Ok(made)
            }
            Err(error) => {
                kept.places.remove(&key);
                Err(error)
            }
        }
    }
}

impl<V> Kept<V> {
    /// Notes the weight of what was made, and makes room by what was not used for the longest time.
    fn weigh(&mut self, key: u64, weight: usize, most: usize) {
        if let Some(place) = self.places.get_mut(&key) {
            place.weight = weight;
            self.weight += weight;
        }
        while self.weight > most {
            let others =
                self.places.iter().filter(|(other, place)| **other != key && place.weight > 0);
            let Some(oldest) = others.min_by_key(|(_, place)| place.used).map(|(key, _)| *key)
            else {
                return;
            };
            self.weight -= self.places.remove(&oldest).map_or(0, |place| place.weight);
        }
    }
}

/// A thread that has panicked has ended the process.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::squashfs::SquashfsError;

    #[test]
    fn what_was_used_last_is_kept() {
        let cache = Cache::new(200);
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
