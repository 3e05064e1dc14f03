//! A site's own way to images (`importer=PROGRAM`): `get URI` prints the path of a squashfs file,
//! `release` says that it is no longer needed and may be said again.

use super::child::{Caller, Command, Outcome};
use crate::step::error::StepError;
use spank_bindings::log;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Asks for the squashfs file of `uri`.
pub(crate) fn get(caller: Caller<'_>, program: &Path, uri: OsString) -> Result<PathBuf, StepError> {
    let outcome = command(caller, program, vec!["get".into(), uri]).run_for_output()?;
    let path = outcome.path();
    if !outcome.success() {
        report(&outcome, &format!("importer get {}", outcome.ending()));
        return Err(StepError::Reported);
    }
    if !path.is_absolute() {
        report(&outcome, "importer did not return a squashfs path");
        return Err(StepError::Reported);
    }
    log::verbose!("pyxis: importer squashfs path: {}", path.display());
    Ok(path.to_owned())
}

/// Says that the file is no longer needed. A failure is reported and changes nothing.
pub(crate) fn release(caller: Caller<'_>, program: &Path) {
    match command(caller, program, vec!["release".into()]).run() {
        Ok(outcome) if outcome.success() => {}
        Ok(outcome) => report(&outcome, &format!("importer release {}", outcome.ending())),
        Err(error) => log::error!("pyxis: could not call importer release: {error}"),
    }
}

fn command<'a>(caller: Caller<'a>, program: &'a Path, arguments: Vec<OsString>) -> Command<'a> {
    log::verbose!("pyxis: running importer command: {} {arguments:?}", program.display());
    caller.command(program, arguments, [None; 2])
}

fn report(outcome: &Outcome, what: &str) {
    log::error!("pyxis: {what}");
    log::error!("pyxis: printing importer log file:");
    for line in outcome.lines() {
        log::error!("pyxis:     {line}");
    }
}
