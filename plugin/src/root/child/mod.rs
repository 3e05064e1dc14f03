//! Running a program as the user and keeping what it says.

mod exec;
pub(crate) mod output;
#[cfg(test)]
mod tests;
mod wait;

pub(crate) use wait::{Ending, LIMIT, Patience};

use crate::step::StepError;
use crate::step::job::Credentials;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use output::{KEPT, Kept, Output, some_of};
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, Instant};
use wait::{Follow, Forwarding, Nobody};

/// Where the child finds the first descriptor it was given; the next is beside it.
pub(crate) const GIVEN: RawFd = 3;
/// Exit code of a child whose program could not be executed, as a shell has it.
const NOT_EXECUTED: i32 = 127;

/// What to run. It does not outlive the process that runs it.
pub(crate) struct Command<'a> {
    /// Looked for in PATH.
    pub(crate) program: &'a Path,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environ: &'a [CString],
    /// Whom to become, where this is root.
    pub(crate) user: &'a Credentials,
    /// Inherited from [`GIVEN`] on; every other descriptor is closed.
    pub(crate) given: [Option<BorrowedFd<'a>>; 2],
    pub(crate) patience: Patience,
    /// `cgroup.procs` of the cgroup it goes to.
    pub(crate) cgroup: Option<&'a File>,
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

/// A memory file for what a child says that nobody listens to while it runs. Only a user's own
/// process may have one: its child can grow it.
pub(crate) fn log_file() -> Result<File, StepError> {
    memfd_create("pyxis-log", MFdFlags::MFD_CLOEXEC)
        .map(File::from)
        .map_err(|errno| StepError::Process(errno.into()))
}

/// What was written to it, as far as that is worth reading.
pub(crate) fn read_log(log: &File) -> Result<String, StepError> {
    let text = some_of(log, KEPT).map_err(StepError::Process)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

impl Command<'_> {
    /// Runs it to its end, stdout and stderr together. Signals that would end this process are passed on.
    pub(crate) fn run(self) -> Result<Outcome, StepError> {
        self.go(false, &mut Nobody)
    }

    /// As [`Command::run`], with stdout by itself.
    pub(crate) fn run_for_output(self) -> Result<Outcome, StepError> {
        self.go(true, &mut Nobody)
    }

    /// As [`Command::run_for_output`]; `tell` gets what it says line by line, once it
    /// takes longer than one would wait for in silence.
    pub(crate) fn run_and_tell(self, tell: impl FnMut(&str)) -> Result<Outcome, StepError> {
        self.go(true, &mut Follower { new: Kept::default(), began: Instant::now(), tell })
    }

    fn go(&self, apart: bool, follow: &mut dyn Follow) -> Result<Outcome, StepError> {
        let failed = |errno: nix::Error| StepError::Process(errno.into());
        // Of a list as long as a user likes, each would take a moment of its own.
        if matches!(self.patience, Patience::Until(deadline) if Instant::now() >= deadline) {
            return Err(StepError::Process(io::ErrorKind::TimedOut.into()));
        }
        let (log, said) = Output::new()?;
        let mut outputs = vec![log];
        let printed = match apart {
            false => None,
            true => {
                let (output, printed) = Output::new()?;
                outputs.push(output);
                Some(printed)
            }
        };
        let forwarding = Forwarding::begin().map_err(failed)?;
        let output = printed.as_ref().unwrap_or(&said).as_fd();
        let pid = self.spawn(output, said.as_fd(), &forwarding.before)?;
        drop((said, printed));
        let ending = forwarding.wait(pid, self.patience, &mut outputs, follow).map_err(failed)?;
        let mut texts = outputs.into_iter().map(|output| output.kept);
        let log = texts.next().unwrap_or_default().text();
        let output = texts.next().map(Kept::bytes).unwrap_or_default();
        match ending {
            Ending::Status(WaitStatus::Exited(_, NOT_EXECUTED)) if log.is_empty() => {
                Err(StepError::Execute { program: self.program.to_owned() })
            }
            _ => Ok(Outcome { ending, pid, output, log }),
        }
    }
}

fn c_string(text: OsString) -> Result<CString, StepError> {
    CString::new(text.into_vec())
        .map_err(|_| StepError::Process(io::ErrorKind::InvalidInput.into()))
}

/// Hands on what a child says.
struct Follower<F> {
    new: Kept,
    began: Instant,
    tell: F,
}

/// What takes less is not worth a line.
const SILENCE: Duration = Duration::from_secs(2);

impl<F: FnMut(&str)> Follow for Follower<F> {
    fn said(&mut self, bytes: &[u8]) {
        self.new.push(bytes);
    }

    fn look(&mut self) {
        if self.began.elapsed() < SILENCE {
            return;
        }
        let text = std::mem::take(&mut self.new).bytes();
        let lines = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let (lines, rest) = text.split_at(lines);
        self.new.push(rest);
        String::from_utf8_lossy(lines).lines().for_each(&mut self.tell);
    }

    fn is_awake(&self) -> bool {
        true
    }
}
