//! Rust files without their tests and comments.

/// Name and numbered lines of each file that is not for tests only: without comments, without the module of
/// tests, and without what else is for tests.
pub(crate) fn without_tests(sources: &[(String, String)]) -> Vec<(&str, Vec<(usize, &str)>)> {
    let in_tests: Vec<String> =
        sources.iter().flat_map(|(name, text)| test_modules(name, text)).collect();
    let is_test = |name: &str| {
        let parts = ["/tests/", "/fuzz/", "/benches/", "/examples/"];
        parts.iter().any(|part| name.contains(part))
            || name.ends_with("/tests.rs")
            || in_tests.iter().any(|test| name == test)
    };
    sources
        .iter()
        .filter(|(name, _)| !is_test(name))
        .map(|(name, text)| (name.as_str(), lines(text)))
        .collect()
}

/// The files of modules that are there for tests only: `#[cfg(test)]` before `mod NAME;`.
fn test_modules(name: &str, text: &str) -> Vec<String> {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    let stem = file.trim_end_matches(".rs");
    let below = if ["mod", "lib", "main"].contains(&stem) {
        folder.to_owned()
    } else {
        format!("{folder}/{stem}")
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let modules = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let modules = modules.filter_map(|pair| {
        let module = pair[1].trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
        module.strip_prefix("mod ")?.strip_suffix(';')
    });
    modules.map(|module| format!("{below}/{module}.rs")).collect()
}

/// Numbered lines without comments, without the module of tests, and without functions that are for tests only.
fn lines(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut before = "";
    let mut is_in_tests = false;
    for (number, line) in (1..).zip(text.lines()) {
        if is_in_tests {
            is_in_tests = line != "}";
            before = line;
            continue;
        }
        let code = line.split("//").next().unwrap_or_default();
        let is_for_tests = before.trim() == "#[cfg(test)]";
        if is_for_tests && line.starts_with("mod ") && line.ends_with('{') {
            is_in_tests = true;
            continue;
        }
        if !is_for_tests && !code.trim().is_empty() {
            found.push((number, code));
        }
        before = line;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_tests_is_code() {
        let text =
            "fn one() {} // so\n#[cfg(test)]\nmod tests {\n    fn it() {\n    }\n}\nfn two() {}\n";
        let found = lines(text);
        assert_eq!(found, [(1, "fn one() {} "), (2, "#[cfg(test)]"), (7, "fn two() {}")]);
    }
}
