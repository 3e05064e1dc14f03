//! Where the time of a command goes. Phases follow each other without a gap, so that their sum is all of
//! it; what is done side by side is one phase. Nothing is noted unless somebody has asked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Whether anything is noted: all that [`begin`] costs otherwise.
static WATCHED: AtomicBool = AtomicBool::new(false);
static CLOCK: Mutex<Option<Clock>> = Mutex::new(None);

/// The phases so far, in the order of their first beginnings; the last that began goes on.
#[derive(Debug)]
struct Clock {
    over: Vec<(&'static str, Duration)>,
    current: &'static str,
    since: Instant,
}

impl Clock {
    fn new(current: &'static str, since: Instant) -> Clock {
        Clock { over: vec![(current, Duration::ZERO)], current, since }
    }

    fn begin(&mut self, name: &'static str, now: Instant) {
        let took = now.duration_since(self.since);
        if let Some((_, sum)) = self.over.iter_mut().find(|(known, _)| *known == self.current) {
            *sum += took;
        }
        if !self.over.iter().any(|(known, _)| *known == name) {
            self.over.push((name, Duration::ZERO));
        }
        (self.current, self.since) = (name, now);
    }
}

/// From now on phases are noted, the first of which began a while ago.
pub fn watch(first: &'static str, since: Instant) {
    *lock() = Some(Clock::new(first, since));
    WATCHED.store(true, Ordering::Relaxed);
}

/// A phase begins, and the one before is over. One that was there already goes on.
pub fn begin(name: &'static str) {
    if !WATCHED.load(Ordering::Relaxed) {
        return;
    }
    if let Some(clock) = &mut *lock() {
        clock.begin(name, Instant::now());
    }
}

/// The last phase is over: all of them, or `None` if nobody has asked, or was told already.
pub fn end() -> Option<Vec<(&'static str, Duration)>> {
    WATCHED.store(false, Ordering::Relaxed);
    let mut clock = lock().take()?;
    clock.begin(clock.current, Instant::now());
    Some(clock.over)
}

fn lock() -> std::sync::MutexGuard<'static, Option<Clock>> {
    CLOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_all_of_the_time() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut clock = Clock::new("a", start);
        clock.begin("b", at(10));
        clock.begin("a", at(15));
        clock.begin("c", at(100));
        clock.begin("c", at(101));
        clock.begin("c", at(103));
        let millis: Vec<_> =
            clock.over.iter().map(|(name, took)| (*name, took.as_millis())).collect();
        assert_eq!(millis, [("a", 95), ("b", 5), ("c", 3)]);
    }

    /// The one test that uses what is common to all.
    #[test]
    fn nothing_is_noted_unless_asked_for() {
        begin("a");
        assert_eq!(end(), None);
        watch("a", Instant::now());
        begin("b");
        let names: Vec<_> = end().unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b"]);
        begin("c");
        assert_eq!(end(), None);
    }
}
