use super::*;
use crate::run::Stop;
use crate::suite::Step;

const fn suite(name: &'static str, holds: &'static [Resource], steps: &'static [Step]) -> Suite {
    Suite {
        name,
        minutes: 1,
        holds,
        needs_root: false,
        after_roots: false,
        only_named: false,
        steps,
    }
}

/// Runs suites with the patience given; what came of them, by name.
fn run_all(
    suites: Vec<&'static Suite>,
    lanes: usize,
    patience: f64,
) -> Vec<(&'static str, usize, usize, String)> {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared::new(folder.path().to_owned(), patience);
    let mut outcomes = all(&shared, suites, lanes, &|_| {});
    outcomes.sort_by_key(|outcome| outcome.suite);
    outcomes
        .into_iter()
        .map(|outcome| (outcome.suite, outcome.passed, outcome.failed, outcome.log))
        .collect()
}

fn stops(run: &mut Run<'_>) -> Result<(), Stop> {
    run.need(&crate::command::cmd(["false"]))
}

fn prints_tap(run: &mut Run<'_>) -> Result<(), Stop> {
    let script = "printf '1..3\\nok 1 a\\nnot ok 2 b\\n'";
    run.tap("", &crate::command::cmd(["sh", "-c", script]))
}

fn fails_silently(run: &mut Run<'_>) -> Result<(), Stop> {
    run.rust(&crate::command::cmd([
        "sh",
        "-c",
        "echo 'test result: ok. 5 passed; 0 failed'; exit 101",
    ]))
}

fn says_nothing(_: &mut Run<'_>) -> Result<(), Stop> {
    Ok(())
}

#[test]
fn suites_count_what_they_should() {
    static SUITES: [Suite; 5] = [
        suite("a-checks", &[], &[Step::Check("yes", &["true"]), Step::Check("no", &["false"])]),
        suite("b-plan", &[], &[Step::Code(prints_tap)]),
        suite("c-exit", &[], &[Step::Code(fails_silently)]),
        suite("d-nothing", &[], &[Step::Code(says_nothing)]),
        suite(
            "e-stops",
            &[],
            &[Step::Check("yes", &["true"]), Step::Code(stops), Step::Check("never", &["true"])],
        ),
    ];
    let outcomes = run_all(SUITES.iter().collect(), 2, 1.0);
    let counts: Vec<(usize, usize)> =
        outcomes.iter().map(|outcome| (outcome.1, outcome.2)).collect();
    assert_eq!(counts, [(1, 1), (1, 2), (5, 1), (0, 1), (1, 1)]);
    assert!(outcomes[0].3.contains("FAILED: no\n"), "{}", outcomes[0].3);
    assert!(outcomes[3].3.contains("counted no test"), "{}", outcomes[3].3);
}

#[test]
fn a_suite_that_hangs_has_failed_and_the_next_one_runs() {
    static SUITES: [Suite; 2] = [
        suite(
            "a-hangs",
            &[Resource::Compiler],
            &[Step::Check("it", &["sleep", "600"]), Step::Check("never", &["true"])],
        ),
        suite("b-runs", &[Resource::Compiler], &[Step::Check("it", &["true"])]),
    ];
    // A minute, as a hundredth of a second.
    let outcomes = run_all(SUITES.iter().collect(), 2, 1.0 / 6000.0);
    assert_eq!((outcomes[0].1, outcomes[0].2), (0, 1));
    assert!(outcomes[0].3.contains("TIME IS OVER"), "{}", outcomes[0].3);
    // Its own time may be over as well, but it has been reached.
    assert_eq!(outcomes[1].0, "b-runs");
}

#[test]
fn who_holds_the_same_never_runs_beside_each_other() {
    static A: Suite = suite("a", &[Resource::Compiler], &[]);
    static B: Suite = suite("b", &[Resource::Compiler, Resource::Cluster], &[]);
    static C: Suite = suite("c", &[], &[]);
    let mut queue = Queue { waiting: vec![&A, &B, &C], held: vec![] };
    let next = |queue: &mut Queue| queue.next().map(|suite| suite.map(|suite| suite.name));
    assert_eq!(next(&mut queue), Ok(Some("a")));
    assert_eq!(next(&mut queue), Ok(Some("c")), "what shares nothing goes first");
    assert_eq!(next(&mut queue), Err(()));
    queue.done(&A);
    assert_eq!(next(&mut queue), Ok(Some("b")));
    assert_eq!(next(&mut queue), Ok(None));
}

#[test]
fn after_a_signal_nothing_begins() {
    static SUITE: Suite = suite("a", &[], &[Step::Check("it", &["true"])]);
    let mut shared = Shared::new("/nonexistent".into(), 1.0);
    shared.signal = Some(15);
    assert!(all(&shared, vec![&SUITE], 2, &|_| {}).is_empty());
}
