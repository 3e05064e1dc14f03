//! Locks of whole files (flock(2)).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// How `flock` locks a file.
#[derive(Clone, Copy, Debug)]
pub enum FlockKind {
    /// Wait until nobody else has it locked.
    Exclusive,
    /// Do not wait.
    TryExclusive,
    /// Beside others who have it shared; do not wait.
    TryShared,
}

/// Locks an open file, for as long as any copy of its descriptor is open in any process; std's
/// and nix's guards would unlock it for all of them. Returns whether it is locked now.
pub fn flock(file: &File, how: FlockKind) -> io::Result<bool> {
    let operation = match how {
        FlockKind::Exclusive => libc::LOCK_EX,
        FlockKind::TryExclusive => libc::LOCK_EX | libc::LOCK_NB,
        FlockKind::TryShared => libc::LOCK_SH | libc::LOCK_NB,
    };
    loop {
        // SAFETY: changes nothing but the lock of an open descriptor.
        if unsafe { libc::flock(file.as_raw_fd(), operation) } == 0 {
            return Ok(true);
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            error => return Err(error),
        }
    }
}
