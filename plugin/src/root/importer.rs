//! A site's own way to images (`importer=PROGRAM`): `get URI` prints the path of a squashfs file,
//! `release` says that it is no longer needed and may be said again. slurmstepd says so for tasks that could not.

use super::child::{Caller, Command, Outcome};
use spank_bindings::log;
use std::ffi::OsStr;
use std::path::Path;

/// Says that the file is no longer needed. A failure is reported and changes nothing.
pub(crate) fn release(caller: Caller<'_>, program: &Path) {
    match command(caller, program, &["release".as_ref()]).run() {
        Ok(outcome) if outcome.success() => {}
        Ok(outcome) => report(&outcome, &format!("importer release {}", outcome.ending())),
        Err(error) => log::error!("pyxis: could not call importer release: {error}"),
    }
}

/// Its command, run by `caller`.
pub(crate) fn command<'a>(
    caller: Caller<'a>,
    program: &'a Path,
    arguments: &'a [&'a OsStr],
) -> Command<'a> {
    caller.command(program, arguments, [None; 4])
}

/// What it was doing when it failed, and all that it said.
pub(crate) fn report(outcome: &Outcome, what: &str) {
    log::error!("pyxis: {what}");
    outcome.print_log("importer");
}
