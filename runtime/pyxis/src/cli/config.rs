//! `pyxis config`.

use std::ffi::OsString;
use std::process::ExitCode;

use pyxis::config::{Config, FILE, Kind, Origin, Setting};

use super::CliError;

/// Prints the settings as a file would have them, and where each comes from.
pub(crate) fn show(config: &Config) -> Result<ExitCode, CliError> {
    match &config.path {
        Some(path) => println!("# {}", path.display()),
        None => println!("# {FILE} is not there"),
    }
    let mut section = "";
    for (setting, value, origin) in config.effective() {
        if setting.section != section {
            section = setting.section;
            println!("\n[{section}]");
        }
        let from = match origin {
            Origin::Environment => format!("environment, {}", setting.variable),
            Origin::File(path) => path.display().to_string(),
            Origin::Default => {
                println!("# {} = {}  # default", setting.key, value.to_string_lossy());
                continue;
            }
        };
        println!("{} = {}  # {from}", setting.key, literal(setting, &value));
    }
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
