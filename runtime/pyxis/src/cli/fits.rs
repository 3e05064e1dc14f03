//! `pyxis fits`, which the plugin asks where a node has enroot as well: at every step, so that nothing is waited
//! for that the answer does not need.

use hygiene::console;
use pyxis::doctor::Attempt;
use pyxis::fits::not_understood;
use pyxis::settings::Settings;

use super::{CliError, Exit};

/// Exits with 0 if the built-in runtime can take enroot's place: it understands all that the node has of
/// enroot's configuration, and the kernel lets it start containers. Else one line says why not.
pub(crate) fn run() -> Result<Exit, CliError> {
    // It goes on while the configuration is read.
    let attempt = Attempt::begin();
    let settings = Settings::of_process(Vec::new())?;
    let lacking = || match attempt {
        Ok(attempt) => attempt.failure(),
        Err(error) => Some(format!("no process can be made on this node: {error}")),
    };
    match not_understood(&settings).into_iter().next().or_else(lacking) {
        None => Ok(Exit::SUCCESS),
        Some(why) => {
            console::print(why).map_err(CliError::Output)?;
            Ok(Exit::FAILURE)
        }
    }
}
