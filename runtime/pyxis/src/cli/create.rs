//! `pyxis create`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use containers::named::Name;
use images::store::mark_use;

use super::{CliError, data_path, enabled, name_of};

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Name of the container [default: the image's]
    #[arg(short, long)]
    name: Option<OsString>,
    /// Replace a container that exists
    #[arg(short, long)]
    force: bool,
    /// Squashfs file
    image: PathBuf,
}

impl CreateArgs {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let name = Name::new(self.name.unwrap_or_else(|| name_of(&self.image).into()))?;
        let force = self.force || enabled("ENROOT_FORCE_OVERRIDE");
        data_path()?.create(&name, &self.image, force, mark_use)?;
        Ok(ExitCode::SUCCESS)
    }
}
