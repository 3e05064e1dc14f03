//! The session of its own of a program that root runs with another user's rights.
//!
//! Root's terminal is not that user's: by a descriptor of it programs read what is typed there, long after root's
//! command has ended, and in root's session they could type (`TIOCSTI`). So the program has a terminal of its own
//! where root has one, and a process that stays root's copies between the two.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::tcgetattr;
use nix::unistd::{ForkResult, Pid, Uid, fchown, getpid, setpgid, setsid, tcsetpgrp};

use crate::start::process::copier::{self, Copier};
use handover::fork::fork;
use linux::sys;

/// A session apart from root's.
pub(crate) struct OwnSession {
    /// Where root has one. It controls the session then, which the process that began it leads.
    terminal: Option<OwnTerminal>,
}

struct OwnTerminal {
    inner: OwnedFd,
    /// Whether the program has root's keys from the start, or from when it asks for them.
    at_once: bool,
}

impl OwnSession {
    /// Where root has a terminal, goes on in a child of the calling process, which has none of it: the calling
    /// process stays what it is, copies, and ends as the child does. To be called by root, with root's view of
    /// `/dev`, before it becomes `user`.
    ///
    /// # Errors
    /// From the kernel: there are no more terminals, for one.
    pub(crate) fn begin(user: Uid) -> io::Result<OwnSession> {
        let standard: Vec<RawFd> = (0..=2).filter(|number| sys::is_terminal(*number)).collect();
        let (Some(keyboard), Some(screen)) =
            (standard.first(), standard.iter().find(|number| **number > 0).or(standard.first()))
        else {
            return Ok(OwnSession { terminal: None });
        };
        let keyboard = sys::reopen_terminal(*keyboard)?;
        let screen = sys::reopen_terminal(*screen)?;
        // Of `exec ... | less` the keys are less's.
        let output = fs::metadata("/proc/self/fd/1");
        let piped = output.is_ok_and(|output| output.file_type().is_fifo());
        let at_once = standard.starts_with(&[0]) && !piped;
        let settings = tcgetattr(&keyboard)?;
        let OpenptyResult { master, slave } = openpty(&sys::window_size(&screen)?, &settings)?;
        for fd in [&master, &slave] {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        // For /dev/stderr and the like, which are opened by name: not worth failing.
        let _ = fchown(&slave, Some(user), None);
        let watched = copier::watched();
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&watched, flags)?;
        let mask = watched.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        match fork()? {
            ForkResult::Parent { child } => {
                drop(slave);
                Copier { child, signals, mask, keyboard, screen, settings, master }.run(at_once)
            }
            ForkResult::Child => {
                mask.thread_set_mask()?;
                setsid()?;
                sys::control_session(&slave)?;
                for number in standard {
                    sys::place(&slave, number)?;
                }
                // And what else root's shell may have opened of it.
                sys::close_on_exec_from(3)?;
                Ok(OwnSession { terminal: Some(OwnTerminal { inner: slave, at_once }) })
            }
        }
    }

    /// Has the calling process lead it; or, where it has a terminal, a group in it.
    pub(super) fn enter(self) -> io::Result<()> {
        let Some(OwnTerminal { inner, at_once }) = self.terminal else {
            setsid()?;
            return Ok(());
        };
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        if at_once {
            // Else the kernel would stop it for this.
            let mask = SigSet::from(Signal::SIGTTOU).thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
            tcsetpgrp(&inner, getpid())?;
            mask.thread_set_mask()?;
        }
        Ok(())
    }

    /// Puts a group into the foreground of its terminal, if it has one.
    pub(super) fn show(&self, group: Pid) {
        if let Some(terminal) = &self.terminal {
            let _ = tcsetpgrp(&terminal.inner, group);
        }
    }

    /// The descriptor that is to stay open.
    pub(super) fn kept(&self) -> Option<RawFd> {
        self.terminal.as_ref().map(|terminal| terminal.inner.as_raw_fd())
    }
}
