//! Processes by descriptors, which stand for one process whoever gets its number later.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use super::owned;

/// `ioctl` on a namespace's descriptor for the one above it (ioctl_ns(2)).
const NS_GET_PARENT: libc::c_ulong = 0xb702;

/// A descriptor that stands for one process, whoever gets its number later; readable when it has ended
/// (Linux 5.3).
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    owned(fd)
}

/// Whether the process of a pidfd has not ended, as far as the kernel says: an interrupted question is no end.
pub fn is_alive(pidfd: BorrowedFd<'_>) -> bool {
    let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure, as said.
    unsafe { libc::poll(&raw mut poll, 1, 0) <= 0 }
}

/// Whether the process of a pidfd ends within so many seconds.
pub fn ends_within(pidfd: BorrowedFd<'_>, seconds: u32) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let deadline = Instant::now() + Duration::from_secs(seconds.into());
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let left = i32::try_from(left).unwrap_or(i32::MAX);
        // SAFETY: one structure, as said.
        match unsafe { libc::poll(&raw mut poll, 1, left) } {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            -1 => return Err(io::Error::last_os_error()),
            ended => return Ok(ended > 0),
        }
    }
}

/// What makes a namespace itself: its device and inode.
pub type NamespaceId = (u64, u64);

/// The identity of an opened namespace.
pub fn namespace_id(namespace: &OwnedFd) -> io::Result<NamespaceId> {
    let stat = nix::sys::stat::fstat(namespace)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Kills the process whose `/proc/PID` is at `path` if its user namespace is `container` or below
/// it. The directory's descriptor stands for the process: no PID is reused in between.
pub fn kill_if_within(path: &Path, container: NamespaceId) -> bool {
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
