//! `pyxis load`: import and create in one. The image stays in the store, and the container is
//! layered above it: nothing is unpacked or copied where both are on one file system.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;
use containers::named::{ContainerError, Name};
use images::import::{ImportError, Importer, PullPolicy};
use images::progress::Progress;
use images::store::mark_use;
use images::uri::Uri;

use super::{CliError, data_path, enabled, import, name_of};

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Architecture of the image [default: the host's]
    #[arg(short, long)]
    arch: Option<String>,
    /// Name of the container [default: the image's]
    #[arg(short, long)]
    name: Option<OsString>,
    /// Replace a container that exists
    #[arg(short, long)]
    force: bool,
    /// An image, as for import
    uri: String,
}

impl LoadArgs {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let uri: Uri = self.uri.parse().map_err(ImportError::from)?;
        let name = self.name.unwrap_or_else(|| name_of(&import::default_name(&uri)).into());
        let name = Name::new(name)?;
        let data = data_path()?;
        let force = self.force || enabled("ENROOT_FORCE_OVERRIDE");
        // Known before anything is fetched.
        let place = data.place(&name);
        if !force && place.symlink_metadata().is_ok() {
            return Err(ContainerError::Exists { path: place }.into());
        }
        let importer = Importer::from_environment(self.arch.as_deref(), Progress::for_stderr())?;
        let image = importer.pull(&uri, PullPolicy::from_environment()?)?;
        data.create(&name, &image.path, force, mark_use)?;
        Ok(ExitCode::SUCCESS)
    }
}
