//! Text of others on its way to a terminal or a log: what would move the cursor, forge a line or
//! turn the reading direction is shown as an escape instead.
//!
//! Harmless text stays as it is, so that names and paths can still be copied.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// What is shown as an escape: C0 (newline and tab, too: layout is ours), DEL, C1, line and
/// paragraph separators, and what turns the direction of text.
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` on one line and without effect on a terminal.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    text.chars().for_each(|c| push(&mut out, c));
    out.into()
}

/// As [`escaped`], of bytes that may be no UTF-8: those that a terminal could take for C1 are
/// escaped, other ones stay.
pub fn escaped_bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    if is_harmless(bytes) {
        return bytes.into();
    }
    let mut out = Vec::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        out.extend_from_slice(escaped(chunk.valid()).as_bytes());
        for byte in chunk.invalid() {
            if is_c1(*byte) {
                out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
            } else {
                out.push(*byte);
            }
        }
    }
    out.into()
}

/// The text of a configuration without what editors of other systems put into it: a byte order mark, and carriage returns
/// at the ends of lines.
pub fn plain_lines(text: &[u8]) -> Cow<'_, [u8]> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    if !text.contains(&b'\r') {
        return text.into();
    }
    let lines = text.split(|byte| *byte == b'\n');
    let plain: Vec<&[u8]> = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    plain.join(&b'\n').into()
}

/// Whether nothing of it would be escaped.
pub fn is_harmless(bytes: &[u8]) -> bool {
    bytes.utf8_chunks().all(|chunk| {
        !chunk.valid().contains(is_harmful) && !chunk.invalid().iter().copied().any(is_c1)
    })
}

fn is_c1(byte: u8) -> bool {
    (0x80..=0x9f).contains(&byte)
}

/// Shows what it holds as [`escaped`] does.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<T>(pub T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escape(f), "{}", self.0)
    }
}

/// Writes escaped what is written to it.
struct Escape<'a, W>(&'a mut W);

impl<W: Write> Write for Escape<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(&escaped(text))
    }
}

fn push(out: &mut String, c: char) {
    let escape = match c {
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        c if is_harmful(c) => {
            let number = u32::from(c);
            // A String takes everything.
            let _ = match number {
                0..=0x7f => write!(out, "\\x{number:02x}"),
                _ => write!(out, "\\u{{{number:x}}}"),
            };
            return;
        }
        c => return out.push(c),
    };
    out.push_str(escape);
}

/// `1 true yes y` and `0 false no n`; anything else says nothing. So read are arguments in plugstack.conf and `PYXIS_CONTAINER_*`.
pub fn parse_bool(value: &[u8]) -> Option<bool> {
    match value {
        b"1" | b"true" | b"yes" | b"y" => Some(true),
        b"0" | b"false" | b"no" | b"n" => Some(false),
        _ => None,
    }
}

/// Whether a word of enroot's turns something on: anything but nothing and a "no" does.
pub fn is_yes(word: &[u8]) -> bool {
    let no = [&b""[..], b"n", b"no", b"f", b"false"];
    !no.iter().any(|no| word.eq_ignore_ascii_case(no))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_systems_editor_adds_is_no_text() {
        for (text, plain) in [
            ("\u{feff}a b\r\n\r\nc\rd\n", "a b\n\nc\rd\n"),
            ("a\r\nb\r", "a\nb"),
            ("a\r\r\n", "a\r\n"),
            ("a\u{feff}\n", "a\u{feff}\n"),
            ("\r", ""),
            ("", ""),
        ] {
            assert_eq!(plain_lines(text.as_bytes()), plain.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        for (text, shown) in [
            ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            ("one\r\ntwo\tthree", "one\\r\\ntwo\\tthree"),
            ("\x7f\u{9b}2J\u{85}", "\\x7f\\u{9b}2J\\u{85}"),
            ("gpj.\u{202e}exe\u{2069}", "gpj.\\u{202e}exe\\u{2069}"),
            ("\u{2028}\0", "\\u{2028}\\x00"),
        ] {
            assert_eq!(escaped(text), shown);
            assert_eq!(Escaped(text).to_string(), shown);
            assert_eq!(escaped_bytes(text.as_bytes()), shown.as_bytes());
            assert!(!is_harmless(text.as_bytes()));
        }
    }

    #[test]
    fn harmless_text_stays() {
        for text in ["", "ubuntu:24.04", "/a b/\\x1b", "naïve 日本語 🚀", "a=\"b\" 'c' $d"] {
            assert!(matches!(escaped(text), Cow::Borrowed(same) if same == text));
            assert!(matches!(escaped_bytes(text.as_bytes()), Cow::Borrowed(_)));
            assert!(is_harmless(text.as_bytes()));
        }
        // Latin-1, and a character cut in two.
        assert_eq!(escaped_bytes(b"caf\xe9 \xe2\x82"), &b"caf\xe9 \xe2\\x82"[..]);
        assert_eq!(escaped_bytes(b"\xe9"), &b"\xe9"[..]);
    }

    #[test]
    fn raw_c1_is_shown() {
        assert_eq!(escaped_bytes(b"\x9b2J\x1b"), &b"\\x9b2J\\x1b"[..]);
        assert_eq!(escaped_bytes(b"\xc2\x9b"), &b"\\u{9b}"[..]);
    }
}
