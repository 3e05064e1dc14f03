//! What a forked child does that is not to become the container.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Leaves a forked child with a line in the log.
pub(in crate::start) fn fail(mut log: &File, error: &dyn std::fmt::Display) -> ! {
    let _ = writeln!(log, "{error}");
    exit_now(1)
}

/// Leaves a forked child without running the parent's destructors or atexit handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory.
    unsafe { nix::libc::_exit(code) }
}

/// Hands a descriptor on to the program that is about to be executed.
pub(in crate::start) fn inherit(fd: impl AsFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}
