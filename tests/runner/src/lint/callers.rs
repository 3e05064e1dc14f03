//! Public functions that nothing calls but tests: code that is kept up for nobody. The compiler sees them
//! only where they are private to their crate.

use std::collections::BTreeMap;
use std::path::Path;

/// What needs no caller, a folder, a file or `file:function`, and why.
const EXEMPT: [(&str, &str); 3] = [
    ("spank-bindings/src/generated/", "what bindgen makes of Slurm's header, as a whole"),
    ("spank-bindings/src/mock.rs", "a Slurm for the tests of plugins"),
    (
        "spank-bindings/src/env.rs:prepend_task_argv",
        "what a release has added: build-matrix/tests/new_release.rs has a plugin that uses it",
    ),
];

/// What is wrong with all Rust files of the checkout, one line each.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let names = super::files(root, &["*.rs"])?;
    let mut sources = Vec::new();
    for name in names {
        let text = super::read(root, &name)?;
        sources.push((name, text));
    }
    if sources.is_empty() {
        return Err("no Rust file found".into());
    }
    Ok(uncalled(&sources))
}

/// Place and name of each public function whose name nothing but tests and definitions has. A name that two
/// functions have is called where either is: what is found is certain, not all is found.
fn uncalled(sources: &[(String, String)]) -> Vec<String> {
    let code = super::code::without_tests(sources);
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, line) in code.iter().flat_map(|(_, lines)| lines) {
        let mut before = "";
        for word in words(line) {
            *uses.entry(word).or_default() += usize::from(before != "fn");
            before = word;
        }
    }
    let exempt = |place: &str| {
        EXEMPT.iter().any(|(exempt, _)| match exempt.strip_suffix('/') {
            Some(folder) => place.starts_with(folder),
            None => *exempt == place,
        })
    };
    let mut found = Vec::new();
    for (name, lines) in code.iter().filter(|(name, _)| !exempt(name)) {
        for (number, line) in lines {
            // Where a macro makes a method of an item, its own definition is the one use of its name.
            let (function, most) = match item(line) {
                Some(method) => (Some(method), 1),
                None => (defined(line), 0),
            };
            let idle = function.filter(|word| uses.get(word).is_none_or(|uses| *uses <= most));
            found.extend(idle.filter(|function| !exempt(&format!("{name}:{function}"))).map(
                |function| {
                    format!("{name}:{number}: {function} has no caller but tests: remove it")
                },
            ));
        }
    }
    found
}

/// The method that a macro of spank-bindings makes of such a line: `job_uid: u32 = S_JOB_UID;`.
fn item(line: &str) -> Option<&str> {
    let (method, item) = line.trim().split_once(" = S_")?;
    let is_line = item.ends_with(';') && !method.contains("let ");
    words(method).find(|word| *word != "pub").filter(|_| is_line)
}

/// The public function that a line begins to define.
fn defined(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("pub")?;
    let rest = match rest.strip_prefix('(') {
        Some(rest) => rest.split_once(')')?.1,
        None => rest,
    };
    let mut words =
        words(rest).skip_while(|word| ["const", "unsafe", "extern", "C"].contains(word));
    words.next().filter(|word| *word == "fn")?;
    words.next()
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sources: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> =
            sources.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        uncalled(&sources)
    }

    #[test]
    fn what_only_tests_call_is_found() {
        let library = "/// dead() is.\npub fn dead() {}\n    pub(crate) const fn gone(&self) {}\npub fn used() {} // gone()\n\
            fn main() { used(); }\n#[cfg(test)]\nmod tests {\n    fn it() { dead(); gone() }\n}\n";
        let tests = "fn it() { dead(); gone(); }";
        let names = ["dead", "gone"];
        let lines = [2, 3].into_iter().zip(names);
        let lines: Vec<_> = lines
            .map(|(line, name)| {
                format!("a/src/lib.rs:{line}: {name} has no caller but tests: remove it")
            })
            .collect();
        assert_eq!(found(&[("a/src/lib.rs", library), ("a/tests/t.rs", tests)]), lines);
        let caller = ("b/src/main.rs", "use a::dead;\nfn x() { dead(); y.gone() }");
        assert_eq!(found(&[("a/src/lib.rs", library), caller]), [""; 0]);
    }

    #[test]
    fn what_is_for_tests_needs_no_caller() {
        let library = "#[cfg(test)]\npub(super) mod tree;\n#[cfg(test)]\npub fn helper() {}\n";
        assert_eq!(
            found(&[("a/src/b/mod.rs", library), ("a/src/b/tree.rs", "pub fn x() {}")]),
            [""; 0]
        );
        assert_eq!(
            found(&[("a/src/b.rs", library), ("a/src/b/tree.rs", "pub fn x() {}")]),
            [""; 0]
        );
        assert_eq!(
            found(&[("a/src/c.rs", library), ("a/src/b/tree.rs", "pub fn x() {}")]).len(),
            1
        );
        assert_eq!(found(&[("spank-bindings/src/mock.rs", "pub fn x() {}")]), [""; 0]);
        let added = "pub fn prepend_task_argv() {}";
        assert_eq!(found(&[("spank-bindings/src/env.rs", added)]), [""; 0]);
        assert_eq!(found(&[("spank-bindings/src/log.rs", added)]).len(), 1);
    }

    #[test]
    fn a_method_that_a_macro_makes_needs_a_caller() {
        let items = "numbers! {\n    job_uid: u32 = S_JOB_UID;\n    pub to_global(pid: i32) = S_TO_GLOBAL;\n}\n";
        let file = ("spank-bindings/src/items.rs", items);
        let line = |number: usize, name: &str| {
            format!("{}:{number}: {name} has no caller but tests: remove it", file.0)
        };
        assert_eq!(found(&[file]), [line(2, "job_uid"), line(3, "to_global")]);
        let caller = ("plugin/src/lib.rs", "fn x() { spank.job_uid(); }");
        assert_eq!(found(&[file, caller]), [line(3, "to_global")]);
        let tests = ("plugin/src/tests.rs", "fn x() { spank.to_global(1); }");
        assert_eq!(found(&[file, caller, tests]), [line(3, "to_global")]);
    }

    #[test]
    fn no_public_function_of_this_checkout_lacks_a_caller() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(check(&root), Ok(vec![]));
    }
}
