//! The environment that a container starts with: the image's `/etc/environment`, what the caller
//! adds, and login defaults where both are silent.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Environment variables by name.
pub type Environ = BTreeMap<OsString, OsString>;

/// What begins a comment that has the line before it as it was, where a line cannot say it. To enroot
/// it is a comment.
const NOTE: &[u8] = b"#pyxis: ";

/// The file of a program in the directories of `path`, a value of `PATH`: the first that `is` one.
pub fn find_in_path(path: &OsStr, program: &str, is: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    std::env::split_paths(path).map(|directory| directory.join(program)).find(|file| is(file))
}

/// Reads lines of `NAME=VALUE` as enroot's importer writes them, with `${NAME}` replaced by its
/// value in `host` (nothing, where it has none). As [`entries`] otherwise.
pub fn parse(text: &[u8], host: &Environ) -> Environ {
    entries(&of_image(text, host)).collect()
}

/// Lines of an image with `${NAME}` replaced as by [`substitute`], but for those that have a note: what
/// an image's configuration has is meant as it is, what somebody wrote into the file as enroot reads it.
pub fn of_image(text: &[u8], host: &Environ) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut lines = text.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        match lines.next_if(|next| noted(line, Some(next)).is_some()) {
            Some(note) => out.extend([line, b"\n", note, b"\n"].concat()),
            None => {
                out.extend(substitute(line, host));
                out.push(b'\n');
            }
        }
    }
    out
}

/// The line for a variable, with a note where readers would take another value from the line, or none.
pub fn line(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = plain_line(name, value);
    out.push(b'\n');
    let unsaid = value.contains(&b'\n') || value.contains(&b'\r') || find(value, b"${").is_some();
    if (unsaid || !is_name(name)) && can_be_noted(name) {
        out.extend(NOTE);
        out.extend(name);
        out.push(b'=');
        for byte in value {
            match byte {
                b'\n' => out.extend(b"\\n"),
                b'\r' => out.extend(b"\\r"),
                b'\\' => out.extend(b"\\\\"),
                byte => out.push(*byte),
            }
        }
        out.push(b'\n');
    }
    out
}

/// As enroot's importer has it: a line cannot hold a line break, and readers take off one pair of
/// quotes, so that a value that has its own gets another.
fn plain_line(name: &[u8], value: &[u8]) -> Vec<u8> {
    let end = value.trim_ascii_end();
    let quoted = matches!(value, [b'"' | b'\'', ..]) && matches!(end, [.., b'"' | b'\'']);
    let quote: &[u8] = if quoted { b"\"" } else { b"" };
    let mut out = [name, b"=", quote, value, quote].concat();
    for byte in &mut out {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    out
}

/// The variable of a line and the note below it, if that is about this very line and not about one
/// that somebody has changed since.
fn noted(line: &[u8], next: Option<&[u8]>) -> Option<(Vec<u8>, Vec<u8>)> {
    let text = next?.strip_prefix(NOTE)?;
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let (name, escaped) = (&text[..equals], &text[equals + 1..]);
    let mut value = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(byte) = bytes.next() {
        value.push(match byte {
            b'\\' => match bytes.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                other => *other,
            },
            byte => *byte,
        });
    }
    (can_be_noted(name) && plain_line(name, &value) == line).then(|| (name.to_vec(), value))
}

/// Lines of `NAME=VALUE`: comments, blank lines, malformed names and the reserved `ENROOT_*` are
/// passed over, and one pair of surrounding quotes is taken off.
pub fn entries(text: &[u8]) -> impl Iterator<Item = (OsString, OsString)> + '_ {
    let lines = || text.split(|byte| *byte == b'\n');
    let below = lines().skip(1).map(Some).chain([None]);
    lines().zip(below).filter_map(|(line, below)| {
        if let Some((name, value)) = noted(line, below) {
            let wanted = !name.starts_with(b"ENROOT_");
            return wanted.then(|| (OsString::from_vec(name), OsString::from_vec(value)));
        }
        let line = line.trim_ascii_start();
        let equals = line.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&line[..equals], &line[equals + 1..]);
        let wanted = is_name(name) && !name.starts_with(b"ENROOT_");
        let owned = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        wanted.then(|| (owned(name), owned(unquote(value))))
    })
}

/// Lines without what [`entries`] passes over.
pub fn formatted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in entries(text) {
        out.extend(line(name.as_bytes(), value.as_bytes()));
    }
    out
}

/// One line for each variable.
pub fn to_lines(environ: &Environ) -> Vec<u8> {
    environ.iter().flat_map(|(name, value)| line(name.as_bytes(), value.as_bytes())).collect()
}

/// Whether a note can be about a variable of this name: programs read names that no shell can have (`a.b`,
/// `my-name`) as well. Functions that bash exports are the host's own.
pub fn can_be_noted(name: &[u8]) -> bool {
    let plain = |byte: &u8| !byte.is_ascii_whitespace() && !byte.is_ascii_control();
    !name.is_empty() && name.iter().all(plain) && !name.starts_with(b"BASH_FUNC_")
}

/// Whether `name` can be the name of a shell variable.
pub fn is_name(name: &[u8]) -> bool {
    name.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// NUL-separated `NAME=VALUE`, the form of `/proc/PID/environ`.
pub fn to_block(environ: &Environ) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in environ {
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        out.extend_from_slice(value.as_bytes());
        out.push(0);
    }
    out
}

/// Reads what [`to_block`] makes.
pub fn from_block(block: &[u8]) -> Environ {
    let mut environ = Environ::new();
    for variable in block.split(|byte| *byte == 0) {
        if let Some(equals) = variable.iter().position(|byte| *byte == b'=') {
            let (name, value) = (&variable[..equals], &variable[equals + 1..]);
            environ.insert(OsStr::from_bytes(name).into(), OsStr::from_bytes(value).into());
        }
    }
    environ
}

/// Adds what the caller wants: `NAME=VALUE`, or `NAME` for the value in `host`, which is empty for
/// a variable that is not set, as to enroot.
pub fn add_wanted(environ: &mut Environ, wanted: &[OsString], host: &Environ) {
    for item in wanted {
        let bytes = item.as_bytes();
        match bytes.iter().position(|byte| *byte == b'=') {
            Some(equals) => {
                let (name, value) = (&bytes[..equals], &bytes[equals + 1..]);
                environ.insert(OsStr::from_bytes(name).into(), OsStr::from_bytes(value).into());
            }
            None => {
                let value = host.get(item.as_os_str()).cloned().unwrap_or_default();
                environ.insert(item.clone(), value);
            }
        }
    }
}

/// A value without the pair of quotes around it, if there is one.
pub fn unquote(value: &[u8]) -> &[u8] {
    let trimmed = value.trim_ascii_end();
    match trimmed {
        [b'"' | b'\'', inner @ .., b'"' | b'\''] => inner,
        _ => value,
    }
}

/// Replaces `${NAME}` by its value in `host`, or by nothing.
pub fn substitute(line: &[u8], host: &Environ) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = find(rest, b"${") {
        let after = &rest[start + 2..];
        match after.iter().position(|byte| *byte == b'}') {
            Some(end) if is_name(&after[..end]) => {
                out.extend_from_slice(&rest[..start]);
                if let Some(value) = host.get(OsStr::from_bytes(&after[..end])) {
                    out.extend_from_slice(value.as_bytes());
                }
                rest = &after[end + 1..];
            }
            _ => {
                out.extend_from_slice(&rest[..start + 2]);
                rest = after;
            }
        }
    }
    out.extend_from_slice(rest);
    out
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host() -> Environ {
        [("TERM", "xterm"), ("A", "1")].map(|(name, value)| (name.into(), value.into())).into()
    }

    #[test]
    fn reads_what_the_importer_writes() {
        let text = b"# comment\nPATH=/usr/bin:/bin\n  Q=\"quoted value\" \nTERM=${TERM}-${NONE}\n\
            ENROOT_X=1\n1BAD=2\nno equals\nEMPTY=\nHALF=\"open\nDOLLAR=$A ${A} ${not closed\n";
        let got = parse(text, &host());
        let show: Vec<String> = got
            .iter()
            .map(|(name, value)| format!("{}={}", name.to_str().unwrap(), value.to_str().unwrap()))
            .collect();
        assert_eq!(
            show,
            [
                "DOLLAR=$A 1 ${not closed",
                "EMPTY=",
                "HALF=\"open",
                "PATH=/usr/bin:/bin",
                "Q=quoted value",
                "TERM=xterm-"
            ]
        );
    }

    #[test]
    fn a_note_is_about_the_line_above_it() {
        let host = host();
        let read = |text: &[u8]| {
            let got = parse(text, &host);
            got.get(OsStr::new("A")).map(|value| value.as_bytes().to_vec())
        };
        let written = line(b"A", b"a\nb ${A} \\n");
        assert_eq!(written, b"A=a b ${A} \\n\n#pyxis: A=a\\nb ${A} \\\\n\n");
        assert_eq!(read(&written).unwrap(), b"a\nb ${A} \\n");
        // Changed by hand since, or moved.
        assert_eq!(read(b"A=changed\n#pyxis: A=a\\nb\n").unwrap(), b"changed");
        assert_eq!(read(b"B=a b\n#pyxis: A=a\\nb\n"), None);
        assert_eq!(read(b"A=a ${A}\n\n#pyxis: A=a ${A}\n").unwrap(), b"a 1");
        assert_eq!(read(b"#pyxis: A=a\\nb\n"), None);
        assert_eq!(read(b"ENROOT_A=a b\n#pyxis: ENROOT_A=a\\nb\nA=1").unwrap(), b"1");
    }

    #[test]
    fn names_that_no_shell_can_have_need_a_note() {
        let names = ["a.b", "my-name", "1X", "a[0]", "Ä", "#x", "A:B"];
        let environ: Environ = names.map(|name| (name.into(), "x".into())).into();
        let lines = to_lines(&environ);
        assert_eq!(parse(&lines, &host()), environ);
        assert_eq!(parse(&formatted(&lines), &host()), environ);
        // enroot passes over such lines.
        assert_eq!(parse(b"a.b=x\n", &host()), Environ::new());
        for name in ["", "a b", "a\nb", "\t", "BASH_FUNC_x%%"] {
            let line = line(name.as_bytes(), b"x");
            assert_eq!(parse(&line, &host()), Environ::new(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_value_is_read_as_it_was_written(
            values in prop::collection::vec("[ \"'\\\\a-c$\\{\\}\n\r#=:]{0,12}|\\PC{0,8}", 1..5),
        ) {
            let environ: Environ = (values.iter().enumerate())
                .map(|(at, value)| (format!("V{at}").into(), value.into()))
                .collect();
            let lines = to_lines(&environ);
            prop_assert_eq!(&parse(&lines, &host()), &environ);
            prop_assert_eq!(&parse(&formatted(&lines), &host()), &environ);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_clean_names(text in prop::collection::vec(any::<u8>(), 0..200)) {
            for name in parse(&text, &host()).keys() {
                prop_assert!(can_be_noted(name.as_bytes()));
            }
        }
    }
}
