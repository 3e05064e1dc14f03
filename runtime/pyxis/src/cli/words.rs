//! The words that the command was given, its own name first.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use linux::environ::is_name;

use super::{CliError, enroot};

/// Whether the command was called `enroot`.
pub(crate) fn as_enroot() -> bool {
    called_as("enroot")
}

/// Whether `name` is the command's first word.
pub(crate) fn called_as(name: &str) -> bool {
    let word = std::env::args_os().next().unwrap_or_default();
    Path::new(&word).file_name().is_some_and(|word| word == name)
}

/// The words that the command was given, in the form that is defined here.
pub(crate) fn words() -> Result<Vec<OsString>, enroot::Usage> {
    let words = std::env::args_os();
    if as_enroot() { enroot::translated(words) } else { Ok(words.collect()) }
}

/// Checks the words of `--env`.
pub(crate) fn check_variables(words: &[OsString]) -> Result<(), CliError> {
    for word in words {
        let name = word.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
        if !is_name(name) {
            return Err(CliError::Variable(word.to_string_lossy().into_owned()));
        }
    }
    Ok(())
}
