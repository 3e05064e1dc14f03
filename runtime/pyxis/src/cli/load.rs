//! `pyxis load`: import and create in one. The image stays in the store, and the container is
//! layered above it: nothing is unpacked or copied where both are on one file system.

use std::ffi::OsString;

use clap::Args;
use containers::record::{ContainerError, Name};
use images::import::ImportError;
use images::uri::Uri;

use pyxis::progress;
use pyxis::settings::Settings;

use super::{CliError, Exit, create, data_path, host, import, importer};

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Architecture of the image [default: the host's]
    #[arg(short, long)]
    pub(super) arch: Option<String>,
    /// Name of the container [default: the image's]
    #[arg(short, long)]
    pub(super) name: Option<OsString>,
    /// Replace a container that exists
    #[arg(short, long)]
    pub(super) force: bool,
    /// An image, as for import
    pub(super) uri: String,
}

impl LoadArgs {
    pub(crate) fn run(self, settings: &Settings) -> Result<Exit, CliError> {
        let name = self.name.map(Name::new).transpose()?;
        let uri: Uri = self.uri.parse().map_err(ImportError::from)?;
        let name = match name {
            Some(name) => name,
            None => Name::new(create::name_of(&import::default_name(&uri)))?,
        };
        let data = data_path(settings)?;
        let force = self.force || settings.force;
        // Known before anything is fetched.
        let place = data.place(&name);
        if !force && place.symlink_metadata().is_ok() {
            return Err(ContainerError::exists(place).into());
        }
        let importer = importer(settings, self.arch.as_deref(), progress::for_stderr())?;
        let image = importer.pull(&uri, settings.pull_policy)?;
        data.create(&name, &image.path, force, &host(settings))?;
        Ok(Exit::SUCCESS)
    }
}
