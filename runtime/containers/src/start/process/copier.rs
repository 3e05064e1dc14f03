//! What copies between root's terminal and that of a program which root runs with another user's rights.
//!
//! It stays root's: that user can neither trace nor stop nor kill it, so root's terminal is in nobody's reach, and is
//! as it was when this ends. What comes from the program are bytes, a buffer of them at a time.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::SignalFd;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcsetattr};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, tcgetpgrp};

use crate::start::process::buffer::Buffer;
use crate::start::process::child::exit_now;
use crate::start::process::ending::{FORWARDED, end_by, end_like, signal_group};
use linux::sys;

/// More than a terminal holds of what its programs have written (Linux: 640 KiB and a page): what is there when the
/// program has ended is shown. A process left behind can open the terminal again and write for ever.
const MOST_LEFT: usize = 1 << 20;
/// Milliseconds: nothing says that the shell has put this process into the foreground.
const LOOK_AGAIN: u8 = 250;

/// The signals that it waits for, to be blocked before the child is made.
pub(super) fn watched() -> SigSet {
    let own = [Signal::SIGCHLD, Signal::SIGCONT, Signal::SIGHUP, Signal::SIGTSTP, Signal::SIGWINCH];
    FORWARDED.into_iter().chain(own).collect()
}

/// What it begins with.
pub(super) struct Copier {
    pub(super) child: Pid,
    /// Those of [`watched`].
    pub(super) signals: SignalFd,
    /// The signals that were blocked before.
    pub(super) mask: SigSet,
    /// Root's terminal, which is opened for this alone, for input.
    pub(super) keyboard: OwnedFd,
    /// The same for output, or another one that root has there.
    pub(super) screen: OwnedFd,
    /// Of root's terminal.
    pub(super) settings: Termios,
    /// Of the program's terminal.
    pub(super) master: OwnedFd,
}

/// It at work.
struct Copying {
    with: Copier,
    /// The program has asked for root's keys.
    wanted: bool,
    /// It has them, and root's terminal is set for that.
    raw: bool,
    typed: Buffer,
    shown: Buffer,
    /// The program's terminal is nobody's any more: what is left in it can be read, and poll need not wait for it.
    hung_up: bool,
    ended: Option<WaitStatus>,
    left: usize,
}

/// Root's terminal has gone.
struct Gone;

impl Copier {
    /// Copies until the child has ended, and ends like it. `wanted`: keys as well, from the start.
    pub(super) fn run(self, wanted: bool) -> ! {
        let kept = [
            self.signals.as_fd().as_raw_fd(),
            self.keyboard.as_raw_fd(),
            self.screen.as_raw_fd(),
            self.master.as_raw_fd(),
        ];
        sys::close_all_but(&kept);
        let mut copying = Copying {
            with: self,
            wanted,
            raw: false,
            typed: Buffer::new(),
            shown: Buffer::new(),
            hung_up: false,
            ended: None,
            left: MOST_LEFT,
        };
        let Err(Gone) = copying.copy();
        // As it would by itself; and with it goes the program's terminal.
        copying.give_back();
        end_by(Signal::SIGHUP, &copying.with.mask)
    }
}

impl Copying {
    fn copy(&mut self) -> Result<Infallible, Gone> {
        loop {
            self.take_keyboard();
            self.wait()?;
            while let Ok(Some(info)) = self.with.signals.read_signal() {
                self.handle(info.ssi_signo as i32)?;
            }
            let more = self.pass()?;
            match self.ended {
                Some(status) if self.shown.is_empty() && !more => self.finish(status),
                _ => {}
            }
        }
    }

    /// Waits until there is something to do. Nothing waits to be written for more to be read.
    fn wait(&mut self) -> Result<(), Gone> {
        let Copier { signals, keyboard, screen, master, .. } = &self.with;
        let mut polled = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let mut program = PollFlags::empty();
        match self.shown.is_empty() {
            true => program.insert(PollFlags::POLLIN),
            false => polled.push(PollFd::new(screen.as_fd(), PollFlags::POLLOUT)),
        }
        match self.typed.is_empty() {
            true if self.raw && self.ended.is_none() => {
                polled.push(PollFd::new(keyboard.as_fd(), PollFlags::POLLIN));
            }
            true => {}
            false => program.insert(PollFlags::POLLOUT),
        }
        let others = polled.len();
        if !self.hung_up && !program.is_empty() {
            polled.push(PollFd::new(master.as_fd(), program));
        }
        let timeout = match self.ended {
            Some(_) if self.shown.is_empty() => PollTimeout::ZERO,
            None if self.wanted && !self.raw => LOOK_AGAIN.into(),
            _ => PollTimeout::NONE,
        };
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return Err(Gone),
        }
        let events = polled.get(others).and_then(PollFd::revents);
        self.hung_up |= events.is_some_and(|events| events.contains(PollFlags::POLLHUP));
        Ok(())
    }

    /// Passes on a buffer each way, as far as it goes. Returns whether the program may have written more.
    fn pass(&mut self) -> Result<bool, Gone> {
        let Copier { keyboard, screen, master, .. } = &self.with;
        if self.raw && self.ended.is_none() && in_foreground(keyboard) {
            self.typed.fill(keyboard).map_err(|_| Gone)?;
        }
        // What has become of the program its end says.
        let _ = self.typed.flush(master);
        let kept = !self.shown.is_empty();
        let read = if self.left > 0 { self.shown.fill(master).unwrap_or(0) } else { 0 };
        self.shown.flush(screen).map_err(|_| Gone)?;
        if self.ended.is_some() {
            self.left = self.left.saturating_sub(read);
        }
        Ok(kept || read > 0)
    }

    fn handle(&mut self, signal: i32) -> Result<(), Gone> {
        match (Signal::try_from(signal), self.ended) {
            (Ok(Signal::SIGHUP), _) => return Err(Gone),
            (Ok(Signal::SIGWINCH), _) => self.fit(),
            (Ok(Signal::SIGCONT), _) => {
                // The shell has had the terminal.
                self.raw = false;
                self.fit();
            }
            (Ok(Signal::SIGCHLD), None) => self.look_at_child(),
            (Ok(Signal::SIGCHLD), Some(_)) => {}
            (Ok(signal), None) => signal_group(self.with.child, signal),
            (Ok(_), Some(status)) => self.finish(status),
            (Err(_), _) => {}
        }
        Ok(())
    }

    fn look_at_child(&mut self) {
        let child = self.with.child;
        match waitpid(child, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Stopped(..)) => {
                // The child leads the session, and has just put the program into the foreground.
                let shown = tcgetpgrp(&self.with.master).is_ok_and(|group| group != child);
                match shown && !self.wanted {
                    true => self.wanted = true,
                    false => self.stop(),
                }
                signal_group(child, Signal::SIGCONT);
            }
            Ok(status @ (WaitStatus::Exited(..) | WaitStatus::Signaled(..))) => {
                self.ended = Some(status);
            }
            _ => {}
        }
    }

    /// Stops until the shell continues this process; where there is none that would, the kernel does not stop it.
    fn stop(&mut self) {
        self.give_back();
        let key = SigSet::from(Signal::SIGTSTP);
        let stopped = key.thread_unblock().and_then(|()| raise(Signal::SIGTSTP));
        let _ = stopped.and_then(|()| key.thread_block());
    }

    fn fit(&self) {
        let size = sys::window_size(&self.with.screen);
        let _ = size.and_then(|size| sys::set_window_size(&self.with.master, &size));
    }

    /// Sets root's terminal raw, where this process is in its foreground: keys are for the program's terminal.
    /// Where it is not, what is typed there is for others.
    fn take_keyboard(&mut self) {
        let keyboard = &self.with.keyboard;
        let ours = self.wanted && in_foreground(keyboard);
        if ours && !self.raw {
            let mut raw = self.with.settings.clone();
            cfmakeraw(&mut raw);
            self.raw = tcsetattr(keyboard, SetArg::TCSANOW, &raw).is_ok();
        } else if !ours {
            self.raw = false;
        }
    }

    /// Has root's terminal as it was.
    fn give_back(&mut self) {
        let Copier { keyboard, settings, .. } = &self.with;
        if self.raw && in_foreground(keyboard) {
            let _ = tcsetattr(keyboard, SetArg::TCSANOW, settings);
        }
        self.raw = false;
    }

    fn finish(&mut self, status: WaitStatus) -> ! {
        self.give_back();
        end_like(status, &self.with.mask);
        exit_now(1)
    }
}

/// A terminal of another session, or none's, has no foreground that this process could be in.
fn in_foreground(terminal: &OwnedFd) -> bool {
    tcgetpgrp(terminal) == Ok(getpgrp())
}
