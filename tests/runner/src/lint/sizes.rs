//! How long things may be: files and branches of functions, which are counted here, and functions, by the thresholds of
//! clippy. That reads the nearest clippy.toml only: all such files have to state the same. What it calls complexity
//! is less than the number of branches, which is what a reader has to keep in mind.

use std::path::Path;

const THRESHOLDS: [(&str, u32); 2] =
    [("too-many-lines-threshold", 60), ("cognitive-complexity-threshold", 25)];
/// Of a file that somebody has written.
const MOST_LINES: usize = 600;
/// Of a function, but where it says that it is a table, or why it is as long as it is.
const MOST_BRANCHES: usize = 25;
const EXCUSES: [&str; 2] =
    ["#[expect(clippy::too_many_lines,", "#[expect(clippy::cognitive_complexity,"];
const BRANCHES: [&str; 7] = ["if", "while", "for", "loop", "=>", "&&", "||"];

/// What is wrong with the files of the checkout, one line each.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let names = super::files(root, &["clippy.toml", "*/clippy.toml"])?;
    if !names.iter().any(|name| name == "clippy.toml") {
        return Err("no clippy.toml".into());
    }
    let mut found = Vec::new();
    for name in names {
        let text = super::read(root, &name)?;
        found.extend(missing(&text).into_iter().map(|line| format!("{name}: add a line: {line}")));
    }
    for name in super::files(root, &["*.rs"])?.iter().filter(|name| !name.contains("/generated/")) {
        let text = super::read(root, name)?;
        found.extend(too_long(name, &text));
        found.extend(too_branched(name, &text));
    }
    Ok(found)
}

fn too_long(name: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MOST_LINES).then(|| format!("{name}: {lines} lines, more than {MOST_LINES}: split it"))
}

/// The functions with too many branches. As rustfmt writes it, a function ends where a brace is below its beginning.
fn too_branched(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut function: Option<(usize, &str, &str, usize)> = None;
    let mut is_excused = false;
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.split("//").next().unwrap_or_default();
        let indent = &code[..code.len() - code.trim_start().len()];
        if let Some((begin, title, margin, branches)) = &mut function {
            *branches += branches_of(code);
            if code.trim_end().strip_prefix(*margin) == Some("}") {
                if *branches > MOST_BRANCHES && !is_excused {
                    found.push(format!(
                        "{name}:{begin}: {title} has {branches} branches, more than {MOST_BRANCHES}: split it"
                    ));
                }
                (function, is_excused) = (None, false);
            }
        } else if EXCUSES.iter().any(|excuse| code.contains(excuse)) {
            is_excused = true;
        } else if let Some(title) = title_of(code) {
            function =
                (!code.trim_end().ends_with([';', '}'])).then_some((number, title, indent, 0));
            is_excused &= function.is_some();
        }
    }
    found
}

/// The name of the function that begins in this line.
fn title_of(code: &str) -> Option<&str> {
    let mut words = code.split_whitespace().skip_while(|word| {
        word.starts_with("pub")
            || ["in", "const", "unsafe", "extern", "\"C\""].contains(word)
            || word.ends_with(')')
    });
    words.next().filter(|word| *word == "fn")?;
    words.next()?.split(['(', '<']).next()
}

/// How many branches a line has; what is in its texts is none.
fn branches_of(code: &str) -> usize {
    let code: String = code.split('"').step_by(2).collect();
    let words = code.split([' ', '(', ')', '{', '}', ';', ',']);
    words.filter(|word| BRANCHES.contains(word)).count()
}

/// The lines that a file lacks.
fn missing(text: &str) -> Vec<String> {
    let lines = THRESHOLDS.map(|(name, value)| format!("{name} = {value}"));
    lines.into_iter().filter(|line| !text.lines().any(|has| has == line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_threshold_is_found() {
        let both = "too-many-lines-threshold = 60\ncognitive-complexity-threshold = 25\n";
        assert_eq!(missing(both), [""; 0]);
        assert_eq!(missing(&both.replace("60", "600")), ["too-many-lines-threshold = 60"]);
        assert_eq!(missing("").len(), 2);
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(too_long("a.rs", &"\n".repeat(600)), None);
        let long = too_long("a.rs", &"\n".repeat(601));
        assert_eq!(long.as_deref(), Some("a.rs: 601 lines, more than 600: split it"));
    }

    #[test]
    fn a_function_with_many_branches_is_found() {
        let of = |excuse: &str, arms: usize| {
            let arms = "        1 if x && y => \"if || =>\", // if\n".repeat(arms);
            format!("{excuse}    pub(in crate::x) fn long(x: bool) -> u8 {{\n{arms}    }}\n")
        };
        assert_eq!(too_branched("a.rs", &of("", 8)), [""; 0]);
        assert_eq!(
            too_branched("a.rs", &of("", 9)),
            ["a.rs:1: long has 27 branches, more than 25: split it"]
        );
        let excuse = "    #[expect(clippy::too_many_lines, reason = \"a table\")]\n";
        assert_eq!(too_branched("a.rs", &of(excuse, 9)), [""; 0]);
        let two = format!("{}fn short();\n{}", of(excuse, 9), of("", 9));
        assert_eq!(too_branched("a.rs", &two).len(), 1);
    }

    #[test]
    fn all_files_of_this_checkout_are_short_and_have_the_thresholds() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(check(&root), Ok(vec![]));
    }
}
