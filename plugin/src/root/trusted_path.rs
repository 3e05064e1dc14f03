//! The way to a place: whether somebody else could make it lead elsewhere.

use super::child::output::{some_of, some_of_path};
use super::text::after;
use crate::step::error::Fault;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::geteuid;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Of the table of mounts: in a longer one no file system is known to be a user's.
const MOUNTS: usize = 1 << 20;

/// Refuses a path that others than root and `owner` could make lead elsewhere: each directory on the
/// way belongs to them and is writable by its owner alone, or keeps the entries of others (sticky),
/// each symbolic link belongs to them, and so does a file at its end. What is `owner`'s is nowhere where anybody could have made
/// it: there a sticky directory is not enough.
pub(crate) fn check(path: &Path, owner: u32) -> Result<(), Fault> {
    let mut rest = path.to_owned();
    let mut at = PathBuf::from("/");
    let mut links = 0;
    loop {
        let mut parts = rest.iter();
        let Some(part) = parts.next() else { return Ok(()) };
        let (entry, after) = (at.join(part), parts.as_path().to_owned());
        if part == ".." {
            at.pop();
            rest = after;
            continue;
        }
        let stat = look(&entry)?.1;
        let kind = stat.st_mode & SFlag::S_IFMT.bits();
        let is_directory = kind == SFlag::S_IFDIR.bits();
        let keeps = kind == SFlag::S_IFLNK.bits()
            || is_directory && stat.st_mode & Mode::S_ISVTX.bits() != 0;
        let loose = stat.st_mode & 0o022 != 0 && !keeps;
        let trusted = [0, geteuid().as_raw()].contains(&stat.st_uid);
        let anybodys = !trusted && (stat.st_uid != owner || look(&at)?.1.st_mode & 0o022 != 0);
        if anybodys || loose {
            let problem = "others than root could put something else there";
            return Err(Fault::new("trust", &entry, problem));
        }
        if kind != SFlag::S_IFLNK.bits() {
            at = entry;
            rest = after;
            continue;
        }
        links += 1;
        let target = std::fs::read_link(&entry);
        rest = match target {
            Ok(target) if links <= 40 => target.join(after),
            _ => return Err(Fault::of("follow", &entry, Errno::ELOOP)),
        };
    }
}

/// What an entry is, in a directory that has been looked at: a link, not where it leads, and opened without
/// asking who serves it. Over a directory that all can write to a user can mount a file system (FUSE), whose
/// server need not answer: that is refused.
pub(crate) fn look(path: &Path) -> Result<(OwnedFd, FileStat), Fault> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let wrong = |errno| Fault::of("look at", path, errno);
    let entry = open(path, flags, Mode::empty()).map_err(wrong)?;
    if is_a_users_mount(&entry) {
        return Err(Fault::new("trust", path, "a user's file system is mounted there"));
    }
    let stat = fstat(&entry).map_err(wrong)?;
    Ok((entry, stat))
}

/// By the kernel's own words, which no server has a part in.
fn is_a_users_mount(entry: &OwnedFd) -> bool {
    let read = || {
        let own = some_of_path(&format!("/proc/self/fdinfo/{}", entry.as_raw_fd())).ok()?;
        let id = after(&own, b"mnt_id:\t")?.split(|byte| *byte == b'\n').next()?.to_owned();
        let mounts = some_of(&File::open("/proc/self/mountinfo").ok()?, MOUNTS).ok()?;
        Some(is_users(&mounts, &id))
    };
    read().unwrap_or(false)
}

/// Whether the mount of that number has a server that is not root's.
fn is_users(mounts: &[u8], id: &[u8]) -> bool {
    mounts.split(|byte| *byte == b'\n').any(|line| {
        // What comes before the last field has names of the user's in it, with no space in them.
        let options = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
        line.strip_prefix(id).is_some_and(|rest| rest.starts_with(b" "))
            && after(line, b" - fuse").is_some()
            && after(options, b",user_id=0,").is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_users_where_the_kernel_says_so() {
        let mounts = b"28 1 0:26 / /run rw - tmpfs tmpfs rw,mode=755\n\
            44 28 0:44 / /run/pyxis rw,nosuid - fuse.sshfs user_id=0 rw,user_id=1000,group_id=1000,allow_other\n\
            45 28 0:45 / /s3 rw - fuse.s3fs s3fs rw,user_id=0,group_id=0,allow_other\n\
            46 28 0:46 / /win rw - fuseblk /dev/sda1 rw,user_id=10,group_id=0\n";
        for (id, expected) in
            [("28", false), ("44", true), ("45", false), ("46", true), ("4", false)]
        {
            assert_eq!(is_users(mounts, id.as_bytes()), expected, "{id}");
        }
        assert!(!is_a_users_mount(&look(Path::new("/proc")).unwrap().0));
    }
}
