//! `pyxis import`, `pyxis digest`: enroot's arguments and output.

use std::path::PathBuf;

use clap::Args;
use hygiene::console;
use images::import::ImportError;
use images::progress::Progress;
use images::uri::Uri;

use pyxis::progress;
use pyxis::settings::Settings;

use super::{CliError, Exit, importer, nodes};

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Architecture of the image [default: the host's]
    #[arg(short, long)]
    pub(super) arch: Option<String>,
    /// Name of the output image file [default: "URI.sqsh"]
    #[arg(short, long)]
    pub(super) output: Option<PathBuf>,
    /// docker://[USER@][REGISTRY#]IMAGE[:TAG], dockerd://IMAGE[:TAG], podman://IMAGE[:TAG],
    /// oci:DIRECTORY[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME:TAG]
    pub(super) uri: String,
}

#[derive(Debug, Args)]
pub(crate) struct DigestArgs {
    /// Architecture of the image [default: the host's]
    #[arg(short, long)]
    pub(super) arch: Option<String>,
    /// The digest that the tag itself names: where images for several architectures have the same
    /// tag, that of their index
    #[arg(long)]
    pub(super) index: bool,
    /// For a step that is about to begin.
    #[arg(skip)]
    pub(super) before_step: bool,
    /// docker://[USER@][REGISTRY#]IMAGE[:TAG], or a layout as for import
    pub(super) uri: String,
}

impl ImportArgs {
    /// Imports an image to a file.
    pub(crate) fn run(self, settings: &Settings) -> Result<Exit, CliError> {
        let uri: Uri = self.uri.parse().map_err(ImportError::from)?;
        let output = self.output.unwrap_or_else(|| default_name(&uri));
        let importer = importer(settings, self.arch.as_deref(), progress::for_stderr())?;
        importer.import_to(&uri, &output)?;
        Ok(Exit::SUCCESS)
    }
}

impl DigestArgs {
    /// Prints the digest of an image.
    pub(crate) fn run(self, settings: &Settings) -> Result<Exit, CliError> {
        let uri: Uri = self.uri.parse().map_err(ImportError::from)?;
        let importer = importer(settings, self.arch.as_deref(), Progress::SILENT)?;
        let digest = if self.index {
            importer.tag_digest(&uri, settings.pull_policy)?
        } else {
            importer.digest(&uri)?
        };
        // It is srun's plugin that asks so, before a step of several nodes.
        if self.before_step && settings.spread && nodes::is_spread(&uri, &self.uri) {
            let (uri, arch, shared, hurry) = (&*self.uri, None, false, true);
            let wanted = nodes::Wanted { settings, uri, digest: &digest, arch, shared, hurry };
            if let Err(error) = nodes::before_step(&wanted) {
                console::tell(format_args!("pyxis: {error}; each node fetches {uri} for itself"));
            }
        }
        console::print(digest).map_err(CliError::Output)?;
        Ok(Exit::SUCCESS)
    }
}

pub(super) fn default_name(uri: &Uri) -> PathBuf {
    match uri {
        Uri::Registry(reference) => reference.file_name().into(),
        Uri::Engine { image, .. } => format!("{}.sqsh", image.replace([':', '/'], "+")).into(),
        Uri::Layout { path, tag } => {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let tag = tag.as_ref().map(|tag| format!("+{}", tag.replace([':', '/'], "+")));
            format!("{stem}{}.sqsh", tag.unwrap_or_default()).into()
        }
    }
}
