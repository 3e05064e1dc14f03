//! What is said of each suite, and kept for `build-matrix report`.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Serialize;

use crate::failures;
use crate::tally::Test;

/// A suite that has run.
pub(crate) struct Outcome {
    pub(crate) suite: &'static str,
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) took: Duration,
    pub(crate) notes: Vec<String>,
    pub(crate) tests: Vec<(String, Test)>,
    pub(crate) log: String,
}

/// As it lies in target/results.
#[derive(Serialize)]
struct Kept<'a> {
    passed: usize,
    failed: usize,
    seconds: f64,
    finished: String,
    notes: &'a [String],
    tests: Vec<KeptTest<'a>>,
}

#[derive(Serialize)]
struct KeptTest<'a> {
    group: &'a str,
    name: &'a str,
    ok: bool,
}

impl Outcome {
    /// One line, and below it what is to be looked at.
    pub(crate) fn lines(&self, log_path: &Path) -> Vec<String> {
        let tenths = self.took.as_millis() / 100;
        let mut lines = vec![format!(
            "{:<14}{:5} passed {:4} failed {:6}.{} s",
            self.suite,
            self.passed,
            self.failed,
            tenths / 10,
            tenths % 10
        )];
        let indented = |line: &String| format!("    | {line}");
        if self.failed == 0 {
            lines.extend(self.notes.iter().map(|note| format!("    {note}")));
        } else {
            // What went well is not what one looks for now. The assertions come last: often the end of a log is all that is kept.
            lines.extend(failures::tail(&self.log, 100).iter().map(indented));
            lines.push(format!("    | all of it: {}; what failed:", log_path.display()));
            lines.extend(failures::shown(&self.log, 45, 25).iter().map(indented));
        }
        lines
    }

    /// Keeps it as the last result of its suite.
    pub(crate) fn keep(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let tests = self.tests.iter().map(|(group, test)| KeptTest {
            group,
            name: &test.name,
            ok: test.ok,
        });
        let kept = Kept {
            passed: self.passed,
            failed: self.failed,
            seconds: (self.took.as_millis() / 100) as f64 / 10.0,
            finished: now(),
            notes: &self.notes,
            tests: tests.collect(),
        };
        let text = serde_json::to_string(&kept).map_err(io::Error::other)?;
        let new = folder.join(format!(".suite-{}.new", self.suite));
        fs::write(&new, text + "\n")?;
        fs::rename(new, folder.join(format!("suite-{}.json", self.suite)))
    }
}

/// Of this place, to the minute.
fn now() -> String {
    let date = Command::new("date").arg("+%Y-%m-%d %H:%M").output();
    date.map_or_else(
        |_| String::new(),
        |date| String::from_utf8_lossy(&date.stdout).trim().to_owned(),
    )
}

/// What failed once more, in few lines, where it is seen first; the last line counts all.
pub(crate) fn summary(outcomes: &[Outcome]) -> Vec<String> {
    let bad: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.failed > 0).collect();
    let mut lines = Vec::new();
    if !bad.is_empty() {
        let share = if 30 / bad.len() > 2 { 30 / bad.len() - 1 } else { 1 };
        for outcome in bad {
            lines.push(format!("failed: {}", outcome.suite));
            lines.extend(
                failures::shown(&outcome.log, share, 10).iter().map(|line| format!("    | {line}")),
            );
        }
        lines.truncate(30);
    }
    let sum = |count: fn(&Outcome) -> usize| outcomes.iter().map(count).sum::<usize>();
    lines.push(format!(
        "{} passed, {} failed",
        sum(|outcome| outcome.passed),
        sum(|outcome| outcome.failed)
    ));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(suite: &'static str, passed: usize, failed: usize, log: &str) -> Outcome {
        let test = Test { name: "it \"works\" \\".into(), ok: true };
        Outcome {
            suite,
            passed,
            failed,
            took: Duration::from_millis(61_290),
            notes: vec!["a note".into()],
            tests: vec![("bullseye".into(), test)],
            log: log.into(),
        }
    }

    #[test]
    fn a_suite_is_a_line() {
        let log = Path::new("target/check/unit.log");
        assert_eq!(
            outcome("unit", 12, 0, "").lines(log),
            ["unit             12 passed    0 failed     61.2 s", "    a note"]
        );
        let bad = outcome("unit", 1, 1, "ok 1 a\nnot ok 2 b\n# why\n").lines(log);
        assert_eq!(
            bad[1..],
            [
                "    | not ok 2 b",
                "    | # why",
                "    | all of it: target/check/unit.log; what failed:",
                "    | not ok 2 b",
                "    | # why"
            ]
        );
    }

    #[test]
    fn the_last_line_counts_all() {
        let all = [outcome("a", 3, 0, ""), outcome("b", 2, 1, "not ok 1 x\n# y\n")];
        assert_eq!(
            summary(&all),
            ["failed: b", "    | not ok 1 x", "    | # y", "5 passed, 1 failed"]
        );
        assert_eq!(summary(&all[..1]), ["3 passed, 0 failed"]);
        let many: Vec<Outcome> = (0..40).map(|_| outcome("c", 0, 1, "not ok 1 x\n# y\n")).collect();
        assert_eq!(summary(&many).len(), 31);
    }

    #[test]
    fn results_are_kept_as_the_report_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        outcome("unit", 1, 0, "").keep(folder.path()).unwrap();
        let text = fs::read_to_string(folder.path().join("suite-unit.json")).unwrap();
        let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (kept["passed"].as_u64(), kept["failed"].as_u64(), kept["seconds"].as_f64()),
            (Some(1), Some(0), Some(61.2))
        );
        assert_eq!(kept["finished"].as_str().unwrap().len(), "2026-01-01 00:00".len());
        assert_eq!(kept["notes"], serde_json::json!(["a note"]));
        let test = &kept["tests"][0];
        assert_eq!(
            (test["group"].as_str(), test["name"].as_str(), test["ok"].as_bool()),
            (Some("bullseye"), Some("it \"works\" \\"), Some(true))
        );
    }
}
