//! An image's command script, `/etc/rc`, understood without a shell where it is the one that the
//! importers write:
//!
//! ```text
//! mkdir -p "/work" 2> /dev/null
//! cd "/work" && unset OLDPWD || exit 1
//!
//! if [ -s /etc/rc.local ]; then
//!     . /etc/rc.local
//! fi
//!
//! if [ $# -gt 0 ]; then
//!     exec 'entry' 'point' "$@"
//! else
//!     exec 'entry' 'point' 'command'
//! fi
//! ```

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// What such a script does.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Simple {
    /// The directory it makes and goes to.
    pub(super) directory: PathBuf,
    /// Words before the arguments.
    entrypoint: Vec<OsString>,
    /// All words when there are no arguments.
    default: Vec<OsString>,
}

impl Simple {
    /// Reads a script; `None` for one that only a shell understands.
    pub(super) fn parse(script: &[u8], local: &[u8]) -> Option<Simple> {
        // A script of the image's own is sourced before the command.
        if lines(local).next().is_some() {
            return None;
        }
        let text = logical_lines(std::str::from_utf8(script).ok()?)?;
        let [make, change, test, source, fi, count, with, otherwise, without, end] = text[..]
        else {
            return None;
        };
        let directory = quoted(make.strip_prefix("mkdir -p ")?.strip_suffix(" 2> /dev/null")?)?;
        let target = change.strip_prefix("cd ")?.strip_suffix(" && unset OLDPWD || exit 1")?;
        let expected = [
            (test, "if [ -s /etc/rc.local ]; then"),
            (source, ". /etc/rc.local"),
            (fi, "fi"),
            (count, "if [ $# -gt 0 ]; then"),
            (otherwise, "else"),
            (end, "fi"),
        ];
        if quoted(target)? != directory || expected.iter().any(|(line, known)| line != known) {
            return None;
        }
        let entrypoint = with.strip_prefix("exec ")?.strip_suffix("\"$@\"")?;
        let mut entrypoint = words(entrypoint)?;
        let mut default = words(without.strip_prefix("exec ")?)?;
        // So an image takes back the entrypoint of the one below, and importers have passed that on.
        if entrypoint == [""] {
            entrypoint.clear();
            if default.first().is_some_and(|word| word.is_empty()) {
                default.remove(0);
            }
            if default.is_empty() {
                default.push("/bin/sh".into());
            }
        }
        Some(Simple { directory: directory.into(), entrypoint, default })
    }

    /// Its directory, its words before the arguments, and those where there are none.
    pub(super) fn parts(self) -> (PathBuf, Vec<OsString>, Vec<OsString>) {
        (self.directory, self.entrypoint, self.default)
    }

    /// The program and its arguments, given what the user asked for.
    pub(super) fn command(self, arguments: &[OsString]) -> Vec<OsString> {
        if arguments.is_empty() {
            return self.default;
        }
        let mut command = self.entrypoint;
        command.extend_from_slice(arguments);
        command
    }
}

/// Lines that do something, as a shell sees them: a quoted line break ends none.
fn logical_lines(script: &str) -> Option<Vec<&str>> {
    let mut lines = Vec::new();
    let mut rest = script;
    while !rest.is_empty() {
        rest = rest.trim_start();
        if rest.starts_with('#') {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        let mut quote = None;
        let mut escaped = false;
        let end = rest.find(|c: char| {
            match (quote, c) {
                _ if escaped => escaped = false,
                (Some('\''), '\'') | (Some('"'), '"') => quote = None,
                (Some('"') | None, '\\') => escaped = true,
                (None, '\'' | '"') => quote = Some(c),
                (None, '\n') => return true,
                _ => {}
            }
            false
        });
        if end.is_none() && quote.is_some() {
            return None;
        }
        let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
        lines.extend(Some(line.trim_end()).filter(|line| !line.is_empty()));
        rest = after;
    }
    Some(lines)
}

/// Lines that do something; `Some(None)` is one that is no text.
fn lines(script: &[u8]) -> impl Iterator<Item = Option<&str>> {
    script
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
        .map(|line| std::str::from_utf8(line).ok())
}

/// A path in double quotes in which nothing is to be replaced.
fn quoted(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.strip_prefix('"')?.strip_suffix('"')?.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' | '$' | '`' => return None,
            '\\' => out.push(chars.next().filter(|c| ['"', '$', '`', '\\'].contains(c))?),
            c => out.push(c),
        }
    }
    (!out.is_empty()).then_some(out)
}

/// Words in single quotes, or bare ones without any meaning to a shell.
fn words(text: &str) -> Option<Vec<OsString>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%=".contains(c);
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let mut word = String::new();
        while let Some(c) = rest.chars().next().filter(|c| *c != ' ') {
            if let Some(after) = rest.strip_prefix('\'') {
                let (inner, after) = after.split_once('\'')?;
                word.push_str(inner);
                rest = after;
            } else if let Some(after) = rest.strip_prefix("\\'") {
                word.push('\'');
                rest = after;
            } else if plain(c) {
                word.push(c);
                rest = &rest[1..];
            } else {
                return None;
            }
        }
        // `exec -a NAME` and `exec A=B` are something else.
        if out.is_empty() && (word.starts_with('-') || word.contains('=')) {
            return None;
        }
        out.push(OsString::from_vec(word.into_bytes()));
        rest = rest.trim_start();
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(directory: &str, with: &str, without: &str) -> Vec<u8> {
        format!(
            "# enroot-provenance: docker://x\n# label some text\n\n\
             mkdir -p \"{directory}\" 2> /dev/null\n\
             cd \"{directory}\" && unset OLDPWD || exit 1\n\n\
             if [ -s /etc/rc.local ]; then\n    . /etc/rc.local\nfi\n\n\
             if [ $# -gt 0 ]; then\n    exec {with}\nelse\n    exec {without}\nfi\n"
        )
        .into_bytes()
    }

    #[test]
    fn understands_what_importers_write() {
        let local = b"# This file is sourced\n# by something\n";
        let text = script("/w d", "'/entry' '-c' \"$@\"", "'/entry' '-c' 'it'\\''s' ''");
        let simple = || Simple::parse(&text, local).unwrap();
        assert_eq!(simple().directory, PathBuf::from("/w d"));
        assert_eq!(simple().command(&["a b".into()]), ["/entry", "-c", "a b"]);
        assert_eq!(simple().command(&[]), ["/entry", "-c", "it's", ""]);
        let bare = Simple::parse(&script("/", " \"$@\"", " '/bin/sh'"), b"").unwrap();
        assert_eq!(bare.command(&["true".into()]), ["true"]);
    }

    #[test]
    fn words_and_directories_may_have_anything_in_them() {
        let text = script(
            "/a \\\"b\\\" \\$c\\\\\nd",
            "'one\ntwo' '#no' \"$@\"",
            "'one\ntwo' '#no' 'a\n\n\"b'",
        );
        let simple = || Simple::parse(&text, b"").unwrap();
        assert_eq!(simple().directory, PathBuf::from("/a \"b\" $c\\\nd"));
        assert_eq!(simple().command(&["x".into()]), ["one\ntwo", "#no", "x"]);
        assert_eq!(simple().command(&[]), ["one\ntwo", "#no", "a\n\n\"b"]);
        assert!(Simple::parse(&script("/", "'open \"$@\"", "sh"), b"").is_none());
    }

    #[test]
    fn an_empty_entrypoint_is_none() {
        let none = |without| Simple::parse(&script("/", "'' \"$@\"", without), b"").unwrap();
        assert_eq!(none("'' 'c' 'd'").command(&["x".into()]), ["x"]);
        assert_eq!(none("'' 'c' 'd'").command(&[]), ["c", "d"]);
        assert_eq!(none("''").command(&[]), ["/bin/sh"]);
    }

    #[test]
    fn leaves_everything_else_to_a_shell() {
        let good = script("/", "\"$@\"", "sh");
        assert!(Simple::parse(&good, b"").is_some());
        assert!(Simple::parse(&good, b"export A=1\n").is_none());
        assert!(Simple::parse(&script("/$X", "\"$@\"", "sh"), b"").is_none());
        assert!(Simple::parse(&script("/", "$'a\\nb' \"$@\"", "sh"), b"").is_none());
        assert!(Simple::parse(&script("/", "-a x \"$@\"", "sh"), b"").is_none());
        assert!(Simple::parse(&script("/", "a; b \"$@\"", "sh"), b"").is_none());
        assert!(Simple::parse(&[&good[..], b"echo more\n"].concat(), b"").is_none());
        assert!(Simple::parse(b"exec \"$@\"\n", b"").is_none());
        assert!(Simple::parse(b"\xff", b"").is_none());
    }
}
