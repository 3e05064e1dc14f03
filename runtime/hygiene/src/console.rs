//! The only place that writes to the command's stdout and stderr: text of others (names, paths,
//! answers of registries, output of programs) passes [`crate::text`] here, and loses the passwords
//! of its URLs.
//!
//! Lines are written at once: tasks of a step share their stderr.

#![allow(clippy::disallowed_methods)]

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use crate::text::{escaped, escaped_bytes, is_harmful};
use crate::userinfo::redacted;

fn shown(line: &str) -> String {
    escaped(&redacted(line)).into_owned()
}

/// One line on stderr.
pub fn tell(line: impl Display) {
    // There is nobody left to be told that this failed.
    let _ = io::stderr().write_all(format!("{}\n", shown(&line.to_string())).as_bytes());
}

/// Several lines on stderr, whose layout is ours.
pub fn tell_lines(text: &str) {
    let mut out = String::new();
    text.lines().for_each(|line| out += &format!("{}\n", shown(line)));
    let _ = io::stderr().write_all(out.as_bytes());
}

/// A question on stderr: no line, the answer follows.
pub fn ask(question: impl Display) {
    let _ = io::stderr().write_all(shown(&question.to_string()).as_bytes());
}

/// Whether somebody looks at stderr.
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// One line on stdout.
///
/// # Errors
/// Of writing. A reader that has seen enough (`| head`) is none.
pub fn print(line: impl Display) -> io::Result<()> {
    write(format!("{}\n", shown(&line.to_string())).as_bytes())
}

/// Lines on stdout.
///
/// # Errors
/// As [`print()`].
pub fn print_lines<T: Display>(lines: impl IntoIterator<Item = T>) -> io::Result<()> {
    let text: String =
        lines.into_iter().map(|line| format!("{}\n", shown(&line.to_string()))).collect();
    write(text.as_bytes())
}

/// Lines on stdout that may be no UTF-8.
///
/// # Errors
/// As [`print()`].
pub fn print_bytes<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
    let mut text = Vec::new();
    for line in lines {
        text.extend_from_slice(&escaped_bytes(line));
        text.push(b'\n');
    }
    write(&text)
}

/// A JSON document on stdout. Its strings are escaped as JSON does, beyond what JSON demands.
///
/// # Errors
/// As [`print()`].
pub fn print_json(document: &str) -> io::Result<()> {
    write(format!("{}\n", json(document)).as_bytes())
}

fn json(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    for c in document.chars() {
        // Between strings there are no others than newlines.
        if is_harmful(c) && c != '\n' {
            out += &format!("\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

fn write(bytes: &[u8]) -> io::Result<()> {
    match io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_mean_the_same() {
        let value = serde_json::json!({ "a\u{9b}": "\u{1b}\u{7f}\u{85}\u{202e}é\n" });
        let text = json(&format!("{value:#}"));
        assert!(!text.replace('\n', "").contains(is_harmful), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
