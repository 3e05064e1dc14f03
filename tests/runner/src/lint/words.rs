//! Names that had to be decoded, and have been replaced: docs/glossary.md lists them.

use std::path::Path;

const GLOSSARY: &str = "docs/glossary.md";
/// The head of the table of names.
const HEAD: &str = "| name | instead |\n|---|---|\n";
/// What defines something by name.
const DEFINES: [&str; 9] =
    ["struct", "enum", "trait", "type", "union", "fn", "mod", "const", "static"];

/// What is wrong with all Rust files of the checkout, one line each.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let gone = names(&super::read(root, GLOSSARY)?);
    if gone.is_empty() {
        return Err(format!("{GLOSSARY} lists no names that are not used"));
    }
    let mut found = Vec::new();
    let files = super::files(root, &["*.rs"])?;
    for name in files.iter().filter(|name| !name.starts_with("tests/runner/")) {
        found.extend(defined(&gone, name, &super::read(root, name)?));
    }
    Ok(found)
}

/// The names of the glossary's table, in backquotes, each with what is used instead.
fn names(glossary: &str) -> Vec<(String, String)> {
    let table = glossary.split(HEAD).nth(1).unwrap_or_default();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.trim_matches('|').split_once('|'))
        .flat_map(|(names, instead)| {
            let names = names.split('`').skip(1).step_by(2);
            names.map(|name| (name.to_owned(), instead.trim().to_owned()))
        })
        .collect()
}

fn defined(gone: &[(String, String)], file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut words = line
            .split("//")
            .next()
            .unwrap_or_default()
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            if !DEFINES.contains(&word) {
                continue;
            }
            let name = words.next();
            let row = gone.iter().find(|(gone, _)| Some(gone.as_str()) == name);
            found.extend(row.map(|(name, instead)| {
                format!("{file}:{number}: {name} is no name here ({GLOSSARY}): {instead}")
            }));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_table_is_found_where_it_is_defined() {
        let glossary =
            format!("# G\n\n{HEAD}| `Ground`, `Source` | what of |\n| `way` | path |\n\nx");
        let gone = names(&glossary);
        assert_eq!(
            gone.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["Ground", "Source", "way"]
        );
        let text = "pub(crate) enum Ground {\n// struct Source\nlet x = Error::Source;\nstruct SourceFile;\n\
            unsafe fn way<T>() {}\n";
        assert_eq!(
            defined(&gone, "a.rs", text),
            [
                "a.rs:1: Ground is no name here (docs/glossary.md): what of",
                "a.rs:5: way is no name here (docs/glossary.md): path",
            ]
        );
    }

    #[test]
    fn no_name_of_this_checkout_is_one_of_those() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(check(&root), Ok(vec![]));
    }
}
