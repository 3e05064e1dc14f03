//! `pyxis config`.

use std::ffi::OsString;
use std::process::ExitCode;

use hygiene::console;
use pyxis::config::{Config, FILE, Kind, Origin, Setting};

use super::CliError;

/// Prints the settings as a file would have them, and where each comes from.
pub(crate) fn show(config: &Config) -> Result<ExitCode, CliError> {
    let mut lines = match &config.path {
        Some(path) => vec![format!("# {}", path.display())],
        None => vec![format!("# {FILE} is not there")],
    };
    let mut section = "";
    for (setting, value, origin) in config.effective() {
        if setting.section != section {
            section = setting.section;
            lines.extend([String::new(), format!("[{section}]")]);
        }
        let from = match origin {
            Origin::Environment => format!("environment, {}", setting.variable),
            Origin::File(path) => path.display().to_string(),
            Origin::Default => {
                let value = value.to_string_lossy();
                lines.push(format!("# {} = {value}  # default", setting.key));
                continue;
            }
        };
        lines.push(format!("{} = {}  # {from}", setting.key, literal(setting, &value)));
    }
    console::print_lines(lines).map_err(CliError::Output)?;
    Ok(ExitCode::SUCCESS)
}

/// A value of the environment in the file's syntax.
fn literal(setting: &Setting, value: &OsString) -> String {
    let text = value.to_string_lossy();
    let list = |separator: char| {
        let items: Vec<String> = text.split(separator).map(|item| format!("{item:?}")).collect();
        format!("[{}]", items.join(", "))
    };
    match setting.kind {
        Kind::Bool => super::is_yes(&text).to_string(),
        Kind::Number | Kind::Size => text.into_owned(),
        Kind::Path | Kind::Text | Kind::Policy => format!("{text:?}"),
        Kind::Paths => list(':'),
        Kind::Words => list(','),
        Kind::Lists => {
            let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
            let pairs: Vec<String> =
                pairs.map(|(name, item)| format!("{name:?} = [{item:?}]")).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}
