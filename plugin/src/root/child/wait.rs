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
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The most that root waits for something a user can hold up.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// How long somebody waits for a child.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// A process of the user's own: Slurm ends it with its step, child and all.
    OfUser,
    /// root.
    Until(Instant),
    /// root, for what takes its time and is the user's to want: until Slurm ends the step, which
    /// kills the child, or the child has been stopped for [`LIMIT`].
    OfStep,
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
}

impl Forwarding {
    pub(super) fn begin() -> nix::Result<Forwarding> {
        let mut before = SigSet::empty();
        if !has_one_thread() {
            pthread_sigmask(SigmaskHow::SIG_BLOCK, None, Some(&mut before))?;
            return Ok(Forwarding { before, signals: None });
        }
        let watched = SigSet::from_iter(ENDING.into_iter().chain([Signal::SIGCHLD]));
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&watched), Some(&mut before))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Forwarding { before, signals: Some(SignalFd::with_flags(&watched, flags)?) })
    }

    /// Waits for the child, taking what it says; `look` is called now and then.
    pub(super) fn wait(
        &self,
        child: Pid,
        patience: Patience,
        outputs: &mut [Output],
        follow: &mut dyn ChildObserver,
    ) -> nix::Result<Ending> {
        let process = match self.signals {
            Some(_) => None,
            None => process::descriptor(child.as_raw()),
        };
        let mut watch = Watch { child, patience, stopped: None };
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
            for output in &mut *outputs {
                output.take(&mut |bytes| follow.said(bytes));
            }
            came = self.forward(child).or(came);
        };
        for output in outputs {
            output.take(&mut |bytes| follow.said(bytes));
        }
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
struct Watch {
    child: Pid,
    patience: Patience,
    stopped: Option<Instant>,
}

impl Watch {
    /// Why the child is not waited for any longer.
    fn look(&mut self) -> Option<&'static str> {
        let now = Instant::now();
        match self.patience {
            Patience::OfUser => return None,
            Patience::Until(deadline) if now >= deadline => {
                return Some("took too long and was killed");
            }
            Patience::Until(_) | Patience::OfStep => {}
        }
        match process::life(self.child.as_raw()) {
            Life::Doomed => Some("was killed with its step"),
            Life::Stopped => {
                let since = *self.stopped.get_or_insert(now);
                (now.duration_since(since) >= LIMIT).then_some("was stopped and was killed")
            }
            Life::Running | Life::Ended => {
                self.stopped = None;
                None
            }
        }
    }

    fn slice(&self, told: bool, follow: &dyn ChildObserver) -> Duration {
        match self.patience {
            Patience::OfUser if follow.is_awake() => SLICE,
            // It is told of the child's end by a signal.
            Patience::OfUser if has_one_thread() => LIMIT,
            _ if !told => SHORT_SLICE,
            Patience::Until(deadline) => {
                SLICE.min(deadline.saturating_duration_since(Instant::now()))
            }
            Patience::OfUser | Patience::OfStep => SLICE,
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
