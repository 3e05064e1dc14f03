//! `pyxis remove`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, IsTerminal};
use std::path::Path;

use clap::Args;
use containers::record::{Container, Name};
use hygiene::console;
use linux::file_error::FileError;

use pyxis::settings::Settings;

use super::{CliError, Exit, as_enroot, data_path};

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Do not ask
    #[arg(short, long)]
    pub(super) force: bool,
    /// Names of the containers
    #[arg(required = true, value_name = "NAME")]
    pub(super) names: Vec<OsString>,
}

impl RemoveArgs {
    pub(crate) fn run(self, settings: &Settings) -> Result<Exit, CliError> {
        let data = data_path(settings)?;
        let force = self.force || settings.force;
        for name in self.names {
            let container = data.find_to_remove(&Name::new(name)?)?;
            if (force || confirmed(&container)?) && !data.remove(&container)? {
                console::tell(format_args!(
                    "pyxis: {} is running; its files are deleted after it has ended",
                    container.path.display()
                ));
            }
        }
        Ok(Exit::SUCCESS)
    }
}

/// Removes a file that is not wanted any more, if it is there.
pub(super) fn discard(file: &Path) -> Result<Exit, CliError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::new("remove", file, error).into())
        }
        _ => Ok(Exit::SUCCESS),
    }
}

fn confirmed(container: &Container) -> Result<bool, CliError> {
    let path = container.path.display();
    // enroot's shell asks only at a terminal.
    if !as_enroot() || io::stdin().is_terminal() {
        console::ask(format_args!("Do you really want to delete {path}? [y/N] "));
    }
    let mut answer = String::new();
    match io::stdin().lock().read_line(&mut answer) {
        Ok(length) if length > 0 => Ok(matches!(answer.trim(), "y" | "Y")),
        _ => Err(CliError::Unanswered),
    }
}
