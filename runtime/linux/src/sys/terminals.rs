//! Terminals: which descriptors are some, their sizes, and whose sessions they control.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::check;

/// Whether a terminal is open under this number.
pub fn is_terminal(number: RawFd) -> bool {
    // SAFETY: asks for the settings behind a number; that it may be closed is an answer, too.
    unsafe { libc::isatty(number) == 1 }
}

/// Opens the terminal that is open under this number once more, to be read from and written to without waiting:
/// others have the descriptor that is there, and no use for one that does not wait.
pub fn reopen_terminal(number: RawFd) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    Ok(open(format!("/proc/self/fd/{number}").as_str(), flags, Mode::empty())?)
}

/// Makes a terminal control the session of the calling process, which leads it.
pub fn control_session(terminal: impl AsFd) -> io::Result<()> {
    // SAFETY: an ioctl that takes a number.
    check(unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) }.into())
}

/// How large a terminal is.
pub fn window_size(terminal: impl AsFd) -> io::Result<libc::winsize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: the kernel fills the structure, which lives through the call.
    check(unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok(size)
}

/// Has a terminal be of this size. If it changes, its programs in the foreground get a signal.
pub fn set_window_size(terminal: impl AsFd, size: &libc::winsize) -> io::Result<()> {
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: the kernel reads the structure, which lives through the call.
    check(unsafe { libc::ioctl(fd, libc::TIOCSWINSZ, &raw const *size) }.into())
}
