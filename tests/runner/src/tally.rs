//! How many tests passed and failed, from what programs print: TAP, nextest and cargo test.

/// One test of a TAP stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) ok: bool,
}

/// What a program has said of its tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// Shown although all is well.
    pub(crate) notes: Vec<String>,
    pub(crate) tests: Vec<Test>,
}

impl Tally {
    /// Adds how the program ended: what failed, and has counted no failure, has one.
    #[must_use]
    pub(crate) fn ended(mut self, well: bool) -> Tally {
        if !well && self.failed == 0 {
            self.failed = 1;
        }
        self
    }

    pub(crate) fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.notes.extend(other.notes);
        self.tests.extend(other.tests);
    }
}

/// Counts TAP, of several programs in a row perhaps. Tests that a plan promises but that never reported are failures, and
/// so are those that no plan has promised, a stream without a plan, and "Bail out!". A line "# NOTE: ..." is a note.
pub(crate) fn tap(text: &str) -> Tally {
    let (mut tally, mut plan, mut seen) = (Tally::default(), None, 0);
    for line in text.lines() {
        if let Some(count) =
            line.strip_prefix("1..").and_then(|count| count.trim().parse::<usize>().ok())
        {
            plan = Some(plan.unwrap_or(0) + count);
        } else if let Some(rest) = line.strip_prefix("not ok ") {
            seen += 1;
            tally.failed += 1;
            tally.tests.push(Test { name: title(rest).to_owned(), ok: false });
        } else if let Some(rest) = line.strip_prefix("ok ") {
            seen += 1;
            match skipped(rest) {
                Some(note) => tally.notes.push(note),
                None => {
                    tally.passed += 1;
                    tally.tests.push(Test { name: title(rest).to_owned(), ok: true });
                }
            }
        } else if line.starts_with("Bail out!") {
            tally.failed += 1;
        } else if let Some(note) = line.strip_prefix("# NOTE: ") {
            tally.notes.push(note.to_owned());
        }
    }
    tally.failed += plan.map_or(1, |plan| plan.abs_diff(seen));
    tally
}

/// The text after the number.
fn title(rest: &str) -> &str {
    rest.split_once(' ').map_or("", |(_, title)| title)
}

/// "3 title # skip (reason)" as "skipped: title: reason".
fn skipped(rest: &str) -> Option<String> {
    let (name, reason) = title(rest).split_once(" # skip")?;
    let reason = reason.trim();
    let reason = reason.strip_prefix('(').and_then(|r| r.strip_suffix(')')).unwrap_or(reason);
    Some(format!("skipped: {name}: {}", if reason.is_empty() { "no reason" } else { reason }))
}

/// Counts nextest's summary, or the "test result" lines of cargo test.
pub(crate) fn rust(text: &str) -> Tally {
    let (mut tally, mut ignored) = (Tally::default(), 0);
    for line in text.lines().map(without_colours) {
        let line = line.trim_start();
        if !line.starts_with("test result: ") && !line.starts_with("Summary [") {
            continue;
        }
        for part in line.split([',', ';', '.', ':', '(', ')']) {
            let mut words =
                part.split_ascii_whitespace().skip_while(|word| word.parse::<usize>().is_err());
            let Some(count) = words.next().and_then(|word| word.parse::<usize>().ok()) else {
                continue;
            };
            match (words.next(), words.next()) {
                (Some("passed"), _) => tally.passed += count,
                (Some("failed"), _) | (Some("timed"), Some("out")) => tally.failed += count,
                (Some("ignored" | "skipped"), _) => ignored += count,
                _ => {}
            }
        }
    }
    if ignored > 0 {
        tally.notes.push(format!("{ignored} ignored; each says why at its #[ignore]"));
    }
    tally
}

fn without_colours(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(tally: &Tally) -> (usize, usize) {
        (tally.passed, tally.failed)
    }

    #[test]
    fn tap_is_counted() {
        let tally =
            tap("1..3\nok 1 one\nnot ok 2 two\n# why\nok 3 three # skip (no tool)\n# NOTE: slow\n");
        assert_eq!(counts(&tally), (1, 1));
        assert_eq!(tally.notes, ["skipped: three: no tool", "slow"]);
        let tests = [("one", true), ("two", false)];
        assert_eq!(tally.tests, tests.map(|(name, ok)| Test { name: name.into(), ok }));
        assert_eq!(tap("1..1\nok 1 x # skip").notes, ["skipped: x: no reason"]);
        assert_eq!(tap("1..1\nok 1 x # skip not (here)").notes, ["skipped: x: not (here)"]);
    }

    #[test]
    fn a_plan_that_is_not_fulfilled_is_failures() {
        assert_eq!(counts(&tap("1..5\nok 1 one\nok 2 two\n")), (2, 3));
        assert_eq!(counts(&tap("1..2\nok 1 a\n1..3\nok 1 b\nok 2 c\n")), (3, 2));
        assert_eq!(counts(&tap("1..1\nok 1 a\nok 2 b\n")), (2, 1));
    }

    #[test]
    fn no_plan_is_a_failure_and_so_is_giving_up() {
        assert_eq!(counts(&tap("")), (0, 1));
        assert_eq!(counts(&tap("ok 1 a\nok 2 b\n")), (2, 3 - 2));
        assert_eq!(counts(&tap("1..1\nok 1 a\nBail out! no more\n")), (1, 1));
        assert_eq!(counts(&tap("1..0\n")), (0, 0));
    }

    #[test]
    fn nextest_is_counted() {
        let text = "     Summary [   1.2s] 9 tests run: 6 passed (1 slow), 2 failed, 1 timed out, 5 skipped\n";
        let tally = rust(text);
        assert_eq!(counts(&tally), (6, 3));
        assert_eq!(tally.notes, ["5 ignored; each says why at its #[ignore]"]);
        let colours = "\x1b[32;1m     Summary\x1b[0m [   0.7s] \x1b[1m18\x1b[0m tests run: \x1b[1m18\x1b[0m \x1b[32;1mpassed\x1b[0m, 0 skipped";
        assert_eq!(counts(&rust(colours)), (18, 0));
        assert_eq!(rust(colours).notes, [""; 0]);
    }

    #[test]
    fn cargo_test_is_counted() {
        let text = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
                    test a ... ok\ntest result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(counts(&rust(text)), (5, 4));
    }

    #[test]
    fn an_exit_code_without_a_count_is_a_failure() {
        assert_eq!(counts(&rust("error: could not compile\n").ended(false)), (0, 1));
        assert_eq!(counts(&tap("1..1\nok 1 a\n").ended(false)), (1, 1));
        assert_eq!(counts(&tap("1..2\nok 1 a\nnot ok 2 b\n").ended(false)), (1, 1));
        assert_eq!(counts(&tap("1..1\nok 1 a\n").ended(true)), (1, 0));
    }
}
