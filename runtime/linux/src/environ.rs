//! The environment that a container starts with: the image's `/etc/environment`, what the caller
//! adds, and login defaults where both are silent.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Environment variables by name.
pub type Environ = BTreeMap<OsString, OsString>;

/// Reads lines of `NAME=VALUE` as enroot's importer writes them, with `${NAME}` replaced by its
/// value in `host` (nothing, where it has none). As [`entries`] otherwise.
pub fn parse(text: &[u8], host: &Environ) -> Environ {
    entries(&substitute(text, host)).collect()
}

/// Lines of `NAME=VALUE`: comments, blank lines, malformed names and the reserved `ENROOT_*` are
/// passed over, and one pair of surrounding quotes is taken off.
pub fn entries(text: &[u8]) -> impl Iterator<Item = (OsString, OsString)> + '_ {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
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
        out.extend([name.as_bytes(), b"=", value.as_bytes(), b"\n"].concat());
    }
    out
}

/// One line for each variable.
pub fn to_lines(environ: &Environ) -> Vec<u8> {
    let line = |(name, value): (&OsString, &OsString)| {
        [name.as_bytes(), b"=", value.as_bytes(), b"\n"].concat()
    };
    environ.iter().flat_map(line).collect()
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

fn unquote(value: &[u8]) -> &[u8] {
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

    proptest! {
        #[test]
        fn any_bytes_give_clean_names(text in prop::collection::vec(any::<u8>(), 0..200)) {
            for name in parse(&text, &host()).keys() {
                prop_assert!(is_name(name.as_bytes()));
            }
        }
    }
}
