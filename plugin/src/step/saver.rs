//! A step whose container is to be saved fails if it is not. Slurm takes nothing but the ends of tasks for
//! the step's, and calls no hook before a task has ended. So each task of such a step becomes two: the program runs
//! in a child, and Slurm's task waits for it outside of the container. The last one of a node saves, and ends as its program did,
//! or with an error.
//!
//! When Slurm ends a step it kills the programs first: whoever waits heeds no signal until there is something to be
//! saved. Where it is killed all the same, slurmstepd saves (`root/end.rs`).

// Whoever waits here is the user's: Slurm ends it with the step.
#![allow(clippy::disallowed_methods)]

use super::plan::Plan;
use crate::root::child::{Allowance, Caller};
use crate::root::job::Job;
use crate::root::leftovers::{self, StepIdentity};
use crate::root::runtime::Runtime;
use crate::root::shared::{SAVED, Shared};
use crate::step::error::StepError;
use handover::Handover;
use handover::fork::fork;
use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::unistd::{ForkResult, getppid};
use spank_bindings::log;

/// What is to be saved, and by whom.
#[derive(Clone, Copy)]
pub(super) struct Saver<'a> {
    pub(super) job: &'a Job,
    pub(super) shared: &'a Shared,
    pub(super) plan: &'a Plan,
    pub(super) runtime: &'a Runtime,
    pub(super) caller: Caller<'a>,
}

impl Saver<'_> {
    /// Returns in the child, which becomes the program; the task itself lets go of the container.
    pub(super) fn stay_behind(self, container: Handover) -> Result<Handover, StepError> {
        let failed = |errno: Errno| StepError::Process(errno.into());
        let slurmstepd = getppid();
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut before))
            .map_err(failed)?;
        let forked = fork();
        let child = match &forked {
            Ok(ForkResult::Parent { child }) => Some(child.as_raw()),
            _ => None,
        };
        if child.is_some() {
            for signal in (1..32).filter(|signal| *signal != libc::SIGCHLD) {
                heed(signal, libc::SIG_IGN);
            }
        }
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
        if let Some(child) = child {
            drop(container);
            // It has what tells others that slurmstepd lives, and is not to outlive it.
            let bound = set_pdeathsig(Signal::SIGKILL);
            if bound.is_ok() && getppid() == slurmstepd {
                self.end(status_of(child));
            }
            end_as(libc::SIGKILL, 1);
        }
        forked.map(|_| container).map_err(failed)
    }

    /// Ends as the program did, and with an error where that would hide one.
    fn end(self, status: libc::c_int) -> ! {
        let saved = self.save();
        let signal = libc::WTERMSIG(status);
        let code = match libc::WEXITSTATUS(status) {
            _ if signal != 0 => 128 + signal,
            0 => i32::from(!saved),
            code => code,
        };
        end_as(signal, code)
    }

    /// Saves the container after the last of the node's programs; `false` if that failed, and has been said.
    fn save(self) -> bool {
        let Saver { job, shared, plan, runtime, caller } = self;
        let last = shared.note_left().is_ok_and(|left| left == job.local_tasks);
        // Not of a step that was interrupted before it ran.
        let entered = last && shared.entered() == job.local_tasks;
        let Some(file) = plan.save.as_ref().filter(|_| entered) else { return true };
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
            heed(signal, libc::SIG_DFL);
        }
        // As slurmstepd would: a container in use cannot be saved.
        let allowance = Allowance::new();
        let released = shared.release(&allowance);
        let named = plan.named.is_some();
        let identity = StepIdentity::of(job, getppid(), runtime, &released, named);
        leftovers::end(&identity, &plan.name, &allowance);
        let begun = |pid| {
            let _ = shared.note_saving(pid);
        };
        let saved = runtime.export(caller, &plan.name, file, &begun);
        match &saved {
            Ok(()) | Err(StepError::Reported) => {}
            Err(error) => log::error!("pyxis: {error}"),
        }
        let _ = shared.note_saving(SAVED);
        saved.is_ok()
    }
}

/// How the program has ended.
fn status_of(child: libc::pid_t) -> libc::c_int {
    let mut status = 0;
    // SAFETY: a number to write to.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } == -1 {
        if Errno::last() != Errno::EINTR {
            return 1 << 8;
        }
    }
    status
}

/// What is to happen when that signal comes. One that has come while it was ignored is gone.
fn heed(signal: libc::c_int, action: libc::sighandler_t) {
    // SAFETY: no handler is installed. For SIGKILL and SIGSTOP the kernel refuses.
    unsafe { libc::signal(signal, action) };
}

/// Ends this process at once, by the signal if there is one: what slurmstepd would do at its end is not this copy's to do.
fn end_as(signal: libc::c_int, code: libc::c_int) -> ! {
    heed(signal, libc::SIG_DFL);
    // SAFETY: 0 asks for no signal; nothing of this process is used after it.
    unsafe {
        libc::raise(signal);
        libc::_exit(code)
    }
}
