//! `pyxis config`.

use hygiene::console;
use pyxis::as_enroot::{self, VERSION as ENROOT};
use pyxis::settings::enroot::{Effect, effect_of};
use pyxis::settings::{FILE, Origin, SETTINGS, Settings};

use super::{CliError, Exit};

/// Prints the settings as a file would have them, and where each comes from.
pub(crate) fn show(settings: &Settings) -> Result<Exit, CliError> {
    let mut lines = match &settings.file {
        Some(path) => vec![format!("# {}", path.display())],
        None => vec![format!("# {FILE} is not there")],
    };
    lines.extend(settings.enroot.files.iter().map(|path| format!("# {}", path.display())));
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
    lines.extend(of_enroot(settings));
    console::print_lines(lines).map_err(CliError::Output)?;
    Ok(Exit::SUCCESS)
}

/// `enroot info`, in its form: the variables that hold, sorted.
pub(crate) fn show_as_enroot(settings: &Settings) -> Result<Exit, CliError> {
    let variables = as_enroot::variables(settings);
    let file = settings.enroot.files.first().map(|path| path.display().to_string());
    let mut lines = vec![
        format!("Enroot version: {ENROOT}"),
        format!("Config file: {}", file.unwrap_or_else(|| "/etc/enroot/enroot.conf".to_owned())),
        String::new(),
        "Environment variables:".to_owned(),
    ];
    lines.extend(
        variables.iter().map(|(name, value)| {
            format!("  {}={}", name.to_string_lossy(), value.to_string_lossy())
        }),
    );
    console::print_lines(lines).map_err(CliError::Output)?;
    Ok(Exit::SUCCESS)
}

/// Variables of enroot's configuration that are no settings of ours: what holds of each, and where it
/// comes from.
fn of_enroot(settings: &Settings) -> Vec<String> {
    let known = |name: &str| SETTINGS.iter().any(|setting| setting.variable == name);
    let mut lines = Vec::new();
    for (name, said) in &settings.enroot.variables {
        let shown = name.to_string_lossy();
        if known(&shown) {
            continue;
        }
        if lines.is_empty() {
            lines.extend([String::new(), "# Of enroot's configuration:".to_owned()]);
        }
        let value = settings.host.get(name).unwrap_or(&said.value);
        let from = match *value == said.value {
            true => format!("{}:{}", said.path.display(), said.line),
            false => format!("environment, {shown}"),
        };
        let effect = match effect_of(&shown) {
            Effect::Same => String::new(),
            Effect::Nothing(why) => format!("; without effect: {why}"),
            Effect::Hooks => "; for hooks only".to_owned(),
        };
        lines.push(format!("# {shown}={}  # {from}{effect}", value.to_string_lossy()));
    }
    lines
}
