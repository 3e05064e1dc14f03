//! `pyxis config`.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use hygiene::console;
use pyxis::settings::enroot::{Effect, effect_of};
use pyxis::settings::{FILE, Origin, SETTINGS, Setting, Settings, Value, variables as v};

use super::version::ENROOT;
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
    let mut variables: BTreeMap<String, String> = settings
        .host
        .iter()
        .filter(|(name, _)| name.as_bytes().starts_with(b"ENROOT_"))
        .map(|(name, value)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        })
        .collect();
    for (setting, value, origin) in settings.resolved.all() {
        let said = value.filter(|_| setting.variable.starts_with("ENROOT_"));
        if let Some(said) = said {
            let text = match origin {
                Origin::Default => default_of_enroot(setting, said),
                _ => Some(text_of(said)),
            };
            if let Some(text) = text {
                variables.entry(setting.variable.to_owned()).or_insert(text);
            }
        }
    }
    variables.entry(v::LOGIN_SHELL.to_owned()).or_insert_with(|| "true".to_owned());
    let paths = &settings.paths;
    for (name, place) in [
        (v::DATA_PATH, paths.data.clone()),
        (v::RUNTIME_PATH, Some(paths.runtime.0.clone())),
        (v::TEMP_PATH, Some(paths.temp.clone())),
    ] {
        if let Some(place) = place {
            variables.entry(name.to_owned()).or_insert_with(|| place.display().to_string());
        }
    }
    // enroot has no variable for what is off.
    let off = ["n", "no", "N", "No", "NO", "f", "F", "false", "False", "FALSE"];
    variables.retain(|_, value| !off.contains(&value.as_str()));
    variables.insert("ENROOT_VERSION".to_owned(), ENROOT.to_owned());
    let file = settings.enroot.files.first().map(|path| path.display().to_string());
    let mut lines = vec![
        format!("Enroot version: {ENROOT}"),
        format!("Config file: {}", file.unwrap_or_else(|| "/etc/enroot/enroot.conf".to_owned())),
        String::new(),
        "Environment variables:".to_owned(),
    ];
    lines.extend(variables.iter().map(|(name, value)| format!("  {name}={value}")));
    console::print_lines(lines).map_err(CliError::Output)?;
    Ok(Exit::SUCCESS)
}

/// A default as enroot has it where the two differ in form; `None` for what is not said.
fn default_of_enroot(setting: &Setting, said: &Value) -> Option<String> {
    let text = text_of(said);
    match (setting.variable, text.as_str()) {
        // Whoever clears it by this line shall not clear the caches of everything else.
        (v::CACHE_PATH, _) => Some(format!("{text}/enroot")),
        (v::MAX_PROCESSORS, "0") => {
            std::thread::available_parallelism().ok().map(|count| count.to_string())
        }
        (_, "") => None,
        (_, "yes") => Some("true".to_owned()),
        _ => Some(text),
    }
}

fn text_of(value: &Value) -> String {
    value.to_text().to_string_lossy().into_owned()
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
