//! `pyxis fits`, which the plugin asks where a node has enroot as well.

use std::process::ExitCode;

use hygiene::console;
use pyxis::fits::{lacking, not_understood};
use pyxis::settings::Settings;

use super::CliError;

/// Exits with 0 if the built-in runtime can take enroot's place; else one line says why not.
pub(crate) fn run(settings: &Settings) -> Result<ExitCode, CliError> {
    match not_understood(settings).into_iter().next().or_else(lacking) {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => {
            console::print(why).map_err(CliError::Output)?;
            Ok(ExitCode::FAILURE)
        }
    }
}
