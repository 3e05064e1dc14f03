//! A process that stands for another one, in a PID namespace of its own, until that one ends.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};

use crate::start::process::child::exit_now;
use crate::start::process::ending::{FORWARDED, end_like, signal_group};
use crate::start::process::session::OwnSession;
use handover::fork::fork;
use handover::namespaces;
use linux::sys;

/// Forks. Returns in the child, which is killed when the calling process dies; the calling
/// process passes signals on and ends like the child. `apart`: the session that the child is to be in, if that is
/// not the caller's.
///
/// # Errors
/// From the kernel.
pub(crate) fn supervise(apart: Option<OwnSession>) -> io::Result<()> {
    let parent = sys::pidfd_open(std::process::id() as i32)?;
    let mut watched = SigSet::from_iter(FORWARDED);
    watched.add(Signal::SIGCHLD);
    let kept = apart.as_ref().and_then(OwnSession::kept);
    if kept.is_some() {
        watched.add(Signal::SIGTSTP); // a key's, at root's terminal
    }
    let mut old = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&watched), Some(&mut old))?;
    match fork()? {
        ForkResult::Parent { child } => {
            drop(parent);
            // What others wait for must not stay open here.
            sys::close_all_but(kept.as_slice());
            // Its root is the host's: nobody in the container may follow /proc/PID/root.
            namespaces::hide();
            stand_for(child, &watched, &old, apart.as_ref())
        }
        ForkResult::Child => {
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&old), None)?;
            sys::die_with_parent()?;
            apart.map_or(Ok(()), OwnSession::enter)?;
            if !sys::is_alive(std::os::fd::AsFd::as_fd(&parent)) {
                exit_now(1); // it died before it could be watched
            }
            Ok(())
        }
    }
}

fn stand_for(child: Pid, watched: &SigSet, old: &SigSet, apart: Option<&OwnSession>) -> ! {
    let pass_on = |signal| match apart {
        Some(_) => signal_group(child, signal),
        None => drop(kill(child, signal)),
    };
    loop {
        let Ok((signal, from_kernel)) = sys::wait_for_signal(watched) else { continue };
        if signal != Signal::SIGCHLD as i32 {
            // The terminal has sent it to both, unless it is not the other's.
            if !from_kernel || apart.is_some() {
                let _ = Signal::try_from(signal).map(pass_on);
            }
            continue;
        }
        match waitpid(child, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Stopped(_, signal)) => {
                // It wants the terminal, of which whoever waits for this process sees that it has it.
                if let (Signal::SIGTTIN | Signal::SIGTTOU, Some(apart)) = (signal, apart) {
                    apart.show(child);
                }
                let _ = nix::sys::signal::raise(Signal::SIGSTOP);
                pass_on(Signal::SIGCONT);
            }
            Ok(status) => end_like(status, old),
            Err(nix::Error::ECHILD) => exit_now(1),
            _ => {}
        }
    }
}
