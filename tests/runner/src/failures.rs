//! What failed, out of a suite's log, in few lines.

/// Begins what is said of a failed test: the lines right after it hold the assertion.
fn begins(line: &str) -> bool {
    let panics = line.starts_with("thread ") && line.contains(" panicked at ");
    line.starts_with("not ok ")
        || ends(line)
        || panics
        || line.starts_with("error[")
        || line.starts_with("error:")
}

/// What printed its reasons before.
fn ends(line: &str) -> bool {
    line.starts_with("FAILED: ") || line.starts_with("Bail out!")
}

/// Ends it: another test.
fn is_progress(line: &str) -> bool {
    let numbered =
        line.strip_prefix("ok ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let code = line.trim_start();
    numbered
        || line.starts_with("test ") && line.contains(" ... ")
        || code.starts_with("PASS [")
        || code.starts_with("FAIL [")
}

/// Each failed test with the lines right after it, `each` of them at most, fewer if there are many failures, `lines`
/// altogether. Before "FAILED: " of a check, and before "Bail out!", stands what the command printed. Of a log in which nothing of that is found,
/// the last lines.
pub(crate) fn shown(log: &str, lines: usize, each: usize) -> Vec<String> {
    let count = log.lines().filter(|line| begins(line)).count();
    if count == 0 {
        let all: Vec<&str> = log.lines().collect();
        return all[all.len().saturating_sub(3)..].iter().map(|line| cut(line)).collect();
    }
    // What every failure gets, its own line not counted.
    let each = each.min((lines / count).saturating_sub(1));
    let mut view = View { out: vec![], lines, begun: 0, count };
    let (mut left, mut before): (usize, Vec<&str>) = (0, vec![]);
    for line in log.lines() {
        if ends(line) {
            view.begun += 1;
            for earlier in &before[before.len().saturating_sub(each)..] {
                view.show(earlier);
            }
            view.show(line);
            (left, before) = (0, vec![]);
        } else if begins(line) {
            view.begun += 1;
            view.show(line);
            (left, before) = (each, vec![]);
        } else if line.is_empty() || is_progress(line) {
            left = 0;
            if !line.is_empty() {
                before.clear();
            }
        } else if left > 0 {
            left -= 1;
            view.show(line);
        } else {
            before.push(line);
        }
    }
    view.out
}

struct View {
    out: Vec<String>,
    lines: usize,
    begun: usize,
    count: usize,
}

impl View {
    fn show(&mut self, line: &str) {
        if self.out.len() + 1 == self.lines && self.begun < self.count {
            self.out.push(format!("... {} failures in all", self.count));
        } else if self.out.len() < self.lines {
            self.out.push(cut(line));
        }
    }
}

fn cut(line: &str) -> String {
    line.chars().take(300).collect()
}

/// The end of a log without what went well.
pub(crate) fn tail(log: &str, count: usize) -> Vec<String> {
    let quiet = |line: &&str| {
        let code = line.trim_start();
        let of_cargo = [
            "Compiling ",
            "Checking ",
            "Downloaded ",
            "Downloading ",
            "Running ",
            "PASS ",
            "Finished ",
        ];
        !(line.is_empty()
            || of_cargo.iter().any(|word| code.starts_with(word))
            || line.starts_with("test ") && line.ends_with(" ... ok")
            || line.starts_with("ok ") && is_progress(line))
    };
    let all: Vec<&str> = log.lines().filter(quiet).collect();
    all[all.len().saturating_sub(count)..].iter().map(|line| cut(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(prefix: &str, range: std::ops::RangeInclusive<usize>) -> Vec<String> {
        range.map(|number| format!("{prefix}{number}")).collect()
    }

    #[test]
    fn the_assertion_that_failed_is_shown_whatever_teardown_prints_after_it() {
        let mut log = vec!["ok 1 well".to_owned(), "not ok 2 first".into()];
        log.extend(numbered("# a", 1..=60));
        log.extend(["ok 3 well", "# later", "not ok 4 second"].map(String::from));
        log.extend(numbered("# b", 1..=60));
        let mut expected = vec!["not ok 2 first".to_owned()];
        expected.extend(numbered("# a", 1..=19));
        expected.push("not ok 4 second".into());
        expected.extend(numbered("# b", 1..=19));
        assert_eq!(shown(&log.join("\n"), 40, 25), expected);
    }

    #[test]
    fn of_many_failures_some_are_shown_and_their_number() {
        let log: Vec<String> = (1..=60).map(|number| format!("not ok {number} of many")).collect();
        let shown = shown(&log.join("\n"), 20, 25);
        assert_eq!(shown.len(), 20);
        assert_eq!(shown[18], "not ok 19 of many");
        assert_eq!(shown[19], "... 60 failures in all");
    }

    #[test]
    fn of_a_check_that_failed_the_end_of_its_output_is_shown() {
        let mut log = numbered("", 1..=60);
        log.extend(["FAILED: it", "", "FAILED: silent"].map(String::from));
        let mut expected = numbered("", 56..=60);
        expected.extend(["FAILED: it", "FAILED: silent"].map(String::from));
        assert_eq!(shown(&log.join("\n"), 20, 5), expected);
        // Of a group side by side with others, whose tests go on.
        let log = [
            "ok 1 well",
            "no node answers",
            "Bail out! bookworm: exit status 1",
            "ok 2 well",
            "# NOTE: x",
        ];
        assert_eq!(shown(&log.join("\n"), 20, 5), log[1..3]);
    }

    #[test]
    fn where_no_failure_is_found_the_last_lines_are_shown() {
        assert_eq!(shown("one\ntwo\nthree\nno test\n", 20, 25), ["two", "three", "no test"]);
        assert_eq!(shown("", 20, 25), [""; 0]);
    }

    #[test]
    fn what_went_well_is_left_out_of_the_tail() {
        let log = "   Compiling x\nok 1 a\ntest b ... ok\n\n        PASS [ 1s] c\nkept\nalso\n";
        assert_eq!(tail(log, 9), ["kept", "also"]);
        assert_eq!(tail(log, 1), ["also"]);
    }
}
