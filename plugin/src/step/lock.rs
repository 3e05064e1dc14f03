//! Record locks: the kernel frees them when their holder dies, and those who wait sleep in it.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::File;

/// A lock on some bytes of a file, held by this process until dropped.
pub(crate) struct RecordLock<'a> {
    file: &'a File,
    start: i64,
}

impl<'a> RecordLock<'a> {
    /// Waits for the lock on the byte at `start`.
    pub(crate) fn take(file: &'a File, start: i64) -> nix::Result<RecordLock<'a>> {
        loop {
            match fcntl(file, FcntlArg::F_SETLKW(&record(libc::F_WRLCK, start))) {
                Ok(_) => return Ok(RecordLock { file, start }),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl Drop for RecordLock<'_> {
    fn drop(&mut self) {
        let _ = fcntl(self.file, FcntlArg::F_SETLK(&record(libc::F_UNLCK, self.start)));
    }
}

fn record(kind: libc::c_int, start: i64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: 1,
        l_pid: 0,
    }
}
