//! Mounts that are in no tree yet, by the mount API of Linux 5.2 and, to change them, 5.12.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sys::statvfs::{FsFlags, fstatvfs};

/// Of `enum fsconfig_command` in linux/mount.h.
const SET_FLAG: libc::c_uint = 0;
const SET_STRING: libc::c_uint = 1;
const CREATE: libc::c_uint = 6;

/// A copy of the mount at `path`, and with `recursive` of those below.
pub fn copy(path: &OsStr, recursive: bool) -> nix::Result<OwnedFd> {
    let path = terminated(path.as_bytes())?;
    let below = if recursive { libc::AT_RECURSIVE as libc::c_uint } else { 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | below;
    // SAFETY: the path is NUL-terminated.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// A copy of what has been opened, and with `recursive` of the mounts below.
pub fn copy_of(opened: BorrowedFd<'_>, recursive: bool) -> nix::Result<OwnedFd> {
    let below = if recursive { libc::AT_RECURSIVE } else { 0 };
    let flags = libc::OPEN_TREE_CLONE
        | libc::OPEN_TREE_CLOEXEC
        | (below | libc::AT_EMPTY_PATH) as libc::c_uint;
    let here = c"".as_ptr();
    // SAFETY: the path is NUL-terminated.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, opened.as_raw_fd(), here, flags) })
}

/// A new file system; `data` are its options as mount(2) takes them. The mount has the flags of
/// `change` from the beginning: without them the kernel could refuse what shows more than there was.
pub fn create(fstype: &str, source: &OsStr, data: &str, change: Change) -> nix::Result<OwnedFd> {
    let fstype = terminated(fstype)?;
    // SAFETY: the type is NUL-terminated.
    let fs =
        owned(unsafe { libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), libc::FSOPEN_CLOEXEC) })?;
    configure(&fs, SET_STRING, Some(c"source"), Some(&terminated(source.as_bytes())?))?;
    for option in data.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = match option.split_once('=') {
            Some((key, value)) => (key, Some(terminated(value)?)),
            None => (option, None),
        };
        let command = if value.is_some() { SET_STRING } else { SET_FLAG };
        configure(&fs, command, Some(&terminated(key)?), value.as_deref())?;
    }
    if change.add & libc::MOUNT_ATTR_RDONLY != 0 {
        configure(&fs, SET_FLAG, Some(c"ro"), None)?;
    }
    configure(&fs, CREATE, None, None)?;
    let (fs, flags) = (fs.as_raw_fd(), libc::FSMOUNT_CLOEXEC);
    // SAFETY: numbers only.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, fs, flags, change.add) })
}

fn configure(
    fs: &OwnedFd,
    command: libc::c_uint,
    key: Option<&CStr>,
    value: Option<&CStr>,
) -> nix::Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    let (key, value) = (pointer(key), pointer(value));
    // SAFETY: both are NUL-terminated, or null where the command has none.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), command, key, value, 0) })
}

/// What is to be changed of mounts.
#[derive(Clone, Copy)]
pub struct Change {
    /// Flags to add: those that [`Change::adding`] knows.
    add: u64,
    propagation: u64,
}

impl Change {
    /// `None` if one of the flags is another than these, which are of a mount and not of a whole
    /// file system.
    pub fn adding(flags: MsFlags, propagation: MsFlags) -> Option<Change> {
        let mut rest = flags;
        let mut add = 0;
        for (flag, attribute) in [
            (MsFlags::MS_RDONLY, libc::MOUNT_ATTR_RDONLY),
            (MsFlags::MS_NOSUID, libc::MOUNT_ATTR_NOSUID),
            (MsFlags::MS_NODEV, libc::MOUNT_ATTR_NODEV),
            (MsFlags::MS_NOEXEC, libc::MOUNT_ATTR_NOEXEC),
        ] {
            if rest.contains(flag) {
                rest.remove(flag);
                add |= attribute;
            }
        }
        let propagation = (propagation - MsFlags::MS_REC).bits();
        rest.is_empty().then_some(Change { add, propagation })
    }

    /// Carries it out, for all mounts below too if `recursive`.
    pub fn apply(self, mount: BorrowedFd<'_>, recursive: bool) -> nix::Result<()> {
        let Change { add, propagation } = self;
        if (add, propagation) == (0, 0) {
            return Ok(());
        }
        set_attributes(mount.as_raw_fd(), c"", recursive, (add, 0, propagation))
    }
}

/// Adds to an opened mount, wherever it is, what mount(2) would add by a bind that is mounted anew: flags of a whole
/// file system mean nothing to it. Read-only is so for all mounts below too if `recursive`.
pub fn restrict(mount: BorrowedFd<'_>, flags: MsFlags, recursive: bool) -> nix::Result<()> {
    let of_mount = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let none = MsFlags::empty();
    let adding = |flags| Change::adding(flags, none).ok_or(Errno::EINVAL);
    let Change { mut add, .. } = adding(flags & of_mount)?;
    let mut take = 0;
    if flags.contains(MsFlags::MS_NODIRATIME) {
        add |= libc::MOUNT_ATTR_NODIRATIME;
    }
    let has = |flag| fstatvfs(mount).is_ok_and(|stat| stat.flags().contains(flag));
    let time = match flags {
        _ if flags.contains(MsFlags::MS_STRICTATIME) => Some(libc::MOUNT_ATTR_STRICTATIME),
        _ if flags.contains(MsFlags::MS_NOATIME) => Some(libc::MOUNT_ATTR_NOATIME),
        _ if flags.contains(MsFlags::MS_RELATIME) && !has(FsFlags::ST_NOATIME) => {
            Some(libc::MOUNT_ATTR_RELATIME)
        }
        _ => None,
    };
    if let Some(time) = time {
        (add, take) = (add | time, libc::MOUNT_ATTR__ATIME);
    }
    if recursive {
        adding(flags & MsFlags::MS_RDONLY)?.apply(mount, true)?;
    }
    match (add, take) {
        (0, 0) => Ok(()),
        _ => set_attributes(mount.as_raw_fd(), c"", false, (add, take, 0)),
    }
}

/// Says how an opened mount, and with `MS_REC` those below, takes part in what is mounted elsewhere.
pub fn propagate(mount: BorrowedFd<'_>, how: MsFlags) -> nix::Result<()> {
    let recursive = how.contains(MsFlags::MS_REC);
    let propagation = (how - MsFlags::MS_REC).bits();
    set_attributes(mount.as_raw_fd(), c"", recursive, (0, 0, propagation))
}

/// Shows the files of a mount that is in no tree as those of others: as the user namespace maps them, which
/// is not kept.
pub fn map_owners(mount: BorrowedFd<'_>, users: BorrowedFd<'_>) -> nix::Result<()> {
    let users = users.as_raw_fd() as u64;
    change_attributes(mount.as_raw_fd(), c"", false, (libc::MOUNT_ATTR_IDMAP, 0, 0), users)
}

/// Takes read-only off a mount.
pub fn make_writable(mount: BorrowedFd<'_>) -> nix::Result<()> {
    set_attributes(mount.as_raw_fd(), c"", false, (0, libc::MOUNT_ATTR_RDONLY, 0))
}

/// From now on nobody follows a symbolic link in this mount; kernels before 5.14 cannot.
pub fn follow_no_links(mount: BorrowedFd<'_>) -> nix::Result<()> {
    set_attributes(mount.as_raw_fd(), c"", false, (libc::MOUNT_ATTR_NOSYMFOLLOW, 0, 0))
}

/// Makes the mount at `path`, which is in the tree, and all mounts below read-only.
pub fn make_readonly_recursively(path: &Path) -> nix::Result<()> {
    let path = terminated(path.as_os_str().as_bytes())?;
    set_attributes(libc::AT_FDCWD, &path, true, (libc::MOUNT_ATTR_RDONLY, 0, 0))
}

/// Adds, takes off, and sets the propagation.
fn set_attributes(
    fd: i32,
    path: &CStr,
    recursive: bool,
    changes: (u64, u64, u64),
) -> nix::Result<()> {
    change_attributes(fd, path, recursive, changes, 0)
}

fn change_attributes(
    fd: i32,
    path: &CStr,
    recursive: bool,
    (attr_set, attr_clr, propagation): (u64, u64, u64),
    userns_fd: u64,
) -> nix::Result<()> {
    let attributes = libc::mount_attr { attr_set, attr_clr, propagation, userns_fd };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is NUL-terminated, the structure lives through the call and its size is
    // given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
}

/// Mounts it where `target` has been opened.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> nix::Result<()> {
    let (mount, target, here) = (mount.as_raw_fd(), target.as_raw_fd(), c"".as_ptr());
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are NUL-terminated.
    check(unsafe { libc::syscall(libc::SYS_move_mount, mount, here, target, here, flags) })
}

/// A path or an option for the kernel.
fn terminated(text: impl Into<Vec<u8>>) -> nix::Result<CString> {
    CString::new(text).map_err(|_| Errno::EINVAL)
}

fn check(result: libc::c_long) -> nix::Result<()> {
    Errno::result(result).map(drop)
}

fn owned(fd: libc::c_long) -> nix::Result<OwnedFd> {
    let fd = Errno::result(fd)?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
