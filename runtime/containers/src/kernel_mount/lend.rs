//! Root's part: from an opened image to a mount that one user may have.
//!
//! The mount is made in a mount namespace of this process's own, so that nothing is in the node's tree, whoever
//! is killed and when: with the last copy of the mount the file system goes, and with that the block device.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, Pid};

use handover::fork::fork;
use linux::detached::{self, Change};
use linux::loop_device::LoopDevice;
use linux::{channel, sys};

/// Where the image is mounted for a moment, in a tree that nobody else sees. It is there on every node, and what
/// is in it is needed no more by then.
const PLACE: &str = "/dev";

/// Mounts the image, whose files belong to root, for a user to whom they are to belong: read-only, without
/// set-user-id and devices, none of which the user can change. `name` is that of the file.
///
/// # Errors
/// What the kernel refuses; the calling process, which must have one thread, should then end.
pub fn lend(image: &File, name: &OsStr, user: (u32, u32)) -> io::Result<OwnedFd> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let change = Change::adding(flags, MsFlags::empty()).ok_or(io::ErrorKind::InvalidInput)?;
    let device = LoopDevice::of(image, name).map_err(doing("a loop device"))?;
    let whole = detached::create("squashfs", device.path.as_os_str(), "", change);
    let whole = whole.map_err(|errno| doing("squashfs")(errno.into()))?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let place = open(PLACE, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    detached::attach(whole.as_fd(), place.as_fd())?;
    let (copy, users) = locked_copy(user).map_err(doing("a copy of its mount"))?;
    let mapped = detached::map_owners(copy.as_fd(), users.as_fd());
    mapped.map_err(|errno| doing("its owners")(errno.into()))?;
    Ok(copy)
}

/// What was being done, for who wonders why there is a server.
fn doing(what: &str) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::other(format!("{what}: {error}"))
}

/// A copy of the mount at [`PLACE`] with flags that its user cannot take off, and a user namespace in which that
/// user is root.
///
/// The kernel locks the flags of mounts that come into a mount namespace of another user namespace. (A
/// mount that was never in one is its new owner's to change: nodev and all.)
fn locked_copy(user: (u32, u32)) -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = channel::pair()?;
    match fork()? {
        ForkResult::Child => {
            drop(ours);
            let copied = copy_within().and_then(|copy| channel::send(&theirs, &copy));
            // Until its user namespace is not looked for here any more.
            let _ = copied.is_ok() && channel::receive(theirs.as_raw_fd()).is_ok();
            crate::start::exit_now(copied.is_err().into());
        }
        ForkResult::Parent { child } => {
            drop(theirs);
            let copy = channel::receive(ours.as_raw_fd())?;
            // It ends by itself, whatever fails here. Nobody waits for that, which takes the kernel longer than all
            // of the above: it is init's when this process ends.
            Ok((copy, map(child, user)?))
        }
    }
}

/// In the child: both namespaces at once, for each call waits for the kernel's other processors.
fn copy_within() -> io::Result<OwnedFd> {
    sys::die_with_parent()?;
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    Ok(detached::copy(Path::new(PLACE).as_os_str(), false)?)
}

/// Maps root in the user namespace of the child to the user. Only who is root outside can.
fn map(child: Pid, (uid, gid): (u32, u32)) -> io::Result<OwnedFd> {
    let of = |file: &str| format!("/proc/{child}/{file}");
    fs::write(of("uid_map"), format!("0 {uid} 1"))?;
    fs::write(of("gid_map"), format!("0 {gid} 1"))?;
    Ok(File::open(of("ns/user"))?.into())
}
