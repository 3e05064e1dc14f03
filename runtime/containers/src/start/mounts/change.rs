//! How a mount comes to be where it is to be, and what it is changed by: by descriptors, for a program of a container that
//! runs may have a path lead elsewhere at any time. A mount has its flags before anybody sees it.
//!
//! Kernels before 5.12 cannot, and go by paths.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount as mount_at};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, fchdir};

use crate::fstab::Entry;
use crate::start::error::StartError;
use crate::start::roots::{Roots, TREE};
use linux::detached::{self, Change};

const NONE: Option<&str> = None;
const BIND: MsFlags = MsFlags::MS_BIND.union(MsFlags::MS_REC);

/// Mounts what a line says at an opened place in the present root, which is the container's; `target` is its path. Returns the
/// mount, where the kernel can say which it is.
pub(super) fn mount(
    entry: &Entry,
    source: Option<&OwnedFd>,
    there: &OwnedFd,
    target: &Path,
) -> nix::Result<Option<OwnedFd>> {
    let made = match source {
        Some(source) => copy(entry, source),
        None => create(entry),
    };
    let attached = made.map(|mount| attach(&mount, there).map(|()| mount));
    match attached {
        // No program of a container can make the kernel say that it does not know these calls, or forbids them. What it has
        // against the mount is said of the usual way, or it has nothing against that one.
        Err(_) | Ok(Err(Errno::ENOSYS | Errno::EPERM)) => {
            match source {
                Some(source) => bind_by_path(entry, source, target)?,
                None => mount_new(entry, there, target)?,
            }
            Ok(None)
        }
        Ok(attached) => attached.map(Some),
    }
}

/// Changes what is mounted already: as `remount` and words about propagation without anything to mount do.
pub(super) fn change(entry: &Entry, mount: BorrowedFd<'_>, target: &Path) -> nix::Result<()> {
    let per_mount = entry.flags - BIND - MsFlags::MS_REMOUNT;
    if entry.flags.contains(MsFlags::MS_REMOUNT) {
        restrict(mount, per_mount, false).or_else(|errno| {
            by_path(mount, target, errno, |path| restrict_by_path(path, per_mount, false))
        })?;
    }
    propagate(mount, entry.propagation, target)
}

fn propagate(mount: BorrowedFd<'_>, how: MsFlags, target: &Path) -> nix::Result<()> {
    if how.is_empty() {
        return Ok(());
    }
    detached::propagate(mount, how).or_else(|errno| {
        by_path(mount, target, errno, |path| mount_at(NONE, path, NONE, how, NONE))
    })
}

/// Does by a path what could not be done otherwise. That of a directory is the one in which this process is then; that of a
/// file is gone only if the kernel cannot do otherwise.
fn by_path(
    there: BorrowedFd<'_>,
    target: &Path,
    errno: Errno,
    change: impl FnOnce(&Path) -> nix::Result<()>,
) -> nix::Result<()> {
    if !is_directory(there) {
        return if errno == Errno::ENOSYS { change(target) } else { Err(errno) };
    }
    fchdir(there)?;
    let done = change(Path::new("."));
    chdir("/")?;
    done
}

/// A mount of what has been opened, in no tree yet.
fn copy(entry: &Entry, source: &OwnedFd) -> nix::Result<OwnedFd> {
    let wanted = entry.flags.contains(MsFlags::MS_REC);
    let (mount, recursive) = match detached::copy_of(source.as_fd(), wanted) {
        // In a user namespace the kernel has no directory without what is mounted below, since that would show what the
        // mounts cover.
        Err(Errno::EINVAL) if !wanted => (detached::copy_of(source.as_fd(), true)?, true),
        copied => (copied?, wanted),
    };
    restrict(mount.as_fd(), entry.flags - BIND, recursive)?;
    propagate_new(&mount, entry)?;
    Ok(mount)
}

/// A new file system, in no tree yet.
fn create(entry: &Entry) -> nix::Result<OwnedFd> {
    let flags = Change::adding(entry.flags, MsFlags::empty()).ok_or(Errno::ENOTSUP)?;
    let mount = detached::create(&entry.fstype, &entry.source, &entry.data, flags)?;
    propagate_new(&mount, entry)?;
    Ok(mount)
}

fn propagate_new(mount: &OwnedFd, entry: &Entry) -> nix::Result<()> {
    match entry.propagation.is_empty() {
        true => Ok(()),
        false => detached::propagate(mount.as_fd(), entry.propagation),
    }
}

fn attach(mount: &OwnedFd, there: &OwnedFd) -> nix::Result<()> {
    match detached::attach(mount.as_fd(), there.as_fd()) {
        Err(Errno::EINVAL) if is_directory(mount.as_fd()) != is_directory(there.as_fd()) => {
            Err(Errno::ENOTDIR)
        }
        attached => attached,
    }
}

/// A new file system by mount(2), which takes options that the other way does not.
fn mount_new(entry: &Entry, there: &OwnedFd, target: &Path) -> nix::Result<()> {
    let data = (!entry.data.is_empty()).then_some(entry.data.as_str());
    let (source, fstype) = (Some(entry.source.as_os_str()), Some(entry.fstype.as_str()));
    let new = |path: &Path| mount_at(source, path, fstype, entry.flags, data);
    by_path(there.as_fd(), target, Errno::ENOTDIR, new)?;
    // It is private already.
    let open = MsFlags::MS_SHARED | MsFlags::MS_UNBINDABLE;
    match entry.propagation.intersects(open) {
        true => mount_at(NONE, target, NONE, entry.propagation, NONE),
        false => Ok(()),
    }
}

fn restrict(mount: BorrowedFd<'_>, flags: MsFlags, recursive: bool) -> nix::Result<()> {
    match flags.is_empty() {
        true => Ok(()),
        false => detached::restrict(mount, flags, recursive),
    }
}

fn bind_by_path(entry: &Entry, source: &OwnedFd, target: &Path) -> nix::Result<()> {
    let recursive = bind(source, target, entry.flags & BIND)?;
    let per_mount = entry.flags - BIND;
    if !per_mount.is_empty() {
        restrict_by_path(target, per_mount, recursive)?;
    }
    match entry.propagation.is_empty() {
        true => Ok(()),
        false => mount_at(NONE, target, NONE, entry.propagation, NONE),
    }
}

/// Binds an opened path, whatever tree it is in, to `target` in the present root. A file is found by
/// that root's `/proc`. Returns whether what is mounted below came along.
fn bind(source: &OwnedFd, target: &Path, flags: MsFlags) -> nix::Result<bool> {
    if is_directory(source.as_fd()) {
        fchdir(source)?;
        let bind = |flags| mount_at(Some("."), target, NONE, flags, NONE);
        let bound = match bind(flags) {
            Err(Errno::EINVAL) if !flags.contains(MsFlags::MS_REC) => {
                bind(flags | MsFlags::MS_REC).map(|()| true)
            }
            bound => bound.map(|()| flags.contains(MsFlags::MS_REC)),
        };
        chdir("/")?;
        return bound;
    }
    let path = format!("/proc/self/fd/{}", source.as_raw_fd());
    mount_at(Some(path.as_str()), target, NONE, flags, NONE).map(|()| false)
}

/// Binds an opened directory to a path of the stage.
pub(in crate::start) fn bind_directory(
    source: &OwnedFd,
    target: &str,
    recursive: bool,
) -> Result<(), StartError> {
    let mut flags = MsFlags::MS_BIND;
    flags.set(MsFlags::MS_REC, recursive);
    bind(source, Path::new(target), flags)
        .map(drop)
        .map_err(|errno| StartError::mount("a directory", target, errno))
}

/// Adds `flags` to a mount. In a user namespace the flags it has are locked and must be repeated.
fn restrict_by_path(target: &Path, flags: MsFlags, recursive: bool) -> nix::Result<()> {
    if recursive && flags.contains(MsFlags::MS_RDONLY) {
        // Without this, file systems mounted below a read-only source would stay writable.
        // Kernels before 5.12 cannot; there the top mount alone is read-only, as with enroot.
        let _ = detached::make_readonly_recursively(target);
    }
    let have = statvfs(target)?.flags();
    let mut all = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    for (has, flag) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        all.set(flag, all.contains(flag) || have.contains(has));
    }
    mount_at(NONE, target, NONE, all, NONE)
}

/// Makes the mount at a path of the present root read-only, and those below, one by one.
pub(in crate::start) fn readonly_below(path: &Path) -> nix::Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(|_| Errno::EIO)?;
    let targets = table.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    // Where one cannot be reached, it is below another one.
    targets
        .filter(|target| target.starts_with(path))
        .map(|target| restrict_by_path(target, MsFlags::MS_RDONLY, false))
        .filter(|done| *done != Err(Errno::ENOENT))
        .collect()
}

/// Makes the container's root read-only.
pub(in crate::start) fn make_root_readonly(roots: &mut Roots) -> Result<(), StartError> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let mut stage = roots.stage()?;
    let restricted = stage.tree().and_then(|tree| restrict(tree.as_fd(), flags, false));
    let restricted = restricted.or_else(|errno| {
        let tree = stage.tree()?.as_fd();
        by_path(tree, Path::new(TREE), errno, |path| restrict_by_path(path, flags, false))
    });
    restricted.map_err(|errno| StartError::mount("the root filesystem read-only", "/", errno))
}

pub(super) fn is_directory(fd: BorrowedFd<'_>) -> bool {
    fstat(fd)
        .is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR)
}
