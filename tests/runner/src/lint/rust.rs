//! Rust tests that end before they have tested anything.

use std::path::Path;

/// What is wrong with all Rust files of the checkout, one line each.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let names = super::files(root, &["*.rs"])?;
    let (mut found, mut seen) = (Vec::new(), 0);
    for name in names {
        let text = super::read(root, &name)?;
        seen += text.matches("#[test]").count();
        found
            .extend(faults(&text).into_iter().map(|(line, what)| format!("{name}:{line}: {what}")));
    }
    if seen == 0 {
        return Err("no Rust test found".into());
    }
    Ok(found)
}

/// Line and fault of each early end, and of each test that is ignored without a reason. As rustfmt writes them: a `return`
/// below an `if` of the test's own body, or after its `else`.
fn faults(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut body, mut is_test) = (Vec::new(), None, false);
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        match body {
            Some(at) if indent == at && code.starts_with('}') => body = None,
            Some(at) => {
                let ends = code.starts_with("return;") && indent == at + 8;
                let skips = indent == at + 4
                    && (code.contains("{ return }") || code.contains("{ return; }"));
                if ends || skips {
                    let what = "a test that returns has tested nothing: let it fail, or mark it with #[ignore = \"needs ...\"]";
                    found.push((number, what.to_owned()));
                }
            }
            None if code == "#[ignore]" => {
                found.push((number, "say why: #[ignore = \"needs ...\"]".to_owned()))
            }
            None if code == "#[test]" => is_test = true,
            None if is_test && code.starts_with("fn ") => (body, is_test) = (Some(indent), false),
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        faults(text).into_iter().map(|fault| fault.0).collect()
    }

    #[test]
    fn an_end_before_the_test_is_found() {
        let in_module = "mod tests {\n    #[test]\n    fn it() {\n        if !root() {\n            return; // so\n        }\n    }\n}\n";
        assert_eq!(lines(in_module), [5]);
        assert_eq!(
            lines("#[test]\nfn it() {\n    let Some(tool) = find() else { return };\n}\n"),
            [3]
        );
        assert_eq!(lines("#[test]\n#[ignore]\nfn it() {\n}\n"), [2]);
    }

    #[test]
    fn an_end_that_is_a_success_is_not() {
        assert_eq!(
            lines(
                "#[test]\nfn it() {\n    for _ in 0..9 {\n        if done() {\n            return;\n        }\n    }\n    panic!();\n}\n"
            ),
            [0; 0]
        );
        assert_eq!(lines("fn helper() {\n    if x {\n        return;\n    }\n}\n"), [0; 0]);
        assert_eq!(lines("#[test]\n#[ignore = \"needs root\"]\nfn it() {\n}\n"), [0; 0]);
    }

    #[test]
    fn no_test_of_this_checkout_ends_early() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(check(&root), Ok(vec![]));
    }
}
