//! The way to a place: whether somebody else could make it lead elsewhere.

use super::child::output::{some_of, some_of_path};
use super::text::after;
use crate::options::components::number;
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
    let mut last = None;
    loop {
        let mut parts = rest.iter();
        let Some(part) = parts.next() else { return Ok(()) };
        let (entry, after) = (at.join(part), parts.as_path().to_owned());
        if part == ".." {
            at.pop();
            rest = after;
            continue;
        }
        let found = look_after(last.as_ref(), &entry)?;
        let stat = found.stat;
        last = Some(found);
        let kind = stat.st_mode & SFlag::S_IFMT.bits();
        let is_directory = kind == SFlag::S_IFDIR.bits();
        let keeps = kind == SFlag::S_IFLNK.bits()
            || is_directory && stat.st_mode & Mode::S_ISVTX.bits() != 0;
        let loose = stat.st_mode & 0o022 != 0 && !keeps;
        let trusted = [0, geteuid().as_raw()].contains(&stat.st_uid);
        let anybodys = !trusted && (stat.st_uid != owner || look(&at)?.stat.st_mode & 0o022 != 0);
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

/// What was found at a place; held open.
pub(crate) struct Entry {
    pub(crate) file: OwnedFd,
    pub(crate) stat: FileStat,
    /// The number of the mount that it is on, which no other one has as long as this is open.
    mount: Option<u32>,
}

/// What an entry is, in a directory that has been looked at: a link, not where it leads, and opened without
/// asking who serves it. Over a directory that all can write to a user can mount a file system (FUSE), whose
/// server need not answer: that is refused.
pub(crate) fn look(path: &Path) -> Result<Entry, Fault> {
    look_after(None, path)
}

/// What is on the mount of what was looked at before is no user's either: the table of all mounts may be long.
fn look_after(last: Option<&Entry>, path: &Path) -> Result<Entry, Fault> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let wrong = |errno| Fault::of("look at", path, errno);
    let file = open(path, flags, Mode::empty()).map_err(wrong)?;
    let mount = mount_of(&file);
    let known = last.is_some_and(|last| last.mount == mount);
    if !known && mount.is_some_and(is_a_users) {
        return Err(Fault::new("trust", path, "a user's file system is mounted there"));
    }
    let stat = fstat(&file).map_err(wrong)?;
    Ok(Entry { file, stat, mount })
}

/// The number of its mount, by the kernel's own words, which no server has a part in.
fn mount_of(file: &OwnedFd) -> Option<u32> {
    let own = some_of_path(&format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    number(after(&own, b"mnt_id:\t")?.split(|byte| *byte == b'\n').next()?)
}

fn is_a_users(mount: u32) -> bool {
    let mounts = File::open("/proc/self/mountinfo").and_then(|table| some_of(&table, MOUNTS));
    mounts.is_ok_and(|mounts| is_users(&mounts, mount))
}

/// Whether the mount of that number has a server that is not root's.
fn is_users(mounts: &[u8], mount: u32) -> bool {
    mounts.split(|byte| *byte == b'\n').any(|line| {
        // What comes before the last field has names of the user's in it, with no space in them.
        let options = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
        line.split(|byte| *byte == b' ').next().and_then(number) == Some(mount)
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
        for (id, expected) in [(28, false), (44, true), (45, false), (46, true), (4, false)] {
            assert_eq!(is_users(mounts, id), expected, "{id}");
        }
        assert!(look(Path::new("/proc")).unwrap().mount.is_some_and(|mount| !is_a_users(mount)));
    }

    /// How often the calling thread has read from a file.
    fn reads() -> usize {
        let counts = std::fs::read_to_string("/proc/thread-self/io").unwrap();
        let count = counts.lines().find_map(|line| line.strip_prefix("syscr: "));
        count.unwrap().parse().unwrap()
    }

    #[test]
    fn the_table_of_mounts_is_read_for_a_mount_and_not_for_each_directory() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp.path().join("a/b/c/d/e/f");
        std::fs::create_dir_all(&deep).unwrap();
        let reads_of = |path| {
            let before = reads();
            check(path, geteuid().as_raw()).unwrap();
            reads() - before
        };
        let (few, more) = (reads_of(temp.path()), reads_of(&deep));
        assert_eq!(more - few, 6 * 2, "of its number only: a read, and one more for the end");
    }
}
