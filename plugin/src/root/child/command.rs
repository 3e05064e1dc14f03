//! A program to be run, and for whom.

use super::wait::{Ending, Patience};
use crate::root::user::Credentials;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where the child finds the first descriptor it was given; the next is beside it.
pub(crate) const GIVEN: RawFd = 3;
/// Exit code of a child whose program could not be executed, as a shell has it.
pub(super) const NOT_EXECUTED: i32 = 127;

/// Who has something run: in whose name, with which variables, and for how long it is waited for.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// Whom to become, where this is root.
    pub(crate) user: &'a Credentials,
    pub(crate) environ: &'a [CString],
    pub(crate) patience: Patience,
    /// `cgroup.procs` of the cgroup that the program goes to.
    pub(crate) cgroup: Option<&'a File>,
}

impl<'a> Caller<'a> {
    /// Something to be run.
    pub(crate) fn command(
        self,
        program: &'a Path,
        arguments: Vec<OsString>,
        given: [Option<BorrowedFd<'a>>; 2],
    ) -> Command<'a> {
        Command { program, arguments, given, caller: self }
    }
}

/// What to run. It does not outlive the process that runs it.
pub(crate) struct Command<'a> {
    /// Looked for in PATH.
    pub(crate) program: &'a Path,
    pub(crate) arguments: Vec<OsString>,
    /// Inherited from [`GIVEN`] on; every other descriptor is closed.
    pub(crate) given: [Option<BorrowedFd<'a>>; 2],
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
            Ending::Status(WaitStatus::Signaled(_, signal, _)) => format!("terminated by {signal}"),
            Ending::Status(WaitStatus::Exited(_, code)) => {
                format!("failed with error code {code}")
            }
            Ending::Status(_) => "stopped".to_owned(),
            Ending::GivenUp(why) => why.to_owned(),
        }
    }

    /// The path that it printed, as its first line: any bytes but a newline.
    pub(crate) fn path(&self) -> &Path {
        let line = self.output.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Path::new(OsStr::from_bytes(line))
    }

    /// Its lines that say something.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.log.lines().map(str::trim_end).filter(|line| !line.is_empty())
    }
}
