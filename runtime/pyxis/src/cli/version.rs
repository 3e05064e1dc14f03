//! `pyxis version [FILE]`.

use std::path::PathBuf;

use clap::Args;
use hygiene::console;
use pyxis::as_enroot::VERSION as ENROOT;
use pyxis::doctor::{Plugin, builds, dotted, look};
use serde_json::json;

use super::{CliError, Exit, as_enroot};

#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// A plugin to tell about, `/usr/lib64/slurm/spank_pyxis.so`; it is read, not loaded
    file: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl VersionArgs {
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        // Scripts compare it; enroot looks at no word that follows.
        let file = self.file.as_ref().filter(|_| !as_enroot());
        let Some(file) = file else {
            let version = if as_enroot() { ENROOT } else { env!("CARGO_PKG_VERSION") };
            if self.json {
                console::print_json(&json!({ "version": version }).to_string())
            } else {
                console::print(version)
            }
            .map_err(CliError::Output)?;
            return Ok(Exit::SUCCESS);
        };
        let plugin =
            look(file).map_err(|source| CliError::Plugin { path: file.clone(), source })?;
        let rows: Vec<(&str, String)> = match &plugin {
            Plugin::Build(stamp) => vec![
                ("plugin", stamp.plugin.clone()),
                ("version", stamp.version.clone()),
                ("slurm", stamp.slurm.clone()),
                ("number", format!("{:#08x} ({})", stamp.number, dotted(stamp.number))),
                ("api", stamp.api.to_string()),
                ("bindings", stamp.bindings.clone()),
                ("target", stamp.target.clone()),
            ],
            Plugin::Loader => {
                let (directory, found) = builds::beside(file);
                let found: Vec<String> = found.into_iter().map(|build| build.name).collect();
                vec![
                    ("plugin", "pyxis, the loader".into()),
                    ("slurm", "the running one, if a build for it is installed".into()),
                    ("builds", directory.display().to_string()),
                    ("installed", if found.is_empty() { "none".into() } else { found.join(" ") }),
                ]
            }
            Plugin::Original(number) => vec![
                ("plugin", "pyxis, the original in C".into()),
                ("number", format!("{number:#08x} ({})", dotted(*number))),
            ],
            Plugin::Other { kind, number } => vec![
                ("plugin", format!("not pyxis, but one of the kind {kind}")),
                ("number", format!("{number:#08x} ({})", dotted(*number))),
            ],
        };
        if self.json {
            let object: serde_json::Map<String, serde_json::Value> =
                rows.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
            console::print_json(&serde_json::Value::Object(object).to_string())
        } else {
            console::print_lines(rows.iter().map(|(key, value)| format!("{key:<9} {value}")))
        }
        .map_err(CliError::Output)?;
        Ok(Exit::SUCCESS)
    }
}
