//! Signals that end a process, held back while there is something to clear away first.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use linux::sys;

const ENDING: [Signal; 3] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];
/// What is copied between two looks, in bytes.
const PIECE: usize = 1 << 20;

/// While it lives such signals wait; when it is dropped, one that has come does what it does.
pub(super) struct Hold {
    before: SigSet,
}

impl Hold {
    pub(super) fn begin() -> io::Result<Hold> {
        let mut before = SigSet::empty();
        let held = SigSet::from_iter(ENDING);
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&held), Some(&mut before))?;
        Ok(Hold { before })
    }

    /// Whether it is time to give up.
    pub(super) fn interrupted(&self) -> bool {
        sys::is_pending(&ENDING)
    }

    /// As [`io::copy`], until a signal comes.
    pub(super) fn copy(&self, from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
        while !self.interrupted() {
            if io::copy(&mut from.by_ref().take(PIECE as u64), to)? == 0 {
                return Ok(());
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// Runs a program to its end, or kills it when a signal comes.
    pub(super) fn run(&self, command: &mut Command) -> io::Result<ExitStatus> {
        let theirs = self.before;
        // SAFETY: system calls on numbers and on a copy of ours.
        unsafe {
            command.pre_exec(move || {
                sigprocmask(SigmaskHow::SIG_SETMASK, Some(&theirs), None)?;
                sys::die_with_parent()
            });
        }
        let mut child = command.spawn()?;
        let ended = sys::pidfd_open(child.id() as i32)?;
        // Never read: the signal is to wait on.
        let signals = SignalFd::with_flags(&SigSet::from_iter(ENDING), SfdFlags::SFD_CLOEXEC)?;
        let mut either =
            [ended.as_fd(), signals.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        while poll(&mut either, PollTimeout::NONE).is_err() {}
        if either[0].any() != Some(true) {
            child.kill()?;
            child.wait()?;
            return Err(io::ErrorKind::Interrupted.into());
        }
        child.wait()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_run_to_its_end() {
        let hold = Hold::begin().unwrap();
        assert!(hold.run(&mut Command::new("true")).unwrap().success());
        assert_eq!(hold.run(Command::new("sh").args(["-c", "exit 3"])).unwrap().code(), Some(3));
        assert!(hold.run(&mut Command::new("/nonexistent")).is_err());
        let mut copy = Vec::new();
        hold.copy(&mut &[7; 3 * PIECE][..], &mut copy).unwrap();
        assert_eq!(copy.len(), 3 * PIECE);
    }
}
