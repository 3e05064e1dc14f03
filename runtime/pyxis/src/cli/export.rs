//! `pyxis export`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use containers::record::Name;
use containers::verbs::{Export, default_output};

use pyxis::settings::Settings;

use super::{CliError, data_path, host, wording};

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Squashfs file to make [default: NAME.sqsh]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that exists
    #[arg(short, long)]
    force: bool,
    /// Name of the container
    name: OsString,
}

impl ExportArgs {
    pub(crate) fn run(self, settings: &Settings) -> Result<ExitCode, CliError> {
        let container = data_path(settings)?.container(&Name::new(self.name)?)?;
        let export = Export {
            output: self.output.unwrap_or_else(|| default_output(container.name.as_os_str())),
            force: self.force || settings.force,
            program: settings.squash.program.clone(),
            host: host(settings),
        };
        if export.force || export.output.symlink_metadata().is_err() {
            wording::tell_step("Creating squashfs filesystem...");
        }
        export.run(&container)?;
        Ok(ExitCode::SUCCESS)
    }
}
