//! The way to a place: whether somebody else could make it lead elsewhere.

use crate::step::error::in_words;
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, lstat};
use nix::unistd::geteuid;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What is wrong with a way, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) operation: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) problem: String,
}

/// Refuses a path that others than root and `owner` could make lead elsewhere: each directory on the
/// way belongs to them and is writable by its owner alone, or keeps the entries of others (sticky),
/// and each symbolic link belongs to them. What is `owner`'s is nowhere where anybody could have made
/// it: there a sticky directory is not enough.
pub(crate) fn check(path: &Path, owner: u32) -> Result<(), Fault> {
    let failed = |operation, path: &Path, errno: Errno| Fault {
        operation,
        path: path.to_owned(),
        problem: in_words(errno),
    };
    let mut parts: Vec<OsString> = Vec::new();
    let push = |parts: &mut Vec<OsString>, path: &Path| {
        parts.extend(path.components().rev().map(|part| part.as_os_str().to_owned()));
    };
    push(&mut parts, path);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = parts.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let entry = at.join(part);
        let look = |path: &Path| lstat(path).map_err(|errno| failed("look at", path, errno));
        let stat = look(&entry)?;
        let kind = stat.st_mode & SFlag::S_IFMT.bits();
        let loose = kind == SFlag::S_IFDIR.bits()
            && stat.st_mode & 0o022 != 0
            && stat.st_mode & Mode::S_ISVTX.bits() == 0;
        let trusted = [0, geteuid().as_raw()].contains(&stat.st_uid);
        let anybodys = !trusted && (stat.st_uid != owner || look(&at)?.st_mode & 0o022 != 0);
        if anybodys || loose {
            let problem = "others than root could put something else there".to_owned();
            return Err(Fault { operation: "trust", path: entry, problem });
        }
        if kind != SFlag::S_IFLNK.bits() {
            at = entry;
            continue;
        }
        links += 1;
        if links > 40 {
            return Err(failed("look at", &entry, Errno::ELOOP));
        }
        let target = std::fs::read_link(&entry);
        push(&mut parts, &target.map_err(|_| failed("read", &entry, Errno::EINVAL))?);
    }
    Ok(())
}
