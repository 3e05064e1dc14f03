//! What stands for another process passes on to it, and ends as it does.

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, killpg, sigprocmask};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use crate::start::process::child::exit_now;
use linux::sys;

/// Passed on to the other process. A hang-up is not, which the init of a PID namespace would not
/// see: it ends us, and by that the other process.
pub(super) const FORWARDED: [Signal; 5] =
    [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// Sends a signal to a child that leads a group, or is about to, and to who is in its group: the programs of a shell.
pub(super) fn signal_group(child: Pid, signal: Signal) {
    let _ = killpg(child, signal).or_else(|_| kill(child, signal));
}

/// Ends like a child, if it has ended.
pub(super) fn end_like(child: WaitStatus, mask: &SigSet) {
    match child {
        WaitStatus::Exited(_, code) => exit_now(code),
        WaitStatus::Signaled(_, signal, _) => end_by(signal, mask),
        _ => {}
    }
}

/// Ends by a signal, which `mask` does not block.
pub(super) fn end_by(signal: Signal, mask: &SigSet) -> ! {
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(mask), None);
    sys::die_by(signal);
    exit_now(128 + signal as i32)
}
