//! Which suite runs when: in the order asked for, two at a time where they share nothing.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::report::Outcome;
use crate::run::Run;
use crate::shared::{Shared, lock};
use crate::steps;
use crate::suite::{Resource, Suite};

/// What is left to do, and what is held by the suites that run.
struct Queue {
    waiting: Vec<&'static Suite>,
    held: Vec<Resource>,
}

impl Queue {
    /// The first suite whose resources are free. `Err` if there is one, but not now.
    fn next(&mut self) -> Result<Option<&'static Suite>, ()> {
        if self.waiting.is_empty() {
            return Ok(None);
        }
        let is_free =
            |suite: &&Suite| suite.holds.iter().all(|resource| !self.held.contains(resource));
        let at = self.waiting.iter().position(is_free).ok_or(())?;
        let suite = self.waiting.remove(at);
        self.held.extend(suite.holds);
        Ok(Some(suite))
    }

    fn done(&mut self, suite: &Suite) {
        self.held.retain(|resource| !suite.holds.contains(resource));
    }
}

/// Runs the suites; `tell` is called with each as it ends.
pub(crate) fn all(
    shared: &Shared,
    suites: Vec<&'static Suite>,
    lanes: usize,
    tell: &(dyn Fn(&Outcome) + Sync),
) -> Vec<Outcome> {
    let queue = Mutex::new(Queue { waiting: suites, held: vec![] });
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| lane(shared, &queue, &outcomes, tell));
        }
    });
    outcomes.into_inner().unwrap_or_default()
}

fn lane(
    shared: &Shared,
    queue: &Mutex<Queue>,
    outcomes: &Mutex<Vec<Outcome>>,
    tell: &(dyn Fn(&Outcome) + Sync),
) {
    while !shared.is_over() {
        let next = lock(queue).next();
        match next {
            Ok(None) => break,
            Err(()) => std::thread::sleep(Duration::from_millis(50)),
            Ok(Some(suite)) => {
                let outcome = one(shared, suite);
                lock(queue).done(suite);
                // One at a time, so that nobody's lines are among another's.
                let mut outcomes = lock(outcomes);
                tell(&outcome);
                outcomes.push(outcome);
            }
        }
    }
}

fn one(shared: &Shared, suite: &'static Suite) -> Outcome {
    if suite.after_roots {
        shared.wait_for_roots();
    }
    // A cluster that is being booted may compile just now.
    let compiles = suite.holds.contains(&Resource::Compiler);
    let _turn = compiles.then(|| shared.compiler.lock(&|| shared.is_over()));
    let begin = Instant::now();
    let mut outcome = Outcome {
        suite: suite.name,
        passed: 0,
        failed: 1,
        took: Duration::ZERO,
        notes: vec![],
        tests: vec![],
        log: String::new(),
    };
    match Run::new(shared, suite.name, suite.minutes, compiles) {
        Err(error) => outcome.log = format!("FAILED: no log: {error}\n"),
        Ok(mut run) => {
            steps::all(&mut run, suite);
            if run.timed_out && suite.holds.contains(&Resource::Cluster) {
                // What hung there may hang still.
                shared.end_cluster();
            }
            (outcome.passed, outcome.failed) = (run.tally.passed, run.tally.failed);
            (outcome.notes, outcome.tests) = (run.tally.notes, run.tests);
            let log = std::fs::read(shared.log_of(suite.name)).unwrap_or_default();
            outcome.log = String::from_utf8_lossy(&log).into_owned();
        }
    }
    outcome.took = begin.elapsed();
    outcome
}

#[cfg(test)]
mod tests;
