//! How long things may be: files, which are counted here, and functions, by the thresholds of clippy. That reads the
//! nearest clippy.toml only: all such files have to state the same.

use std::path::Path;

const THRESHOLDS: [(&str, u32); 2] =
    [("too-many-lines-threshold", 60), ("cognitive-complexity-threshold", 25)];
/// Of a file that somebody has written.
const MOST_LINES: usize = 600;

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
        found.extend(too_long(name, &super::read(root, name)?));
    }
    Ok(found)
}

fn too_long(name: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MOST_LINES).then(|| format!("{name}: {lines} lines, more than {MOST_LINES}: split it"))
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
    fn all_files_of_this_checkout_are_short_and_have_the_thresholds() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(check(&root), Ok(vec![]));
    }
}
