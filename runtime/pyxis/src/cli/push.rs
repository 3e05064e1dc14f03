//! `pyxis push`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::Args;
use containers::launch;
use containers::record::Name;
use handover::request::{ARGUMENT, Request};
use hygiene::{console, unsecure};
use images::import::{ImportError, Importer};
use images::push::Execution;
use images::store::Scratch;
use images::uri::{Reference, Uri};
use linux::environ;
use linux::file_error::FileError;
use squashfs::image::{Image, ImageError};

use pyxis::progress;
use pyxis::settings::Settings;

use super::{CliError, Exit, data_path, importer};

/// More than a file of settings has.
const LARGEST: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Architecture of the image [default: the host's]
    #[arg(short, long)]
    pub(super) arch: Option<String>,
    /// Only ask whether something may be pushed there.
    #[arg(long, hide = true, value_name = "URI", exclusive = true)]
    pub(super) may: Option<String>,
    /// A squashfs or SIF file (with a "/", or in the working directory), or the name of a container
    #[arg(required_unless_present = "may")]
    pub(super) source: Option<OsString>,
    /// docker://[USER@][REGISTRY#]IMAGE[:TAG]
    #[arg(required_unless_present = "may")]
    pub(super) uri: Option<String>,
}

impl PushArgs {
    /// Prints the name of what was pushed, with its digest.
    pub(crate) fn run(self, settings: &Settings) -> Result<Exit, CliError> {
        let to = destination(self.may.as_ref().or(self.uri.as_ref()).map_or("", String::as_str))?;
        let importer = importer(settings, self.arch.as_deref(), progress::for_stderr())?;
        if self.may.is_some() {
            importer.may_push(&to)?;
            return Ok(Exit::SUCCESS);
        }
        let source = self.source.unwrap_or_default();
        let path = Path::new(&source);
        let is_file = source.as_bytes().contains(&b'/')
            || path.is_file() && Image::open(path, |_, _| ()).is_ok();
        let pushed = match is_file {
            true => push_file(&importer, path, &to)?,
            false => {
                let name = Name::new(&source)?;
                // Known before anything is made.
                data_path(settings)?.container(&name)?;
                push_container(&importer, name.as_os_str(), &to)?
            }
        };
        console::print(pushed).map_err(CliError::Output)?;
        Ok(Exit::SUCCESS)
    }
}

/// Where something is to be pushed to, if this is such a place.
pub(super) fn destination(uri: &str) -> Result<Reference, CliError> {
    match uri.parse().map_err(ImportError::from)? {
        Uri::Registry(reference) if reference.digest.is_none() => Ok(reference),
        _ => Err(CliError::PushTo(uri.to_owned())),
    }
}

/// Pushes what an export of the container would have.
pub(super) fn push_container(
    importer: &Importer,
    name: &OsStr,
    to: &Reference,
) -> Result<String, CliError> {
    let parent = importer.store().scratch();
    let failed = |source| FileError::new("create", &parent, source);
    let scratch = Scratch::new(&parent).map_err(failed)?;
    let file = scratch.path().join("container.sqsh");
    let request = Request::Export { name, to: file.as_os_str() };
    // Who exports is in namespaces of its own afterwards. Nobody reads in its arguments what is exported.
    let status = unsecure::command("/proc/self/exe")
        .args([request.verb(), &format!("{ARGUMENT}0")])
        .stdin(Stdio::from(request.file().map_err(failed)?))
        .stdout(Stdio::null())
        .status()
        .map_err(failed)?;
    if !status.success() {
        return Err(CliError::NotExported(name.to_string_lossy().into_owned()));
    }
    push_file(importer, &file, to)
}

fn push_file(importer: &Importer, path: &Path, to: &Reference) -> Result<String, CliError> {
    let Image::Squashfs { file, .. } = Image::open(path, |_, _| ()).map_err(unopened)? else {
        return Err(unopened(ImageError::not_squashfs(path)));
    };
    let image = squashfs::Image::open(file).map_err(ImportError::from)?;
    let digest = importer.push(&image, &execution(&image), to)?;
    Ok(Reference { tag: None, digest: Some(digest), ..to.clone() }.to_string())
}

fn unopened(error: ImageError) -> CliError {
    CliError::Start(error.into())
}

/// What the image says of how programs are to be run in it.
fn execution(image: &squashfs::Image) -> Execution {
    let read = |path: &str| image.contents(Path::new(path), LARGEST).unwrap_or_default();
    let env = environ::entries(&read("/etc/environment"))
        .map(|(name, value)| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()))
        .collect();
    let Some(said) = launch::said(&read("/etc/rc"), &read("/etc/rc.local")) else {
        return Execution { env, ..Execution::default() };
    };
    let text = |words: &[OsString]| -> Vec<String> {
        words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
    };
    let command = said.default.strip_prefix(&said.entrypoint[..]).unwrap_or(&said.default);
    let directory = Some(said.directory).filter(|directory| directory != Path::new("/"));
    Execution {
        env,
        command: text(command),
        entrypoint: text(&said.entrypoint),
        directory: directory.unwrap_or_else(PathBuf::new).to_string_lossy().into_owned(),
    }
}
