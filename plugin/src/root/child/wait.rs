//! Waiting for a child, with a limit that depends on who waits.
//!
//! This is the one place where something of ours waits for a process: root's waits end with a
//! deadline or with the step, whatever the child's user does to it. Then its process group is killed, and the
//! end of that is nobody's to wait for: a process may be beyond SIGKILL for as long as its user's
//! file system likes.

// The one place.
#![allow(clippy::disallowed_methods)]

use super::output::Output;
use crate::root::process::{self, Life};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, pthread_sigmask, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The most that a hook of root's waits for what users can hold up, all its waits together.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// How much of [`LIMIT`] a hook has left. It is handed down to whatever waits, and each wait takes its part.
#[derive(Debug)]
pub(crate) struct Allowance(Cell<Duration>);

impl Allowance {
    /// All of it, for a hook that begins.
    pub(crate) fn new() -> Allowance {
        Allowance(Cell::new(LIMIT))
    }

    #[cfg(test)]
    pub(crate) fn of(time: Duration) -> Allowance {
        Allowance(Cell::new(time))
    }

    pub(crate) fn left(&self) -> Duration {
        self.0.get()
    }

    /// Takes off what was waited since then.
    pub(crate) fn spend(&self, since: Instant) {
        self.0.set(self.left().saturating_sub(since.elapsed()));
    }
}

/// How long somebody waits for a child.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience<'a> {
    /// A process of the user's own: Slurm ends it with its step, child and all.
    OfUser,
    /// root, for as long as its hook has left.
    Within(&'a Allowance),
    /// root, for what takes its time and is the user's to want: until Slurm ends the step, which
    /// kills the child, or the child has been stopped for half of what the hook has left. The other half is for what
    /// is cleaned up then.
    OfStep(&'a Allowance),
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself, or by a signal of others.
    Status(WaitStatus),
    /// It was killed by us, and has not been waited for.
    GivenUp(&'static str),
}

/// How long to sleep at most: whoever has a limit looks at the child from time to time.
const SLICE: Duration = Duration::from_millis(250);
/// Where the kernel does not tell of a child's end (before Linux 5.3, in slurmstepd).
const SHORT_SLICE: Duration = Duration::from_millis(10);

/// What ends a task, and its child first.
const ENDING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// While a task waits for its child, these are the child's: it may have things to clean up. In
/// slurmstepd itself, which has threads for signals, nothing is changed.
pub(super) struct Forwarding {
    pub(super) before: SigSet,
    signals: Option<SignalFd>,
    /// To start the child is part of the wait for it.
    begun: Instant,
}

impl Forwarding {
    pub(super) fn begin() -> nix::Result<Forwarding> {
        let (mut before, begun) = (SigSet::empty(), Instant::now());
        if !has_one_thread() {
            pthread_sigmask(SigmaskHow::SIG_BLOCK, None, Some(&mut before))?;
            return Ok(Forwarding { before, signals: None, begun });
        }
        let watched = SigSet::from_iter(ENDING.into_iter().chain([Signal::SIGCHLD]));
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&watched), Some(&mut before))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = Some(SignalFd::with_flags(&watched, flags)?);
        Ok(Forwarding { before, signals, begun })
    }

    /// Waits for the child, taking what it says; `look` is called now and then.
    pub(super) fn wait(
        &self,
        child: Pid,
        patience: Patience<'_>,
        outputs: &mut [Output],
        follow: &mut dyn ChildObserver,
    ) -> nix::Result<Ending> {
        let process = match self.signals {
            Some(_) => None,
            None => process::descriptor(child.as_raw()),
        };
        let mut watch = Watch { child, patience, begun: self.begun, stopped: None };
        let mut came = None;
        let ending = loop {
            // First, for the child may have ended before there was a descriptor of it.
            match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => {}
                Err(Errno::EINTR) => continue,
                ended => break Ending::Status(ended?),
            }
            if let Some(why) = watch.look() {
                end(child, process.as_ref());
                break Ending::GivenUp(why);
            }
            follow.look();
            self.sleep(process.as_ref(), outputs, watch.slice(process.is_some(), follow))?;
            take(outputs, follow);
            came = self.forward(child).or(came);
        };
        watch.end();
        take(outputs, follow);
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None)?;
        if let Some(signal) = came {
            raise(signal)?;
        }
        Ok(ending)
    }

    /// Until something happens, or for that long.
    fn sleep(
        &self,
        process: Option<&OwnedFd>,
        outputs: &[Output],
        slice: Duration,
    ) -> nix::Result<()> {
        let pipes = outputs.iter().filter_map(|output| output.pipe.as_ref()).map(AsFd::as_fd);
        let all = self.signals.iter().map(AsFd::as_fd).chain(process.map(AsFd::as_fd)).chain(pipes);
        let mut all: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut all, PollTimeout::try_from(slice).unwrap_or(PollTimeout::ZERO)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Passes signals on; the last of them.
    fn forward(&self, child: Pid) -> Option<Signal> {
        let mut last = None;
        while let Ok(Some(information)) = self.signals.as_ref()?.read_signal() {
            let signal = Signal::try_from(information.ssi_signo as i32).ok()?;
            if signal != Signal::SIGCHLD {
                let _ = kill(child, signal);
                last = Some(signal);
            }
        }
        last
    }
}

/// Takes what has come.
fn take(outputs: &mut [Output], follow: &mut dyn ChildObserver) {
    for output in outputs {
        output.take(&mut |bytes| follow.said(bytes));
    }
}

/// An observer of a child while it runs.
pub(super) trait ChildObserver {
    fn begun(&mut self, _: Pid) {}
    fn said(&mut self, _: &[u8]) {}
    fn look(&mut self) {}
    /// Whether to be called now and then, whatever happens.
    fn is_awake(&self) -> bool {
        false
    }
}

/// The observer of a child that nobody watches.
pub(super) struct NoObserver;

impl ChildObserver for NoObserver {}

/// A child and how much patience there is left with it.
struct Watch<'a> {
    child: Pid,
    patience: Patience<'a>,
    begun: Instant,
    stopped: Option<Instant>,
}

impl Watch<'_> {
    /// Why the child is not waited for any longer.
    fn look(&mut self) -> Option<&'static str> {
        let stopped_at_most = match self.patience {
            Patience::OfUser => return None,
            Patience::Within(allowance) if self.begun.elapsed() >= allowance.left() => {
                return Some("took too long and was killed");
            }
            Patience::Within(_) => LIMIT,
            Patience::OfStep(allowance) => allowance.left() / 2,
        };
        let (most, why) = match process::life(self.child.as_raw()) {
            // Which takes a moment, also of one that ends by itself.
            Life::Doomed => (SLICE, "was killed with its step"),
            // It has threads that do not end.
            Life::Stopped | Life::Ended => (stopped_at_most, "was stopped and was killed"),
            Life::Running => {
                self.go_on();
                return None;
            }
        };
        let since = *self.stopped.get_or_insert_with(Instant::now);
        (since.elapsed() >= most).then_some(why)
    }

    /// A child that runs, and is waited for as its step is.
    fn go_on(&mut self) {
        if let (Patience::OfStep(allowance), Some(since)) = (self.patience, self.stopped.take()) {
            allowance.spend(since);
        }
    }

    /// Nobody waits any longer: takes off what this was.
    fn end(&mut self) {
        match self.patience {
            Patience::Within(allowance) => allowance.spend(self.begun),
            _ => self.go_on(),
        }
    }

    fn slice(&self, told: bool, follow: &dyn ChildObserver) -> Duration {
        match self.patience {
            Patience::OfUser if follow.is_awake() => SLICE,
            // It is told of the child's end by a signal.
            Patience::OfUser if has_one_thread() => LIMIT,
            _ if !told => SHORT_SLICE,
            Patience::Within(allowance) => {
                SLICE.min(allowance.left().saturating_sub(self.begun.elapsed()))
            }
            Patience::OfUser | Patience::OfStep(_) => SLICE,
        }
    }
}

/// Kills what the child has not taken out of its process group, which it leads.
fn end(child: Pid, process: Option<&OwnedFd>) {
    // It has not been waited for, hence the number is still its own.
    let _ = kill(Pid::from_raw(-child.as_raw()), Signal::SIGKILL);
    match process {
        Some(process) => process::kill(process),
        None => drop(kill(child, Signal::SIGKILL)),
    }
}

/// Waits for a process that is no user's at any time.
pub(super) fn reap(child: Pid) {
    while waitpid(child, None) == Err(Errno::EINTR) {}
}

fn has_one_thread() -> bool {
    // A directory has a link for each directory in it, and these are the threads.
    nix::sys::stat::stat("/proc/self/task").is_ok_and(|task| task.st_nlink == 3)
}
