//! A program to be run, and for whom.

use super::wait::{Ending, Patience};
use crate::root::user::Credentials;
use crate::step::error::StepError;
use handover::request::Request;
use handover::{AGAIN, MISMATCH};
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use spank_bindings::log;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where the child finds the first descriptor it was given; the next is beside it.
pub(super) const GIVEN: RawFd = 3;
/// Exit code of a child whose program could not be executed, as a shell has it.
pub(super) const NOT_EXECUTED: i32 = 127;

/// Who has something run: in whose name, with which variables, and for how long it is waited for.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// Whom to become, where this is root.
    pub(crate) user: &'a Credentials,
    pub(crate) environ: &'a [CString],
    pub(crate) patience: Patience<'a>,
    /// `cgroup.procs` of the cgroup that the program goes to.
    pub(crate) cgroup: Option<&'a File>,
}

impl<'a> Caller<'a> {
    /// Something to be run.
    pub(crate) fn command(
        self,
        program: &'a Path,
        arguments: &'a [&'a OsStr],
        given: Given<'a>,
    ) -> Command<'a> {
        log::verbose!(
            "pyxis: running {} {}",
            program.display(),
            Path::new(&arguments.join(OsStr::new(" "))).display()
        );
        Command { program, arguments, given, caller: self }
    }

    /// Asks the `pyxis` command for something, by a request and these descriptors; `run` has it run. Nothing of
    /// the user's is among its arguments.
    pub(crate) fn ask(
        self,
        program: &Path,
        request: &Request<'_>,
        with: &[BorrowedFd<'_>],
        run: &mut dyn FnMut(Command<'_>) -> Result<Outcome, StepError>,
    ) -> Result<Outcome, StepError> {
        let file = request.file().map_err(StepError::Process)?;
        let mut given = [Some(file.as_fd()), None, None, None];
        for (place, fd) in given[1..].iter_mut().zip(with) {
            *place = Some(*fd);
        }
        let length = DESCRIPTORS.len() - 2 * (given.len() - 1 - with.len());
        let words = [request.verb(), &DESCRIPTORS[..length]].map(OsStr::new);
        let outcome = run(self.command(program, &words, given))?;
        if outcome.code() == Some(USAGE) {
            return Err(StepError::Start(MISMATCH.to_owned()));
        }
        Ok(outcome)
    }
}

/// What the command exits with where it does not know an argument, as one without requests does, or a verb.
const USAGE: u8 = 2;

/// Where a request is, and what comes with it.
const DESCRIPTORS: &str = "--request=3,4,5,6";

/// Descriptors that a program inherits, from [`GIVEN`] on; every other one is closed.
pub(crate) type Given<'a> = [Option<BorrowedFd<'a>>; 4];

/// What to run. It does not outlive the process that runs it.
pub(crate) struct Command<'a> {
    /// Looked for in PATH.
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [&'a OsStr],
    pub(crate) given: Given<'a>,
    pub(crate) caller: Caller<'a>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) ending: Ending,
    pub(crate) pid: Pid,
    /// stdout, where it was asked for by itself.
    pub(crate) output: Vec<u8>,
    /// stderr, and stdout where it was not.
    pub(crate) log: String,
}

impl Outcome {
    pub(crate) fn success(&self) -> bool {
        self.code() == Some(0)
    }

    /// What it exited with.
    pub(crate) fn code(&self) -> Option<u8> {
        match self.ending {
            Ending::Status(WaitStatus::Exited(_, code)) => u8::try_from(code).ok(),
            _ => None,
        }
    }

    /// How it ended, in words.
    pub(crate) fn ending(&self) -> String {
        match self.ending {
            Ending::Status(WaitStatus::Signaled(_, signal, _)) => terminated(signal),
            Ending::Status(WaitStatus::Exited(_, code)) => {
                format!("failed with error code {code}")
            }
            Ending::Status(_) => "stopped".to_owned(),
            Ending::GivenUp(why) => why.to_owned(),
        }
    }

    /// Its last line, or how it ended.
    pub(crate) fn last_words(&self) -> String {
        self.lines().last().map_or_else(|| self.ending(), str::to_owned)
    }

    /// The path that it printed, as its first line: any bytes but a newline.
    pub(crate) fn path(&self) -> &Path {
        let line = self.output.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Path::new(OsStr::from_bytes(line))
    }

    /// All that it said.
    pub(crate) fn print_log(&self, name: &str) {
        print_log(name, self.lines());
    }

    /// Its lines that say something, and not only on a terminal.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        let says = |line: &&str| !line.is_empty() && !line.starts_with(AGAIN);
        self.log.lines().map(str::trim_end).filter(says)
    }
}

/// What a program said, in Slurm's log.
pub(crate) fn print_log<'a>(name: &str, lines: impl Iterator<Item = &'a str>) {
    log::error!("pyxis: printing {name} log file:");
    for line in lines {
        log::error!("pyxis:     {line}");
    }
}

/// In the order of their numbers. (nix has a table of its own, which with its relocations is 1 KiB more.)
const SIGNALS: &str = "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP \
    TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS";

/// That a program was ended by a signal.
pub(crate) fn terminated(signal: Signal) -> String {
    let name = SIGNALS.split(' ').nth(signal as usize - 1).unwrap_or_default();
    format!("terminated by SIG{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_their_names() {
        for signal in Signal::iterator() {
            assert_eq!(terminated(signal), format!("terminated by {signal}"));
        }
    }
}
