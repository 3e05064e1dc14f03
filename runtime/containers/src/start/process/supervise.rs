//! A process that stands for another one, in a PID namespace of its own, until that one ends.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, setsid};

use crate::start::process::child::exit_now;
use handover::fork::fork;
use handover::namespaces;
use linux::sys;

/// Passed on to the other process. A hang-up is not, which the init of a PID namespace would not
/// see: it ends us, and by that the other process.
const FORWARDED: [Signal; 5] =
    [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// Forks. Returns in the child, which is killed when the calling process dies; the calling
/// process passes signals on and ends like the child. `apart`: the child has a session of its own, without a terminal, into which it
/// could type what the caller's shell would read.
///
/// # Errors
/// From the kernel.
pub(crate) fn supervise(apart: bool) -> io::Result<()> {
    let parent = sys::pidfd_open(std::process::id() as i32)?;
    let mut watched = SigSet::from_iter(FORWARDED);
    watched.add(Signal::SIGCHLD);
    let mut old = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&watched), Some(&mut old))?;
    match fork()? {
        ForkResult::Parent { child } => {
            drop(parent);
            // What others wait for must not stay open here.
            sys::close_all_but(&[]);
            // Its root is the host's: nobody in the container may follow /proc/PID/root.
            namespaces::hide();
            stand_for(child, &watched, &old, apart)
        }
        ForkResult::Child => {
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&old), None)?;
            sys::die_with_parent()?;
            if apart {
                setsid()?;
            }
            if !sys::is_alive(std::os::fd::AsFd::as_fd(&parent)) {
                exit_now(1); // it died before it could be watched
            }
            Ok(())
        }
    }
}

fn stand_for(child: Pid, watched: &SigSet, old: &SigSet, apart: bool) -> ! {
    loop {
        let Ok((signal, from_kernel)) = sys::wait_for_signal(watched) else { continue };
        if signal != Signal::SIGCHLD as i32 {
            // The terminal has sent it to both, unless it is not the other's.
            if !from_kernel || apart {
                let _ = Signal::try_from(signal).map(|signal| kill(child, signal));
            }
            continue;
        }
        match waitpid(child, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Exited(_, code)) => exit_now(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(old), None);
                sys::die_by(signal);
                exit_now(128 + signal as i32)
            }
            Ok(WaitStatus::Stopped(..)) => {
                let _ = nix::sys::signal::raise(Signal::SIGSTOP);
                let _ = kill(child, Signal::SIGCONT);
            }
            Err(nix::Error::ECHILD) => exit_now(1),
            _ => {}
        }
    }
}
