//! Entries of `--container-mounts`.

use super::error::{OptionError, lossy};
use hygiene::fstab;
use hygiene::text::parse_bool;
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
    /// Reads one `SRC[:DST[:FLAGS]]`, or the long form of docker's `--mount`, `type=bind,src=SRC,dst=DST[,ro]`.
    pub(super) fn parse(entry: &[u8]) -> Result<Mount, OptionError> {
        if begins_long(entry) {
            return Mount::parse_long(entry);
        }
        let (source, rest) = cut(entry, b':');
        let (target, flags) = cut(rest.unwrap_or(source), b':');
        Mount::of(entry, source, target, flags.unwrap_or_default())
    }

    fn parse_long(entry: &[u8]) -> Result<Mount, OptionError> {
        let malformed = || OptionError::MountFormat(lossy(entry));
        let mut parts: [&[u8]; 3] = [b"bind", b"", b""];
        let mut flags = Vec::new();
        let mut list = Some(entry);
        while let Some(text) = list {
            let (word, rest) = cut(text, b',');
            list = rest;
            let (part, flag, value) = known(word).ok_or_else(malformed)?;
            match parts.get_mut(part) {
                Some(part) => *part = value,
                None => {
                    for text in [b"+", flag.as_bytes(), value] {
                        flags.extend_from_slice(text);
                    }
                }
            }
        }
        let [kind, source, target] = parts;
        let source = match (kind, source) {
            (b"tmpfs", b"") => b"tmpfs",
            (b"bind", [b'.' | b'/', ..]) => source,
            (b"squashfs", [b'.' | b'/', ..]) => {
                flags.extend_from_slice(b"+sqsh");
                source
            }
            _ => return Err(malformed()),
        };
        Mount::of(entry, source, target, flags.get(1..).unwrap_or_default())
    }

    /// Of the parts that `entry` has.
    fn of(entry: &[u8], source: &[u8], target: &[u8], flags: &[u8]) -> Result<Mount, OptionError> {
        let (source, target) = (unescaped(source), unescaped(target));
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
        let mut line = fstab::escape(self.source.as_bytes());
        line.push(b' ');
        line.extend(fstab::escape(self.target.as_bytes()));
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

/// The first entry of a list and what is behind it. One in the long form has commas of its own: it ends where
/// something else begins, or a second type.
pub(super) fn cut_entry(list: &[u8]) -> (&[u8], Option<&[u8]>) {
    let (first, mut rest) = cut(list, b',');
    let (mut length, mut typed) = (first.len(), false);
    let mut word = first;
    while begins_long(first) {
        typed |= is_type(word);
        let Some(text) = rest else { break };
        let (next, behind) = cut(text, b',');
        if known(next).is_none() || typed && is_type(next) {
            break;
        }
        length += 1 + next.len();
        (word, rest) = (next, behind);
    }
    (&list[..length], rest)
}

/// Words of the long form. One text is smaller than an array of them.
const WORDS: &str = "type src source dst target destination ro readonly bind-propagation tmpfs-size tmpfs-mode consistency";
/// What is no part but a flag.
const FLAG: usize = 3;

/// Which part a word of the long form gives (0 the type, 1 the source, 2 the target, or a flag), what a flag is in
/// the short form, and its value.
fn known(word: &[u8]) -> Option<(usize, &'static str, &[u8])> {
    let end = word.iter().position(|byte| *byte == b'=').unwrap_or(word.len());
    let (name, value) = (&word[..end], word.get(end + 1..).unwrap_or_default());
    match WORDS.split(' ').position(|known| known.as_bytes() == name)? {
        0 => Some((0, "", value)),
        1..=2 => Some((1, "", value)),
        3..=5 => Some((2, "", value)),
        6..=7 if value.is_empty() => Some((FLAG, "ro", b"")),
        6..=7 => parse_bool(value).map(|yes| (FLAG, if yes { "ro" } else { "rw" }, &b""[..])),
        8 => Some((FLAG, "", value)),
        9 => Some((FLAG, "size=", value)),
        10 => Some((FLAG, "mode=", value)),
        // Of docker's virtual machines: as an option that means nothing to mounts.
        11 => Some((FLAG, "x-", value)),
        _ => None,
    }
}

fn begins_long(entry: &[u8]) -> bool {
    known(entry).is_some_and(|(part, ..)| part < FLAG)
}

fn is_type(word: &[u8]) -> bool {
    word.starts_with(b"type=")
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
