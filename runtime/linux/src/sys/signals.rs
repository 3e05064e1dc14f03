//! Signals: which end this process, which are waited for, and who gets one when another ends.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, signal};

use super::check;

/// Has a write into a pipe that nobody reads fail instead of ending this process. What it executes
/// gets the signal again: std sees to that.
pub fn ignore_closed_pipes() {
    // SAFETY: no handler is installed.
    let set = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
    debug_assert!(set.is_ok());
}

/// Has a write beyond the limit on a file's size fail instead of ending this process, so that it can
/// say why. What it executes gets the signal again: handlers end there, ignored signals would not.
pub fn survive_file_size_limit() {
    extern "C" fn nothing(_: libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing at all, which it may at any time.
    let set = unsafe { sigaction(Signal::SIGXFSZ, &action) };
    debug_assert!(set.is_ok());
}

/// Has the kernel kill this process when its parent dies.
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: sets an attribute of this process.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }.into())
}

/// Has the kernel send a signal to the program that `command` starts, when the thread that starts it ends.
pub fn ends_with_us(command: &mut Command, signal: Signal) {
    let parent = nix::unistd::getpid();
    let ask = move || {
        nix::sys::prctl::set_pdeathsig(signal)?;
        // It may have ended before.
        if nix::unistd::getppid() == parent {
            Ok(())
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    };
    // SAFETY: between fork and exec the closure makes system calls and nothing else.
    unsafe { command.pre_exec(ask) };
}

/// Waits for one of `signals`, which are blocked. Returns its number and whether the kernel sent
/// it, as it does for a key on the terminal.
pub fn wait_for_signal(signals: &SigSet) -> io::Result<(i32, bool)> {
    // SAFETY: all zeroes is a valid value; the kernel fills it. Both live through the call.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        match libc::sigwaitinfo(signals.as_ref(), &raw mut info) {
            -1 => Err(io::Error::last_os_error()),
            signal => Ok((signal, info.si_code == libc::SI_KERNEL)),
        }
    }
}

/// Whether one of `signals`, which are blocked, waits for this process.
pub fn is_pending(signals: &[Signal]) -> bool {
    // SAFETY: all zeroes is a valid value, which the kernel fills; numbers of signals are valid.
    unsafe {
        let mut pending: libc::sigset_t = std::mem::zeroed();
        libc::sigpending(&raw mut pending);
        signals.iter().any(|signal| libc::sigismember(&raw const pending, *signal as i32) == 1)
    }
}

/// Ends this process by a signal, without a core file of its own.
pub fn die_by(signal: Signal) {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure lives through the call; the default action runs no code of ours.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        libc::signal(signal as i32, libc::SIG_DFL);
        libc::raise(signal as i32);
    }
}
