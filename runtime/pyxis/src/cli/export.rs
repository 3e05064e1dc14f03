//! `pyxis export`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use containers::named::{Export, Name, default_output};
use images::store::mark_use;

use super::{CliError, data_path, enabled};

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
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let container = data_path()?.container(&Name::new(self.name)?)?;
        let number = |name| std::env::var(name).ok()?.parse().ok().filter(|number| *number > 0);
        let export = Export {
            output: self.output.unwrap_or_else(|| default_output(container.name.as_os_str())),
            force: self.force || enabled("ENROOT_FORCE_OVERRIDE"),
            options: std::env::var("ENROOT_SQUASH_OPTIONS").ok(),
            in_use: mark_use,
            processors: number("ENROOT_MAX_PROCESSORS"),
        };
        export.run(&container)?;
        Ok(ExitCode::SUCCESS)
    }
}
