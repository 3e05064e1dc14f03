//! `pyxis create`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use containers::record::{ContainerError, Name};

use pyxis::settings::Settings;

use super::{CliError, Exit, as_enroot, data_path, host, wording};

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Name of the container [default: the image's]
    #[arg(short, long)]
    pub(super) name: Option<OsString>,
    /// Replace a container that exists
    #[arg(short, long)]
    pub(super) force: bool,
    /// One that another node has made meanwhile will do
    #[arg(skip)]
    pub(super) or_found: bool,
    /// Squashfs file
    pub(super) image: PathBuf,
}

/// The name of a container that was given none: the image's.
pub(crate) fn name_of(image: &Path) -> PathBuf {
    match image.extension() {
        Some(extension) if extension == "sqsh" => image.file_stem(),
        _ => image.file_name(),
    }
    .map(PathBuf::from)
    .unwrap_or_default()
}

/// The name of a container of it; enroot's is that of the file itself, wherever a link to it is.
fn image_name(image: &Path) -> PathBuf {
    match fs::canonicalize(image) {
        Ok(file) if as_enroot() => name_of(&file),
        _ => name_of(image),
    }
}

impl CreateArgs {
    pub(crate) fn run(self, settings: &Settings) -> Result<Exit, CliError> {
        let name = Name::new(self.name.unwrap_or_else(|| image_name(&self.image).into()))?;
        let force = self.force || settings.force;
        let data = data_path(settings)?;
        match data.create(&name, &self.image, force, &host(settings)) {
            // One with a layer is another node's alone.
            Err(ContainerError::Exists { node: None, .. }) if self.or_found => {
                return Ok(Exit::SUCCESS);
            }
            made => drop(made?),
        }
        wording::tell_step("Extracting squashfs filesystem...");
        Ok(Exit::SUCCESS)
    }
}
