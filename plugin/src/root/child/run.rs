//! Running a command to its end and keeping what it says.

use super::command::{Command, NOT_EXECUTED, Outcome};
use super::output::{CappedOutput, Output};
use super::wait::{ChildObserver, Ending, Forwarding, NoObserver, Patience};
use crate::step::error::StepError;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

impl Command<'_> {
    /// Runs it to its end, stdout and stderr together. Signals that would end this process are passed on.
    pub(crate) fn run(self) -> Result<Outcome, StepError> {
        self.go(false, &mut NoObserver)
    }

    /// As [`Command::run`], with stdout by itself.
    pub(crate) fn run_for_output(self) -> Result<Outcome, StepError> {
        self.go(true, &mut NoObserver)
    }

    /// As [`Command::run_for_output`]; `tell` gets what it says line by line, once it
    /// takes longer than one would wait for in silence.
    pub(crate) fn run_and_tell(self, tell: impl FnMut(&str)) -> Result<Outcome, StepError> {
        self.go(
            true,
            &mut OutputObserver { new: CappedOutput::default(), began: Instant::now(), tell },
        )
    }

    /// As [`Command::run`]; `begun` gets the child's number.
    pub(crate) fn run_noted(self, begun: &dyn Fn(u32)) -> Result<Outcome, StepError> {
        self.go(false, &mut PidNotice(begun))
    }

    fn go(&self, apart: bool, follow: &mut dyn ChildObserver) -> Result<Outcome, StepError> {
        let failed = |errno: nix::Error| StepError::Process(errno.into());
        // Of a list as long as a user likes, each would take a moment of its own.
        if matches!(self.caller.patience, Patience::Within(allowance) if allowance.left().is_zero())
        {
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
        follow.begun(pid);
        let ending =
            forwarding.wait(pid, self.caller.patience, &mut outputs, follow).map_err(failed)?;
        let mut texts = outputs.into_iter().map(|output| output.kept);
        let log = texts.next().unwrap_or_default().text();
        let output = texts.next().map(CappedOutput::bytes).unwrap_or_default();
        match ending {
            Ending::Status(WaitStatus::Exited(_, NOT_EXECUTED)) if log.is_empty() => {
                Err(StepError::Execute { program: self.program.to_owned() })
            }
            _ => Ok(Outcome { ending, pid, output, log }),
        }
    }
}

/// Passes the child's process number on.
struct PidNotice<'a>(&'a dyn Fn(u32));

impl ChildObserver for PidNotice<'_> {
    fn begun(&mut self, pid: Pid) {
        (self.0)(pid.as_raw().unsigned_abs());
    }
}

/// Hands on what a child says.
struct OutputObserver<F> {
    new: CappedOutput,
    began: Instant,
    tell: F,
}

/// What takes less is not worth a line.
const SILENCE: Duration = Duration::from_secs(2);

impl<F: FnMut(&str)> ChildObserver for OutputObserver<F> {
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
