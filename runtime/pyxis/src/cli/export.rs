//! `pyxis export`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use containers::record::Name;
use containers::verbs::{Export, default_output};
use hygiene::console;

use pyxis::progress;
use pyxis::settings::Settings;

use super::{CliError, Exit, data_path, host, importer, push, wording};

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Squashfs file to make [default: NAME.sqsh], or docker://[REGISTRY#]IMAGE[:TAG] to push to
    #[arg(short, long, value_name = "FILE|URI")]
    pub(super) output: Option<PathBuf>,
    /// Replace a file that exists
    #[arg(short, long)]
    pub(super) force: bool,
    /// Name of the container
    pub(super) name: OsString,
}

impl ExportArgs {
    pub(crate) fn run(self, settings: &Settings) -> Result<Exit, CliError> {
        let container = data_path(settings)?.container(&Name::new(self.name)?)?;
        let uri = self.output.as_ref().and_then(|output| output.to_str());
        if let Some(uri) = uri.filter(|uri| uri.starts_with("docker://")) {
            let to = push::destination(uri)?;
            let importer = importer(settings, None, progress::for_stderr())?;
            let pushed = push::push_container(&importer, container.name.as_os_str(), &to)?;
            console::print(pushed).map_err(CliError::Output)?;
            return Ok(Exit::SUCCESS);
        }
        let export = Export {
            output: self.output.unwrap_or_else(|| default_output(container.name.as_os_str())),
            force: self.force || settings.force,
            program: settings.squash.program.clone(),
            host: host(settings),
        };
        let folder = export.output.parent().filter(|folder| !folder.as_os_str().is_empty());
        let is_new = export.force || export.output.symlink_metadata().is_err();
        if is_new && folder.is_none_or(Path::is_dir) {
            wording::tell_step("Creating squashfs filesystem...");
        }
        export.run(&container)?;
        Ok(Exit::SUCCESS)
    }
}
