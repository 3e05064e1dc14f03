//! `pyxis config`.

use std::process::ExitCode;

use hygiene::console;
use pyxis::settings::{FILE, Origin, Settings};

use super::CliError;

/// Prints the settings as a file would have them, and where each comes from.
pub(crate) fn show(settings: &Settings) -> Result<ExitCode, CliError> {
    let mut lines = match &settings.file {
        Some(path) => vec![format!("# {}", path.display())],
        None => vec![format!("# {FILE} is not there")],
    };
    let mut section = "";
    for (setting, value, origin) in settings.resolved.all() {
        if setting.section != section {
            section = setting.section;
            lines.extend([String::new(), format!("[{section}]")]);
        }
        let said = value.map_or_else(|| setting.default_in_words(), |value| value.to_toml());
        lines.push(match origin {
            Origin::Environment => {
                format!("{} = {said}  # environment, {}", setting.key, setting.variable)
            }
            Origin::File { path, line } => {
                format!("{} = {said}  # {}:{line}", setting.key, path.display())
            }
            Origin::Default => format!("# {} = {said}  # default", setting.key),
        });
    }
    console::print_lines(lines).map_err(CliError::Output)?;
    Ok(ExitCode::SUCCESS)
}
