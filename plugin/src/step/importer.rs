//! An image from the site's importer.

use super::error::StepError;
use crate::root::child::Caller;
use crate::root::importer::{command, report};
use spank_bindings::log;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Asks for the squashfs file of `uri`.
pub(crate) fn get(caller: Caller<'_>, program: &Path, uri: &OsStr) -> Result<PathBuf, StepError> {
    let outcome = command(caller, program, &["get".as_ref(), uri]).run_for_output()?;
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
