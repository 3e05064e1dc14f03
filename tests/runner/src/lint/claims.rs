//! Tests that documents name as proof: each exists, and each attack is named.

use std::collections::BTreeSet;
use std::path::Path;

/// Where tests are named after the words "Checked by", up to the end of the paragraph or list.
const DOCUMENTS: [&str; 2] = ["SECURITY.md", "SAFETY.md"];

/// What is wrong with the documents of the checkout, one line each.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let names = super::files(root, &["."])?;
    let mut tests = Tests::default();
    for name in names.iter().filter(|name| name.ends_with(".bats") || name.ends_with(".rs")) {
        tests.read(name, &super::read(root, name)?);
    }
    let (mut found, mut claimed) = (Vec::new(), BTreeSet::new());
    for document in DOCUMENTS {
        let text = super::read(root, document)?;
        let claims = claims(&text);
        found
            .extend(tests.unknown(&claims).map(|what| format!("{document}: no such test: {what}")));
        let absent = paths(&text).into_iter().filter(|path| !is_there(&names, path));
        found.extend(absent.map(|path| format!("{document}: no such file: {path}")));
        if claims.is_empty() {
            found.push(format!("{document}: names no test"));
        }
        claimed.extend(if document == DOCUMENTS[0] { claims } else { BTreeSet::new() });
    }
    let unnamed = tests.attacks.iter().filter(|(title, _)| !claimed.contains(title));
    found.extend(
        unnamed.map(|(title, file)| format!("{file}: to be named in SECURITY.md: \"{title}\"")),
    );
    Ok(found)
}

#[derive(Default)]
struct Tests {
    names: BTreeSet<String>,
    /// Title and file.
    attacks: Vec<(String, String)>,
}

impl Tests {
    fn read(&mut self, file: &str, text: &str) {
        let mut is_test = false;
        for line in text.lines() {
            let code = line.trim();
            if file.ends_with(".bats") {
                let title =
                    code.strip_prefix("@test \"").and_then(|rest| rest.strip_suffix("\" {"));
                if let Some(title) = title {
                    // As bash reads it.
                    let title = title.replace("\\\"", "\"").replace("\\$", "$");
                    if file.starts_with("tests/attacks/") {
                        self.attacks.push((title.clone(), file.to_owned()));
                    }
                    self.names.insert(title);
                }
            } else if let Some(name) = code.strip_prefix("fn ").filter(|_| is_test) {
                is_test = false;
                self.names.insert(name.split('(').next().unwrap_or_default().to_owned());
            } else {
                is_test |= code == "#[test]";
            }
        }
    }

    fn unknown<'a>(&'a self, claims: &'a BTreeSet<String>) -> impl Iterator<Item = &'a String> {
        claims.iter().filter(|claim| !self.names.contains(*claim))
    }
}

/// The names of Rust tests in backquotes, and titles of bats tests in quotes.
fn claims(document: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, words) in document.match_indices("Checked by") {
        let text = &document[at + words.len()..];
        // A list may follow after a blank line.
        let text = text.trim_start_matches([':', '\n', ' ']);
        let text = text.split("\n\n").next().unwrap_or_default();
        for (number, part) in text.split('`').enumerate() {
            let is_name =
                |part: &str| part.matches('_').count() > 1 && part.bytes().all(is_of_name);
            if number % 2 == 1 && is_name(part) {
                found.insert(part.to_owned());
            }
        }
        // What stands in backquotes may have quotes of its own.
        let plain: String = text.split('`').step_by(2).collect();
        let titles = plain.split('"').skip(1).step_by(2);
        found.extend(
            titles.map(|title| title.split_ascii_whitespace().collect::<Vec<_>>().join(" ")),
        );
    }
    found
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
}

/// The source files that a document names in backquotes; `{a,b}` stands for either.
fn paths(document: &str) -> Vec<String> {
    let named = document.split('`').skip(1).step_by(2);
    let sources = named.filter(|name| [".rs", ".bats"].iter().any(|end| name.ends_with(end)));
    let plain = sources.filter(|name| !name.contains([' ', '*']));
    plain.flat_map(either).collect()
}

fn either(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let Some((inside, after)) = rest.split_once('}') else { return vec![path.to_owned()] };
    inside.split(',').map(|one| format!("{before}{one}{after}")).collect()
}

/// A document may leave the beginning of a path away.
fn is_there(names: &[String], path: &str) -> bool {
    names.iter().any(|name| name == path || name.ends_with(&format!("/{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "It is so. Checked by `one_two_three` and `other.rs`, \"a title\nover two lines\"\nand `a \"quoted\" thing`.\n\nNo `such_as_this`.\n\nChecked by\n\n- `four_five_six`\n- \"another: \"\n\n`seven_eight_nine`";

    #[test]
    fn claims_are_found_up_to_the_end_of_their_paragraph() {
        let found: Vec<String> = claims(TEXT).into_iter().collect();
        assert_eq!(found, ["a title over two lines", "another:", "four_five_six", "one_two_three"]);
    }

    #[test]
    fn what_is_named_has_to_exist() {
        let mut tests = Tests::default();
        tests.read(
            "a/tests/x.rs",
            "#[test]\n#[ignore = \"so\"]\nfn one_two_three() {\n}\nfn four_five_six() {\n}\n",
        );
        tests.read(
            "tests/attacks/y.bats",
            "@test \"a title over two lines\" {\n}\n@test \"unnamed\" {\n",
        );
        let claims = claims(TEXT);
        assert_eq!(tests.unknown(&claims).collect::<Vec<_>>(), ["another:", "four_five_six"]);
        assert_eq!(tests.attacks.len(), 2);
    }

    #[test]
    fn a_path_may_be_short_and_stand_for_several() {
        assert_eq!(
            paths("`a/{b,c}.rs` and `d.bats`, `e.sh`, `src/*.rs`"),
            ["a/b.rs", "a/c.rs", "d.bats"]
        );
        let names = ["x/a/b.rs".to_owned()];
        assert!(
            is_there(&names, "a/b.rs") && is_there(&names, "b.rs") && !is_there(&names, "/b.rs")
        );
        assert!(!is_there(&names, "c.rs"));
    }

    #[test]
    fn the_documents_of_this_checkout_are_true() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(check(&root), Ok(vec![]));
    }
}
