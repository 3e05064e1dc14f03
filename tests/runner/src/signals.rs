//! Signals that end all: they are noted, and who runs something looks.
//!
//! They are caught, not blocked: programs would inherit a mask, and could not be ended by these signals themselves.

use std::sync::atomic::{AtomicI32, Ordering};

use nix::libc::c_int;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static RECEIVED: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: c_int) {
    RECEIVED.store(signal, Ordering::SeqCst);
}

/// From here on SIGINT, SIGTERM and SIGHUP are noted.
pub(crate) fn catch() -> nix::Result<()> {
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler stores a number in an atomic, which it may at any time and in any thread.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// The last one that came.
pub(crate) fn received() -> Option<i32> {
    Some(RECEIVED.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::raise;
    use std::process::Command;

    /// nextest has a process for each test. With cargo test others of this crate may end early, and say so.
    #[test]
    fn a_signal_is_noted_and_programs_can_be_ended_by_it() {
        catch().unwrap();
        let mut program = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(program.id()).unwrap());
        nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
        let ended = program.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(15));
        assert_eq!(received(), None);
        raise(Signal::SIGHUP).unwrap();
        assert_eq!(received(), Some(1));
        RECEIVED.store(0, Ordering::SeqCst);
    }
}
