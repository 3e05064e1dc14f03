//! A bats file as functions, tests and their statements.

use super::mask::{HIDDEN, mask};

/// A simple command, list or condition.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) line: usize,
    /// As it is written, without the keyword before it.
    pub(crate) text: String,
    /// The same with quoted text and expansions hidden.
    pub(crate) masked: String,
    /// Whether it stands after `if`, `elif`, `while` or `until`, where `set -e` does not look, or is the head of a loop.
    pub(crate) is_condition: bool,
}

impl Statement {
    pub(crate) fn first_word(&self) -> &str {
        self.masked.split([' ', '\t']).next().unwrap_or_default()
    }

    /// The parts between the operators `&&` and `||`, each with the one before it.
    pub(crate) fn parts(&self) -> Vec<(&'static str, &str)> {
        let (mut parts, mut operator, mut from) = (Vec::new(), "", 0);
        let bytes = self.masked.as_bytes();
        for at in 0..bytes.len() {
            let next = match bytes[at..] {
                [b'&', b'&', ..] => "&&",
                [b'|', b'|', ..] => "||",
                _ => continue,
            };
            parts.push((operator, self.masked[from..at].trim()));
            (operator, from) = (next, at + 2);
        }
        parts.push((operator, self.masked[from.min(self.masked.len())..].trim()));
        parts
    }
}

/// A function, a test, or the file outside of both, which has no name.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) name: String,
    pub(crate) is_test: bool,
    pub(crate) statements: Vec<Statement>,
}

pub(crate) fn bodies(script: &str) -> Vec<Body> {
    let mut reader = Reader { bodies: vec![], open: vec![], braces: 0, outside: vec![] };
    for piece in pieces(script) {
        reader.take(script, piece);
    }
    reader.bodies.push(Body { name: String::new(), is_test: false, statements: reader.outside });
    reader.bodies
}

/// What stands between the ends of statements; byte range and masked text.
fn pieces(script: &str) -> Vec<(usize, String)> {
    let masked = mask(script);
    let (mut pieces, mut from) = (Vec::new(), 0);
    let mut push = |from: usize, to: usize| {
        let text: String = masked[from..to].iter().map(|byte| char::from(*byte)).collect();
        pieces.push((from, text));
    };
    for at in 0..masked.len() {
        let before = masked[from..at].trim_ascii_end();
        let ends = match masked[at] {
            b'\n' => !before.ends_with(b"&&") && !before.ends_with(b"|"),
            b';' => true,
            b'&' => {
                let around = (at.checked_sub(1).map(|at| masked[at]), masked.get(at + 1));
                !matches!(around, (Some(b'&' | b'>' | b'<'), _) | (_, Some(b'&' | b'>')))
            }
            _ => false,
        };
        if ends {
            push(from, at);
            from = at + 1;
        }
    }
    push(from, masked.len());
    pieces
}

struct Reader {
    bodies: Vec<Body>,
    /// Functions that have begun, with the number of braces open before each.
    open: Vec<(Body, usize)>,
    braces: usize,
    outside: Vec<Statement>,
}

impl Reader {
    fn take(&mut self, script: &str, (start, masked): (usize, String)) {
        let (mut rest, mut is_condition) = (masked.as_str(), false);
        loop {
            rest = rest.trim_start();
            let offset = masked.len() - rest.len();
            if let Some((name, is_test, after)) = definition(rest, &script[start + offset..]) {
                self.open.push((Body { name, is_test, statements: vec![] }, self.braces));
                self.braces += 1;
                rest = &rest[after..];
                continue;
            }
            let word = rest.split([' ', '\t']).next().unwrap_or_default();
            match word {
                "if" | "elif" | "while" | "until" => is_condition = true,
                "case" => {
                    // A pattern may follow on the line.
                    let Some((_, after)) = rest.split_once(" in ") else { return };
                    rest = after;
                    continue;
                }
                "for" => {
                    is_condition = true;
                    break;
                }
                "do" | "then" | "else" | "fi" | "done" | "esac" => {}
                "{" => self.braces += 1,
                "}" => self.close(),
                _ => break,
            }
            rest = &rest[word.len()..];
        }
        rest = after_pattern(rest).trim_end();
        if rest.is_empty() {
            return;
        }
        // A group within a list, such as after a pipe.
        self.braces += rest.split_ascii_whitespace().skip(1).filter(|word| *word == "{").count();
        let at = start + (masked.trim_end().len() - rest.len());
        let statement = Statement {
            line: 1 + script[..at].matches('\n').count(),
            text: script[at..at + rest.len()].to_owned(),
            masked: rest.to_owned(),
            is_condition,
        };
        match self.open.last_mut() {
            Some((body, _)) => body.statements.push(statement),
            None => self.outside.push(statement),
        }
    }

    fn close(&mut self) {
        self.braces = self.braces.saturating_sub(1);
        if self.open.last().is_some_and(|(_, before)| *before == self.braces) {
            self.bodies.extend(self.open.pop().map(|(body, _)| body));
        }
    }
}

/// A function's or test's name, whether it is a test, and the length of what opens it.
fn definition(masked: &str, text: &str) -> Option<(String, bool, usize)> {
    let brace = masked.find('{')?;
    let head = masked[..brace].trim_end();
    if let Some(name) = head.strip_suffix("()") {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-:".contains(c);
        return (!name.is_empty() && name.chars().all(is_name))
            .then(|| (name.to_owned(), false, brace + 1));
    }
    let quoted = head.strip_prefix("@test ")?;
    quoted
        .trim()
        .chars()
        .all(|c| c == char::from(HIDDEN))
        .then(|| (text[6..head.len()].trim().trim_matches(['"', '\'']).to_owned(), true, brace + 1))
}

/// The text after `pattern)` of a case.
fn after_pattern(text: &str) -> &str {
    match text.split_once(')') {
        Some((pattern, after))
            if !pattern.contains('(')
                && (after.is_empty() || after.starts_with([' ', '\t', '\n'])) =>
        {
            after.trim_start()
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_found_where_they_are() {
        let script = "x=1\nf() { a; b && c; }\n@test \"one; two\" {\n    for i in 1 2; do d $i; done\n    if e; then\n        g | \\\n            h\n    fi\n    case $x in a) i ;; *) j >&2 ;; esac\n    k &&\n        l\n}\n";
        let bodies = bodies(script);
        let of = |name: &str| -> Vec<(usize, String, bool)> {
            let body = bodies.iter().find(|body| body.name == name).unwrap();
            body.statements.iter().map(|s| (s.line, s.text.clone(), s.is_condition)).collect()
        };
        let is = |line, text: &str, condition| (line, text.to_owned(), condition);
        assert_eq!(of(""), [is(1, "x=1", false)]);
        assert_eq!(of("f"), [is(2, "a", false), is(2, "b && c", false)]);
        assert_eq!(
            of("one; two"),
            [
                is(4, "for i in 1 2", true),
                is(4, "d $i", false),
                is(5, "e", true),
                is(6, "g | \\\n            h", false),
                is(9, "i", false),
                is(9, "j >&2", false),
                is(10, "k &&\n        l", false),
            ]
        );
        assert!(
            bodies.iter().find(|body| body.is_test).is_some_and(|body| body.name == "one; two")
        );
    }

    #[test]
    fn parts_are_between_operators() {
        let body = &bodies("a 'x && y' && b || c | d")[0];
        let parts = body.statements[0].parts();
        assert_eq!(parts.iter().map(|part| part.0).collect::<Vec<_>>(), ["", "&&", "||"]);
        assert_eq!(parts[2].1, "c | d");
    }
}
