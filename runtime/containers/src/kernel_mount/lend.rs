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
use nix::unistd::{ForkResult, Pid, pipe2, read, write};

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
    let device = LoopDevice::of(image, name)?;
    let whole = detached::create("squashfs", device.path.as_os_str(), "", change)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let place = open(PLACE, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    detached::attach(whole.as_fd(), place.as_fd())?;
    let (copy, users) = locked_copy(user)?;
    detached::map_owners(copy.as_fd(), users.as_fd())?;
    Ok(copy)
}

/// A copy of the mount at [`PLACE`] with flags that its user cannot take off, and a user namespace in which that
/// user is root.
///
/// The kernel locks the flags of mounts that come into a mount namespace of another user namespace. (A
/// mount that was never in one is its new owner's to change: nodev and all.)
fn locked_copy(user: (u32, u32)) -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = channel::pair()?;
    let (entered, has_entered) = pipe2(OFlag::O_CLOEXEC)?;
    let (mapped, is_mapped) = pipe2(OFlag::O_CLOEXEC)?;
    match fork()? {
        ForkResult::Child => {
            drop((ours, entered, is_mapped));
            let copied =
                copy_within(&has_entered, &mapped).and_then(|copy| channel::send(&theirs, &copy));
            crate::start::exit_now(copied.is_err().into());
        }
        ForkResult::Parent { child } => {
            drop((theirs, has_entered, mapped));
            let copied = map(child, user, &entered, &is_mapped).and_then(|users| {
                let copy = channel::receive(ours.as_raw_fd())?;
                Ok((copy, users))
            });
            // It ends by itself, whatever has failed here. Nobody waits for that, which takes the kernel longer than all
            // of the above: it is init's when this process ends.
            copied
        }
    }
}

/// In the child.
fn copy_within(has_entered: &OwnedFd, mapped: &OwnedFd) -> io::Result<OwnedFd> {
    sys::die_with_parent()?;
    unshare(CloneFlags::CLONE_NEWUSER)?;
    write(has_entered, b"!")?;
    if read(mapped, &mut [0])? != 1 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    Ok(detached::copy(Path::new(PLACE).as_os_str(), false)?)
}

/// Maps root in the user namespace that the child has entered to the user. Only who is root outside can.
fn map(
    child: Pid,
    (uid, gid): (u32, u32),
    entered: &OwnedFd,
    is_mapped: &OwnedFd,
) -> io::Result<OwnedFd> {
    if read(entered, &mut [0])? != 1 {
        return Err(io::Error::other("there is no user namespace to be had"));
    }
    let of = |file: &str| format!("/proc/{child}/{file}");
    fs::write(of("uid_map"), format!("0 {uid} 1"))?;
    fs::write(of("gid_map"), format!("0 {gid} 1"))?;
    let users = File::open(of("ns/user"))?;
    write(is_mapped, b"!")?;
    Ok(users.into())
}
