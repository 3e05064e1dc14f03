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
        let mut parts = entry.splitn(3, |byte| *byte == b':');
        let source = parts.next().unwrap_or_default();
        let target = parts.next().unwrap_or(source);
        let flags = parts.next().unwrap_or_default();
        if source.is_empty() || target.is_empty() {
            return Err(OptionError::MountFormat(lossy(entry)));
        }
        let defaults: &[u8] = match source {
            [b'.' | b'/', ..] => b"x-create=auto,rbind",
            b"tmpfs" => b"x-create=dir",
            b"umount" => b"x-detach",
            _ => return Err(OptionError::MountSource(lossy(entry))),
        };
        if !matches!(target, [b'.' | b'/', ..]) {
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
            source: OsString::from_vec(source.to_vec()),
            target: OsString::from_vec(target.to_vec()),
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

/// White space and backslashes as octal escapes, as fstab(5) has them.
fn escape(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_whitespace() || byte == b'\\' {
            out.extend_from_slice(format!("\\{byte:03o}").as_bytes());
        } else {
            out.push(byte);
        }
    }
    out
}
