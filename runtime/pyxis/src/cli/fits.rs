//! `pyxis fits`, which the plugin asks where a node has enroot as well.

use hygiene::console;
use pyxis::fits::{lacking, not_understood};
use pyxis::settings::Settings;

use super::{CliError, Exit};

/// Exits with 0 if the built-in runtime can take enroot's place; else one line says why not.
pub(crate) fn run(settings: &Settings) -> Result<Exit, CliError> {
    match not_understood(settings).into_iter().next().or_else(lacking) {
        None => Ok(Exit::SUCCESS),
        Some(why) => {
            console::print(why).map_err(CliError::Output)?;
            Ok(Exit::FAILURE)
        }
    }
}
