//! The command of a container runtime, which takes enroot's verbs whichever runtime it is: how it is run and
//! reported, and the verbs that root has run at the end of a step and of a job.

use super::child::{Caller, LIMIT, Outcome, Patience};
use super::text::after;
use crate::step::error::StepError;
use spank_bindings::log;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A runtime's command.
pub(crate) struct RuntimeCommand {
    /// For messages.
    pub(crate) name: &'static str,
    /// Looked for in PATH where it is a bare name.
    pub(crate) program: PathBuf,
}

impl RuntimeCommand {
    /// Runs a verb. `failing` says what failed if it does; the verb's own words follow.
    pub(crate) fn verb(
        &self,
        caller: Caller<'_>,
        arguments: Vec<OsString>,
        failing: &str,
    ) -> Result<Outcome, StepError> {
        let outcome = self.run(caller, arguments)?;
        if outcome.success() {
            return Ok(outcome);
        }
        self.report(&outcome, failing);
        Err(StepError::Reported)
    }

    fn run(&self, caller: Caller<'_>, arguments: Vec<OsString>) -> Result<Outcome, StepError> {
        log::verbose!("pyxis: running {} {arguments:?}", self.name);
        caller.command(&self.program, arguments, [None; 2]).run()
    }

    /// The cause first, then all that the runtime said.
    pub(crate) fn report(&self, outcome: &Outcome, failing: &str) {
        let lines: Vec<&str> = outcome.lines().collect();
        let cause = lines
            .iter()
            .rev()
            .find(|line| after(line.as_bytes(), b"ERROR").is_some())
            .or(lines.last());
        match cause {
            Some(cause) => log::error!("pyxis: {failing}: {}", cause.trim_start()),
            None => log::error!("pyxis: {failing}: {} {}", self.name, outcome.ending()),
        }
        log::error!("pyxis: printing {} log file:", self.name);
        for line in lines {
            log::error!("pyxis:     {line}");
        }
    }

    /// The names of all containers.
    pub(crate) fn names(&self, caller: Caller<'_>) -> Result<Vec<String>, StepError> {
        let failing = "couldn't get list of existing containers";
        let list = self.verb(caller, vec!["list".into()], failing)?;
        Ok(list.lines().map(str::to_owned).collect())
    }

    /// Saves a container to a squashfs file.
    pub(crate) fn export(
        &self,
        caller: Caller<'_>,
        name: &str,
        file: &Path,
    ) -> Result<(), StepError> {
        let arguments = vec!["export".into(), "-f".into(), "-o".into(), file.into(), name.into()];
        let outcome = self.run(caller, arguments)?;
        if outcome.success() {
            return Ok(());
        }
        self.report(&outcome, &format!("failed to export container {name} to {}", file.display()));
        if outcome.code().is_none() {
            // It has not been able to remove what it had written.
            let mut partial = OsString::from(format!(".pyxis.{}.", outcome.pid));
            partial.push(file.file_name().unwrap_or_default());
            let partial = file.parent().unwrap_or(file).join(partial);
            let arguments = vec!["-f".into(), "--".into(), partial.into()];
            let patience = Patience::Until(Instant::now() + LIMIT);
            let _ =
                Caller { patience, ..caller }.command(Path::new("rm"), arguments, [None; 2]).run();
        }
        Err(StepError::Reported)
    }

    /// Removes a container.
    pub(crate) fn remove(&self, caller: Caller<'_>, name: &str) -> Result<(), StepError> {
        let failing = format!("failed to remove container filesystem: {name}");
        self.verb(caller, vec!["remove".into(), "-f".into(), name.into()], &failing).map(drop)
    }
}
