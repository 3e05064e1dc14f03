//! Descriptors of this process: which are open, under which numbers, and which of them a program inherits.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{check, owned};

/// Puts /dev/null where standard input, output or error is closed: the next file to be opened would
/// otherwise be one of them, and messages would be written into it.
pub fn have_standard_files() {
    for fd in 0..=2 {
        // SAFETY: asks for the flags of a number; that it may be closed is the question.
        let closed = unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1;
        // SAFETY: the path is a C string. The lowest free number, which is `fd`, stays open for good.
        if closed && unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } != fd {
            std::process::abort();
        }
    }
}

/// A file in memory with these contents.
pub fn memory_file(name: &str, contents: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
    file.write_all(contents)?;
    Ok(file.into())
}

/// Sets close-on-exec on all descriptors from `first` on.
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    // SAFETY: changes flags of descriptors only.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 {
        return Ok(());
    }
    // Kernels before 5.11.
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(fd) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if fd >= first {
            // SAFETY: as above; a descriptor that is closed by now is an error without effect.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Hands a descriptor on to the program that is about to be executed.
pub fn inherit(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: clears a flag of an open descriptor.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) }.into())
}

/// The same open file under a number that nobody has a use for.
pub fn move_up(fd: OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: makes a new descriptor.
    owned(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 64) }.into())
}

/// Makes `number` a descriptor of the same open file, for the program about to be executed.
pub fn place(fd: &OwnedFd, number: RawFd) -> io::Result<()> {
    place_raw(fd.as_raw_fd(), number)
}

/// As [`place`], between fork and exec.
pub fn place_raw(fd: RawFd, number: RawFd) -> io::Result<()> {
    // SAFETY: the caller is about to execute a program and uses `number` for nothing else.
    match unsafe { libc::dup2(fd, number) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Closes every descriptor except stdio and `kept`, in a process that will use no other.
pub fn close_all_but(kept: &[RawFd]) {
    let mut kept: Vec<RawFd> = kept.iter().copied().filter(|fd| *fd > 2).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept.into_iter().chain([RawFd::MAX]) {
        if first < fd {
            close_range(first, fd - 1);
        }
        first = fd.saturating_add(1);
    }
}

/// Closes what is open from `first` to `last`.
fn close_range(first: RawFd, last: RawFd) {
    // SAFETY: nothing of this process uses these any more.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
        return;
    }
    // Kernels before 5.9.
    let open: Vec<RawFd> = match std::fs::read_dir("/proc/self/fd") {
        Ok(entries) => entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
            .collect(),
        Err(_) => (first..last.min(1024)).collect(),
    };
    for fd in open.into_iter().filter(|fd| (first..=last).contains(fd)) {
        // SAFETY: as above; a closed one is an error at most.
        unsafe { libc::close(fd) };
    }
}
