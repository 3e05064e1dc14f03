//! What suites share: the turn to compile, the cluster, the packages, downloads in the background, the end of all.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::command::{Cmd, cmd, end_group};
use crate::signals;

#[derive(Default)]
pub(crate) struct Shared {
    /// Logs of this run.
    pub(crate) logs: PathBuf,
    /// By how much the suites' times are longer.
    pub(crate) patience: f64,
    pub(crate) compiler: Turns,
    /// The state directory of the cluster that suites share, once it is up.
    pub(crate) cluster: Mutex<Option<PathBuf>>,
    /// Where all packages are, once they are made.
    pub(crate) dist: Mutex<Option<PathBuf>>,
    roots: Mutex<Option<Child>>,
    /// For tests: as if one had come.
    pub(crate) signal: Option<i32>,
}

impl Shared {
    pub(crate) fn new(logs: PathBuf, patience: f64) -> Shared {
        Shared { logs, patience, ..Shared::default() }
    }

    pub(crate) fn log_of(&self, suite: &str) -> PathBuf {
        self.logs.join(format!("{suite}.log"))
    }

    /// By which the processes of a suite of this run are known.
    pub(crate) fn mark(&self, suite: &str) -> String {
        format!("{suite}.{}", std::process::id())
    }

    /// The signal that was received, if one was.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.signal.or_else(signals::received)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.signal().is_some()
    }

    /// Roots of other Debians are downloads for the most part: they are made while the first suites compile, for which
    /// they make room.
    pub(crate) fn begin_roots(&self) {
        let out = File::create(self.logs.join("prefetch.txt"));
        let Ok((out, err)) = out.and_then(|out| Ok((out.try_clone()?, out))) else { return };
        // Ubuntu's last: where its mirror does not answer, there is another.
        let debian = ["bullseye", "bookworm", "trixie", "forky"];
        let roots =
            ["nice", "-n", "10", "tests/cluster/roots"].into_iter().chain(debian).chain(["noble"]);
        let mut command = cmd(roots).by_root().unmarked().command("");
        *lock(&self.roots) = command.stdout(out).stderr(err).process_group(0).spawn().ok();
    }

    /// Whether they are there is seen by the suites that need them, which say what is wrong.
    pub(crate) fn wait_for_roots(&self) {
        let mut roots = lock(&self.roots);
        while let Some(child) = roots.as_mut() {
            match child.try_wait() {
                Ok(None) if self.is_over() => end_group(child),
                Ok(None) => std::thread::sleep(Duration::from_millis(100)),
                _ => *roots = None,
            }
        }
    }

    /// Takes the cluster down, if one is up.
    pub(crate) fn end_cluster(&self) {
        let Some(state) = lock(&self.cluster).take() else { return };
        let is_done = |words: Cmd| {
            let mut command = words.by_root().unmarked().command("");
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        if !is_done(cmd(["tests/cluster/cluster", "--state"]).arg(&state).arg("down")) {
            is_done(cmd(["rm", "-rf", "--one-file-system", "--"]).arg(&state));
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where downloads and images are kept.
pub(crate) fn cache() -> PathBuf {
    let named = std::env::var_os("PYXIS_CACHE").filter(|path| !path.is_empty());
    let here =
        || std::env::current_dir().unwrap_or_else(|_| Path::new(".").to_owned()).join(".cache");
    named.map_or_else(here, PathBuf::from)
}

/// A lock that is given to who has waited longest.
#[derive(Default)]
pub(crate) struct Turns {
    /// The next number to be drawn, and that whose turn it is.
    numbers: Mutex<(u64, u64)>,
    changed: Condvar,
}

pub(crate) struct Turn<'a>(&'a Turns);

impl Turns {
    /// `None` if `is_over` says so first.
    pub(crate) fn lock(&self, is_over: &dyn Fn() -> bool) -> Option<Turn<'_>> {
        let mut numbers = lock(&self.numbers);
        let mine = numbers.0;
        numbers.0 += 1;
        while numbers.1 != mine {
            let pause = Duration::from_millis(200);
            numbers = self
                .changed
                .wait_timeout(numbers, pause)
                .map_or_else(|e| e.into_inner().0, |found| found.0);
        }
        // Whoever comes next is not kept by who gives up: the turn is passed on when it is dropped.
        let turn = Turn(self);
        drop(numbers);
        (!is_over()).then_some(turn)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.0.numbers).1 += 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_taken_one_after_the_other_in_order() {
        let turns = Turns::default();
        let order = Mutex::new(Vec::new());
        let first = turns.lock(&|| false).unwrap();
        std::thread::scope(|scope| {
            for number in 0..5_u64 {
                let waits = lock(&turns.numbers).0;
                let (turns, order) = (&turns, &order);
                scope.spawn(move || {
                    let _turn = turns.lock(&|| false).unwrap();
                    lock(order).push(number);
                });
                while lock(&turns.numbers).0 == waits {
                    std::thread::yield_now();
                }
            }
            drop(first);
        });
        assert_eq!(*lock(&order), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn who_gives_up_keeps_nobody() {
        let turns = Turns::default();
        assert!(turns.lock(&|| true).is_none());
        assert!(turns.lock(&|| false).is_some());
    }
}
