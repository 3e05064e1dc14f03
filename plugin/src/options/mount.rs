//! Entries of `--container-mounts`.

use super::error::{OptionError, lossy};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// One mount asked for, its flags in fstab's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Path on the node, or `tmpfs` or `umount`.
    pub source: OsString,
    /// Path in the container.
    pub target: OsString,
    /// Comma-separated, defaults first.
    pub flags: OsString,
}

impl Mount {
    /// Reads one `SRC[:DST[:FLAGS]]`.
    pub(super) fn parse(entry: &[u8]) -> Result<Mount, OptionError> {
        let (source, rest) = cut(entry, b':');
        let (target, flags) = cut(rest.unwrap_or(source), b':');
        let (source, target) = (unescaped(source), unescaped(target));
        let flags = flags.unwrap_or_default();
        if source.is_empty() || target.is_empty() {
            return Err(OptionError::MountFormat(lossy(entry)));
        }
        let defaults: &[u8] = match source.as_slice() {
            [b'.' | b'/', ..] => b"x-create=auto,rbind",
            b"tmpfs" => b"x-create=dir",
            b"umount" => b"x-detach",
            _ => return Err(OptionError::MountSource(lossy(entry))),
        };
        if !matches!(target.as_slice(), [b'.' | b'/', ..]) {
            return Err(OptionError::MountTarget(lossy(entry)));
        }
        // They become one field of an fstab line: a space would make them two, and what no
        // runtime can read must not turn a "ro" into nothing.
        let clean = std::str::from_utf8(flags)
            .is_ok_and(|flags| !flags.contains(|letter: char| letter.is_whitespace()));
        if !clean {
            return Err(OptionError::MountFlags(lossy(entry)));
        }
        let mut all = defaults.to_vec();
        if !flags.is_empty() {
            all.push(b',');
            // "," separates entries on the command line, so flags are joined by "+".
            all.extend(flags.iter().map(|&byte| if byte == b'+' { b',' } else { byte }));
        }
        Ok(Mount {
            source: OsString::from_vec(source),
            target: OsString::from_vec(target),
            flags: OsString::from_vec(all),
        })
    }

    /// A read-only bind of one file at its own path (the batch script).
    pub fn readonly_file(path: OsString) -> Mount {
        let flags = "x-create=file,bind,ro,nosuid,nodev,private".into();
        Mount { target: path.clone(), source: path, flags }
    }

    /// As a line of fstab(5), its paths escaped.
    pub fn fstab_line(&self) -> OsString {
        let mut line = escape(self.source.as_bytes());
        line.push(b' ');
        line.extend(escape(self.target.as_bytes()));
        line.push(b' ');
        line.extend_from_slice(self.flags.as_bytes());
        OsString::from_vec(line)
    }
}

/// What is before the first `separator` and what is behind it. One that follows a backslash is of a path's name,
/// unless a path begins behind it: the backslash is of the name then, as the original has it.
pub(super) fn cut(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    let ends = |at: &usize| {
        let (before, behind) = (&text[..*at], &text[*at + 1..]);
        text[*at] == separator && (!before.ends_with(b"\\") || matches!(behind, [b'/' | b'.', ..]))
    };
    match (0..text.len()).find(ends) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// Without the backslashes before `:` and `,`. All others are of the name.
fn unescaped(path: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(path.len());
    let mut bytes = path.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let named = bytes.next_if(|next| byte == b'\\' && matches!(next, b':' | b','));
        name.push(named.unwrap_or(byte));
    }
    name
}

/// White space and backslashes as octal escapes, as fstab(5) has them.
fn escape(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_whitespace() || byte == b'\\' {
            out.extend_from_slice(&[
                b'\\',
                b'0' + (byte >> 6),
                b'0' + (byte >> 3 & 7),
                b'0' + (byte & 7),
            ]);
        } else {
            out.push(byte);
        }
    }
    out
}
