//! Rules for sources that no compiler has: a test that cannot fail is worse than none, and so is code that
//! nobody calls.

pub(crate) mod bats;
pub(crate) mod callers;
pub(crate) mod claims;
pub(crate) mod code;
pub(crate) mod mask;
pub(crate) mod once;
pub(crate) mod rust;
pub(crate) mod script;
pub(crate) mod sizes;
pub(crate) mod variables;
pub(crate) mod words;

use std::path::Path;
use std::process::Command;

/// A lint of our own.
pub(crate) struct Lint {
    /// `runner lint NAME`.
    pub(crate) name: &'static str,
    /// What holds where it finds nothing.
    pub(crate) says: &'static str,
    /// One line for each fault of the checkout that is there.
    pub(crate) check: fn(&Path) -> Result<Vec<String>, String>,
    /// The suite that has it; `quick` has all.
    pub(crate) suite: &'static str,
}

const fn lint(
    name: &'static str,
    says: &'static str,
    check: fn(&Path) -> Result<Vec<String>, String>,
    suite: &'static str,
) -> Lint {
    Lint { name, says, check, suite }
}

pub(crate) static LINTS: &[Lint] = &[
    lint("bats", "every assertion of the bats files can fail", bats::check, "shell"),
    lint("rust", "no Rust test ends before it has tested", rust::check, "shell"),
    lint(
        "claims",
        "each test that SECURITY.md and SAFETY.md name exists, and each attack is named",
        claims::check,
        "shell",
    ),
    lint("callers", "every public function has a caller", callers::check, "clippy"),
    lint(
        "sizes",
        "no file is too long, and every clippy.toml has the thresholds",
        sizes::check,
        "clippy",
    ),
    lint("once", "what has one place is written down there only", once::check, "clippy"),
    lint(
        "variables",
        "each variable of the command is a constant of one file, and a setting",
        variables::check,
        "clippy",
    ),
    lint("words", "no name is one that the glossary has replaced", words::check, "clippy"),
];

/// Every file of the checkout, committed or about to be, below one of the places.
pub(crate) fn files(root: &Path, places: &[&str]) -> Result<Vec<String>, String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--"])
        .args(places)
        .current_dir(root)
        .output()
        .map_err(|e| format!("git: {e}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let names = String::from_utf8_lossy(&output.stdout);
    // Listed by git and deleted since: not to be looked at.
    Ok(names.lines().filter(|name| root.join(name).is_file()).map(str::to_owned).collect())
}

/// The text of a file, by its name in the checkout.
pub(crate) fn read(root: &Path, name: &str) -> Result<String, String> {
    std::fs::read_to_string(root.join(name)).map_err(|e| format!("{name}: {e}"))
}
