//! The steps of a suite, one after the other.

use crate::command::cmd;
use crate::run::{Run, Stop};
use crate::suite::{Step, Suite};

/// Runs all of a suite. Afterwards it has counted something.
pub(crate) fn all(run: &mut Run<'_>, suite: &Suite) {
    let done = suite.steps.iter().try_for_each(|step| one(run, step));
    // Whatever it counted before, it did not end as it should.
    if done.is_err() && run.tally.failed == 0 {
        run.tally.failed = 1;
    }
    if run.tally.passed + run.tally.failed == 0 {
        run.say("the suite counted no test");
        run.tally.failed = 1;
    }
}

fn one(run: &mut Run<'_>, step: &Step) -> Result<(), Stop> {
    match step {
        Step::Check(text, words) => run.check(text, &cmd(*words)),
        Step::Tap(words) => run.tap("", &cmd(*words).by_root().with_own_mounts()),
        Step::ClusterTap(file) => {
            run.cluster()?;
            run.cluster_tap(file, &[], None)
        }
        Step::Code(code) => code(run),
    }
}
