//! System calls that neither std nor nix offers.

use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// `ioctl` on a namespace's descriptor for the one above it (ioctl_ns(2)).
const NS_GET_PARENT: libc::c_ulong = 0xb702;

/// Makes a mount and all mounts below it read-only (Linux 5.12).
pub(super) fn set_readonly_recursively(target: &Path) -> io::Result<()> {
    let path = CString::new(target.as_os_str().as_bytes())?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is NUL-terminated, the structure lives through the call and its size is
    // given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The name that ps(1) shows, at most 15 bytes.
pub(super) fn name_process(name: &CStr) {
    // SAFETY: the kernel copies the NUL-terminated name.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, name.as_ptr());
    }
}

/// Closes every descriptor except stdio and `kept`, in a process that will use no other.
pub(super) fn close_all_but(kept: &[RawFd]) {
    let open: Vec<RawFd> = match std::fs::read_dir("/proc/self/fd") {
        Ok(entries) => entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
            .collect(),
        Err(_) => (3..1024).collect(),
    };
    for fd in open {
        if fd > 2 && !kept.contains(&fd) {
            // SAFETY: nothing of this process uses it any more; a closed one is an error at most.
            unsafe { libc::close(fd) };
        }
    }
}

/// What makes a namespace itself: its device and inode.
pub(super) type NamespaceId = (u64, u64);

/// The identity of the namespace at `path`.
pub(super) fn namespace_id(path: &str) -> io::Result<NamespaceId> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Kills the process whose `/proc/PID` is at `path` if its user namespace is `container` or below
/// it. The directory's descriptor stands for the process: no PID is reused in between.
pub(super) fn kill_if_within(path: &Path, container: NamespaceId) -> bool {
    let directory =
        OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_CLOEXEC).open(path);
    let Ok(directory) = directory else { return false };
    // SAFETY: the descriptor is open and the name NUL-terminated.
    let namespace = unsafe {
        libc::openat(directory.as_raw_fd(), c"ns/user".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC)
    };
    if namespace < 0 {
        return false;
    }
    // SAFETY: just opened, owned by nobody else.
    let mut namespace = File::from(unsafe { OwnedFd::from_raw_fd(namespace) });
    loop {
        let Ok(metadata) = namespace.metadata() else { return false };
        if (metadata.dev(), metadata.ino()) == container {
            return kill(&directory);
        }
        // SAFETY: an ioctl without argument; it fails at the top of what we may see.
        let parent = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_PARENT) };
        if parent < 0 {
            return false;
        }
        // SAFETY: just made for us.
        namespace = File::from(unsafe { OwnedFd::from_raw_fd(parent) });
    }
}

fn kill(process: &File) -> bool {
    // SAFETY: a descriptor of /proc/PID is one of the process (pidfd_send_signal(2)).
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            libc::SIGKILL,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    result == 0
}
