//! Statements of bats files at which a test cannot fail although it looks so. bats runs tests with `set -e`, which does not
//! look at a command before `&&`, after `!`, before `|`, or in a condition.

use std::collections::BTreeSet;
use std::path::Path;

use super::script::{Body, Statement, bodies};

/// What is wrong with all bats files of the checkout, one line each.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let names = super::files(root, &["tests"])?;
    let (mut found, mut seen) = (Vec::new(), 0);
    for name in names.iter().filter(|name| name.ends_with(".bats") || name.ends_with(".bash")) {
        seen += 1;
        found.extend(
            faults(&super::read(root, name)?)
                .into_iter()
                .map(|(line, what)| format!("{name}:{line}: {what}")),
        );
    }
    if seen == 0 {
        return Err("no bats file found below tests/".into());
    }
    Ok(found)
}

/// Line and fault of each statement that cannot fail.
fn faults(script: &str) -> Vec<(usize, String)> {
    let bodies = bodies(script);
    let fragile = fragile(&bodies);
    let judges = judges(&bodies);
    let mut found = Vec::new();
    for body in &bodies {
        for statement in &body.statements {
            if let Some(what) = of_statement(statement) {
                found.push((statement.line, what.to_owned()));
            }
            if let Some(name) = called_where_errors_do_not_count(statement, &fragile) {
                found.push((statement.line, format!("assertions in {name}() do not count here: let each of its lines end in `|| return 1`")));
            }
        }
        found.extend(unjudged(body, &judges));
        found.extend(unheard(body));
    }
    found.sort();
    found
}

fn of_statement(statement: &Statement) -> Option<&'static str> {
    if statement.text.starts_with("for ")
        && statement.text.contains(" in $(")
        && ![" in $(seq ", " in $(sort "].iter().any(|known| statement.text.contains(known))
    {
        return Some(
            "a command that fails makes a loop over nothing: take its output first, and see that there is some",
        );
    }
    if statement.is_condition {
        return None;
    }
    let parts = statement.parts();
    let has = |operator| parts.iter().any(|part| part.0 == operator);
    let (last_operator, last) = parts[parts.len() - 1];
    let leaves = ["break", "continue", "return", "exit", "skip"]
        .contains(&last.split(' ').next().unwrap_or_default());
    if last_operator == "&&" && !leaves {
        return Some("what stands before && cannot fail: one assertion a line");
    }
    if statement.first_word() == "!" && !has("||") && !has("&&") {
        return Some(
            "a command after ! cannot fail: use `run` and look at $status, or `if cmd; then false; fi`",
        );
    }
    let pipe = last.rsplit_once('|').map_or("", |(_, after)| after.trim());
    let looks_for_nothing = pipe.starts_with("{ !") || pipe.split(' ').next() == Some("absent");
    if looks_for_nothing || pipe.starts_with("grep -") && is_quiet(pipe) {
        return Some("what stands before | cannot fail: keep its output, and look at that");
    }
    absence(statement)
}

fn is_quiet(grep: &str) -> bool {
    let options = grep
        .split(' ')
        .skip(1)
        .take_while(|word| word.starts_with('-') && *word != "--" && *word != "-e");
    options
        .into_iter()
        .any(|word| !word.starts_with("--") && word.contains('q') || word == "--quiet")
}

/// An expectation that nothing is there, which a command that fails fulfils as well.
fn absence(statement: &Statement) -> Option<&'static str> {
    let text = statement.text.as_str();
    let says_nothing = text.starts_with("[ -z \"$(") || text.starts_with("[[ -z $(");
    let unlike = text.starts_with("[[ $(") && !text.starts_with("[[ $(<") && text.contains(") != ");
    let none = text.starts_with("[ \"$(")
        && (text.ends_with("-eq 0 ]") || text.ends_with("= \"\" ]"))
        && text.contains(" | grep");
    let goes_on = statement.masked.contains("||");
    ((says_nothing || unlike || none) && !goes_on)
        .then_some("a command that fails prints nothing as well: take its output by an assignment first, which fails with it")
}

/// Functions with an assertion that is not their last statement: only `set -e` makes it count.
fn fragile(bodies: &[Body]) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for body in bodies.iter().filter(|body| !body.is_test && !body.name.is_empty()) {
        let count = body.statements.len().saturating_sub(1);
        let asserts = |s: &&Statement| {
            !s.is_condition && s.parts().len() == 1 && is_assertion(s.first_word())
        };
        if body.statements.iter().take(count).any(|statement| asserts(&statement)) {
            names.insert(body.name.as_str());
        }
    }
    names
}

fn is_assertion(word: &str) -> bool {
    word.starts_with('[')
        || word.starts_with('\u{1a}')
        || ["output_has", "output_lacks", "has", "lacks", "diff"].contains(&word)
}

fn called_where_errors_do_not_count<'a>(
    statement: &Statement,
    fragile: &BTreeSet<&'a str>,
) -> Option<&'a str> {
    let parts = statement.parts();
    for (at, (_, part)) in parts.iter().enumerate() {
        let words: Vec<&str> = part.split_ascii_whitespace().collect();
        let name = match words[..] {
            ["run" | "!", name, ..] => name,
            [name, ..] if statement.is_condition || at + 1 < parts.len() => name,
            _ => continue,
        };
        if let Some(name) = fragile.get(name) {
            return Some(name);
        }
    }
    None
}

/// Each assertion of a teardown that is not how it ends: bats looks at nothing else of it.
fn unheard(body: &Body) -> Vec<(usize, String)> {
    if body.name != "teardown" && !body.name.ends_with("_teardown") {
        return Vec::new();
    }
    let asserts = |statement: &&Statement| {
        let word = statement.first_word();
        !statement.is_condition
            && statement.parts().len() == 1
            && (is_assertion(word)
                || ["attacks_teardown", "no_node_is_lost", "watch_end"].contains(&word))
    };
    let count = body.statements.len().saturating_sub(1);
    let found = body.statements.iter().take(count).filter(asserts);
    found
        .map(|statement| {
            (statement.line, "bats looks at the last command of a teardown only: `|| failed=1`, and end with that".to_owned())
        })
        .collect()
}

/// Functions that look at `$status`, in this file or in what all files load.
fn judges(bodies: &[Body]) -> BTreeSet<&str> {
    let looks = |body: &&Body| body.statements.iter().any(|s| s.text.contains("status"));
    let named = bodies.iter().filter(|body| !body.is_test && !body.name.is_empty()).filter(looks);
    named.map(|body| body.name.as_str()).collect()
}

/// Each `run` of a test after which nobody looks at how the command ended.
fn unjudged(body: &Body, judges: &BTreeSet<&str>) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    if !body.is_test {
        return found;
    }
    let mut open: Option<usize> = None;
    let fault = |line| {
        (line, "how this command ended is not looked at: say what $status is to be".to_owned())
    };
    for statement in &body.statements {
        let runs = [
            "run",
            "run_srun_unchecked",
            "run_srun_wide_unchecked",
            "run_sbatch_unchecked",
            "run_logged",
        ]
        .contains(&statement.first_word());
        if runs {
            found.extend(open.replace(statement.line).map(fault));
        } else if statement.text.contains("status") || judges.contains(statement.first_word()) {
            open = None;
        }
    }
    found.extend(open.map(fault));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the lines at which something is found.
    fn lines(script: &str) -> Vec<usize> {
        faults(script).into_iter().map(|fault| fault.0).collect()
    }

    #[test]
    fn each_assertion_that_cannot_fail_is_found() {
        for statement in [
            "[ a = b ] && [ c = d ]",
            "[[ a == b ]] && [[ c == d ]]",
            "((1 == 2)) && output_has x",
            "[ a = b ] &&\n        [ c = d ]",
            "for i in 1 2; do [ $i = 1 ] && [ $i = 2 ]; done",
            "if true; then [ a = b ] && [ c = d ]; fi",
            "for i in $(list); do [ $i = 1 ]; done",
            "! grep x y",
            "{ ! grep x y; }",
            "a | { ! grep x; }",
            "a --help | grep -q b",
            "a --help | grep -i -q b",
            "a | absent b",
            "[ -z \"$(find x)\" ]",
            "[[ $(list) != *x* ]]",
            "[ \"$(cat x* | grep -c failed)\" -eq 0 ]",
        ] {
            let script = format!("@test \"it\" {{\n    {statement}\n    true\n}}\n");
            assert_eq!(lines(&script), [2], "{statement}");
        }
    }

    #[test]
    fn what_can_fail_is_left_alone() {
        for statement in [
            "[[ a == b && c == d ]]",
            "grep -q x y && break",
            "wait $pid && return 1",
            "sh -c 'a && b | grep -q c'",
            "[ a = b ] || { (($? == 3)) && skip \"so\"; return 1; }",
            "if a && b; then c; fi",
            "for i in $(seq 3); do [ $i -lt 4 ]; done",
            "for i in $list; do [ $i -lt 4 ]; done",
            "while ! a; do b; done",
            "! mountpoint -q x || umount x",
            "output=$(a && b)",
            "grep -q x <<< \"$output\"",
            "a | sort | grep x > y",
            "[[ $(< file) != *x* ]]",
            "[[ -z $(find x) ]] || break",
            "cat << END\n! a && b\nEND",
        ] {
            let script = format!("@test \"it\" {{\n    {statement}\n    true\n}}\n");
            assert_eq!(lines(&script), [0; 0], "{statement}");
        }
    }

    #[test]
    fn somebody_looks_at_how_each_command_ended() {
        let test = |body: &str| {
            lines(&format!("ok() {{ ((status == 0)); }}\n@test \"it\" {{\n{body}\n}}\n"))
        };
        assert_eq!(test("run a\n[ \"$output\" = b ]"), [3]);
        assert_eq!(test("run a\nrun b\n[ \"$status\" -eq 0 ]"), [3]);
        assert_eq!(test("run_srun_unchecked a\noutput_has b"), [3]);
        assert_eq!(test("run a\n[ \"$status\" -eq 0 ]\nrun b\nok"), [0; 0]);
    }

    #[test]
    fn assertions_count_where_a_function_is_called() {
        let functions =
            "f() {\n    [ a = b ]\n    echo\n}\ng() {\n    [ a = b ] || return 1\n    echo\n}\n";
        let test = |body: &str| lines(&format!("{functions}@test \"it\" {{\n{body}\n}}\n"));
        let strict = functions.replace("f()", "h()").replace("g()", "f()");
        for line in
            ["if f; then h; fi", "f || h", "until f x; do h; done", "run f\n[ $status -eq 0 ]"]
        {
            assert_eq!(test(line), [10], "{line}");
            let calls = format!("{strict}@test \"it\" {{\n{line}\n}}\n");
            assert_eq!(lines(&calls), [0; 0], "{line}");
        }
        assert_eq!(test("f"), [0; 0]);
    }

    #[test]
    fn what_a_teardown_finds_is_how_it_ends() {
        let of = |body: &str| lines(&format!("teardown() {{\n{body}\n}}\n"));
        assert_eq!(of("attacks_teardown\nrm -rf x"), [2]);
        assert_eq!(of("[ a = b ]\nno_node_is_lost\nrm -rf x"), [2, 3]);
        assert_eq!(of("rm -rf x\nattacks_teardown"), [0; 0]);
        assert_eq!(of("attacks_teardown || failed=1\nrm -rf x\nreturn \"$failed\""), [0; 0]);
        assert_eq!(lines("f() {\n[ a = b ]\nrm -rf x\n}\n"), [0; 0]);
    }

    #[test]
    fn the_suites_of_this_checkout_can_fail() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(check(&root), Ok(vec![]));
    }
}
