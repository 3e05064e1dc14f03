//! Arguments of the `pyxis` command, one file per verb. Its container verbs take enroot's, and
//! under the name `enroot` it words its errors like that.

mod account;
pub(crate) mod as_caller;
pub(crate) mod broker;
pub(crate) mod config;
pub(crate) mod create;
pub(crate) mod descriptor;
mod devices;
pub(crate) mod doctor;
pub(crate) mod enroot;
pub(crate) mod exec;
pub(crate) mod export;
pub(crate) mod fits;
pub(crate) mod generate;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod list;
pub(crate) mod listing;
pub(crate) mod load;
pub(crate) mod mount;
pub(crate) mod mount_image;
mod nodes;
pub(crate) mod push;
pub(crate) mod remove;
pub(crate) mod request;
pub(crate) mod start;
mod timing;
pub(crate) mod version;
mod wording;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, FromArgMatches, Parser, Subcommand};
use hygiene::console;
use linux::file_error::FileError;

use ::images::import::{ImportError, Importer, Tools};
use ::images::progress::Progress;
use ::images::registry::is_architecture;
use ::images::store::{Store, StoreError, mark_use};
use containers::HostSide;
use containers::cdi::CdiError;
use containers::fstab::FstabError;
use containers::launch::LaunchError;
use containers::record::{ContainerError, DataPath, Name};
use containers::start::StartError;
use containers::verbs::{ExecError, ExportError};
use handover::ending;
use linux::environ::is_name;
use pyxis::directives::DirectiveError;
use pyxis::settings::{Paths, Settings, SettingsError};
use pyxis::slurm_commands::NoCommands;

/// An unprivileged container runtime for HPC nodes.
#[derive(Debug, Parser)]
#[command(name = "pyxis", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create a container from a squashfs image
    Create(create::CreateArgs),
    /// Start a container, a squashfs image or a directory
    Start(start::StartArgs),
    /// Start the container that a configuration script names with #ENROOT_ROOTFS=
    Batch(start::BatchArgs),
    /// Run a command in a running container
    Exec(exec::ExecArgs),
    /// Make a squashfs image of a container
    Export(export::ExportArgs),
    /// List the containers
    List(list::ListArgs),
    /// Delete containers
    Remove(remove::RemoveArgs),
    /// Import an image from a registry, a local engine or an OCI layout
    Import(import::ImportArgs),
    /// Make a container of an image of a registry, a local engine or an OCI layout
    Load(load::LoadArgs),
    /// Of the plugin's requests alone
    #[command(skip)]
    Discard(PathBuf),
    /// Put an image file or a container into a registry
    Push(push::PushArgs),
    /// Print the digest of an image
    Digest(import::DigestArgs),
    /// Fetch an image into the image store and print its path
    Pull(images::PullArgs),
    /// Do a part of `pull --nodes` on a node, as a line on stdin says
    #[command(hide = true)]
    NodeTask,
    /// Fetch an image to the shared store, as the account that owns it
    #[command(hide = true)]
    Broker(broker::BrokerArgs),
    /// List the images in the image store
    Images(listing::ImagesArgs),
    /// Remove from the image store what is not wanted any more
    Gc(images::GcArgs),
    /// Show how large the image store is
    Du,
    /// Absent: a container is started from its image, no bundle is needed
    #[command(hide = true)]
    Bundle {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        _words: Vec<OsString>,
    },
    /// Print the effective settings and where each comes from
    #[command(alias = "info")]
    Config,
    /// Say whether the built-in runtime can take enroot's place on this node
    #[command(hide = true)]
    Fits,
    /// Find what is wrong with pyxis on this node
    Doctor(doctor::DoctorArgs),
    /// Write manual pages or completions
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
    /// Print the version, or what a plugin's file says of itself
    Version(version::VersionArgs),
}

/// What the process ends with. A type of ours, since `main` has to read the number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    pub(crate) const SUCCESS: Exit = Exit(0);
    pub(crate) const FAILURE: Exit = Exit(1);
}

impl Verb {
    /// Runs it, in a process that began then.
    pub(crate) fn run(self, begun: Instant) -> Result<Exit, CliError> {
        if let Verb::Version(args) = self {
            return args.run();
        }
        // Wrong settings are among what it finds.
        if let Verb::Doctor(args) = self {
            return args.run();
        }
        if let Verb::Generate(args) = self {
            return args.run();
        }
        if let Verb::Fits = self {
            return fits::run();
        }
        // A configuration script has settings of its own.
        let script = match &self {
            Verb::Start(args) => args.script_settings()?,
            Verb::Batch(args) => args.script_settings()?,
            _ => Vec::new(),
        };
        let settings = Settings::of_process(script)?;
        // None of them stops anything.
        for remark in &settings.enroot.remarks {
            console::tell(format_args!(
                "{} {remark}",
                if as_enroot() { "[WARN]" } else { "pyxis:" }
            ));
        }
        for fault in &settings.unbelieved {
            console::tell(format_args!(
                "pyxis: a store that the site's file names is not used: {fault}"
            ));
        }
        let timed = self.timed();
        timing::watch(&settings, timed, begun);
        let asked = matches!(&self, Verb::Start(args) if args.is_asked());
        let done = self.run_with(&settings);
        // What it says then is why the step fails.
        if done.is_ok() || !asked {
            timing::tell(timed.unwrap_or_default());
        }
        done
    }

    fn run_with(self, settings: &Settings) -> Result<Exit, CliError> {
        match self {
            Verb::Create(args) => args.run(settings),
            Verb::Start(args) => args.run(settings),
            Verb::Batch(args) => args.run(settings),
            Verb::Exec(args) => args.run(settings),
            Verb::Export(args) => args.run(settings),
            Verb::List(args) => args.run(settings),
            Verb::Remove(args) => args.run(settings),
            Verb::Discard(file) => remove::discard(&file),
            Verb::Import(args) => args.run(settings),
            Verb::Load(args) => args.run(settings),
            Verb::Push(args) => args.run(settings),
            Verb::Digest(args) => args.run(settings),
            Verb::Pull(args) => args.run(settings),
            Verb::NodeTask => images::node_task(settings),
            Verb::Broker(args) => broker::run(&args, settings),
            Verb::Images(args) => args.run(settings),
            Verb::Gc(args) => args.run(settings),
            Verb::Du => images::usage(settings),
            Verb::Config if as_enroot() => config::show_as_enroot(settings),
            Verb::Config => config::show(settings),
            Verb::Bundle { .. } => Err(CliError::NoBundle),
            Verb::Doctor(_) | Verb::Generate(_) | Verb::Version(_) | Verb::Fits => {
                Ok(Exit::SUCCESS)
            }
        }
    }
}

/// Whatever ends the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Cdi(#[from] CdiError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// Of one that is to be handed over.
    #[error(transparent)]
    Absent(ContainerError),
    #[error("container {} does not run", .0.as_os_str().to_string_lossy())]
    NotRunning(Name),
    #[error(transparent)]
    NoSlurmCommands(#[from] NoCommands),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(transparent)]
    Fstab(#[from] FstabError),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Nodes(#[from] nodes::NodesError),
    #[error(transparent)]
    Account(#[from] account::AccountError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// In a container that was entered, under the name enroot.
    #[error(transparent)]
    Within(LaunchError),
    #[error(transparent)]
    Exec(#[from] ExecError),
    #[error("Process not found: {0}")]
    NoProcess(String),
    #[error("Invalid argument: {0}: it is no name of a variable")]
    Variable(String),
    /// Under the name enroot, which takes less.
    #[error("Invalid argument: {0}")]
    Word(String),
    #[error("Unsupported architecture: {0}")]
    Architecture(String),
    #[error(transparent)]
    Directive(#[from] DirectiveError),
    #[error("Missing directive ENROOT_ROOTFS in {}", .0.display())]
    NoRootfs(PathBuf),
    #[error("unknown option {0}; see --help")]
    Option(String),
    #[error(transparent)]
    Script(FileError),
    #[error("a container with a PID namespace of its own cannot be handed over")]
    PidHandover,
    #[error(
        "bundle: self-extracting bundles are not made here; copy the .sqsh file and \
         `pyxis start` it, or use enroot's own bundle"
    )]
    NoBundle,
    /// What the plugin asks for.
    #[error("{0}")]
    Request(#[source] std::io::Error),
    #[error("descriptor {0} is not usable: {1}")]
    Descriptor(i32, nix::errno::Errno),
    #[error("{} {source}", path.display())]
    Plugin { path: PathBuf, source: pyxis::doctor::PluginFileError },
    #[error("{0}: an image is pushed to docker://[USER@][REGISTRY#]IMAGE[:TAG], without a digest")]
    PushTo(String),
    #[error(transparent)]
    File(#[from] FileError),
    /// The command for it has said why.
    #[error("the container {0} is not pushed, for it cannot be exported")]
    NotExported(String),
    #[error("no answer to the question; use --force")]
    Unanswered,
    #[error("cannot write to standard output: {0}")]
    Output(#[source] std::io::Error),
}

impl CliError {
    /// What the command exits with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            CliError::Launch(error) => error.exit_code(),
            CliError::Start(error) => error.exit_code(),
            CliError::Absent(_) => ending::ABSENT,
            CliError::NotRunning(_) => ending::NOT_RUNNING,
            _ => 1,
        }
    }

    /// What is said of it, in enroot's words under its name.
    pub(crate) fn line(&self) -> String {
        if !as_enroot() {
            return format!("pyxis: {self}");
        }
        format!("[ERROR] {}", wording::of_error(self).unwrap_or_else(|| self.to_string()))
    }
}

/// What clap has to say: its help is ours, its errors repeat the words that were given.
pub(crate) fn show(error: &clap::Error) {
    if error.use_stderr() {
        console::tell_lines(&error.render().to_string());
    } else {
        let _ = error.print();
    }
}

/// What containers are started with and the plugin's question, without the definitions of all other verbs:
/// they take longer than all of the parsing. `None` for everything else, and for what is wrong: the whole
/// definition words that.
pub(crate) fn quickly(words: &[OsString]) -> Option<Cli> {
    let [name, verb, rest @ ..] = words else { return None };
    if verb == "fits" && rest.is_empty() {
        return Some(Cli { verb: Verb::Fits });
    }
    if verb != "start" {
        return None;
    }
    let command = start::StartArgs::augment_args(clap::Command::new("start"));
    let matches = command.try_get_matches_from([name].into_iter().chain(rest)).ok()?;
    let args = start::StartArgs::from_arg_matches(&matches).ok()?;
    Some(Cli { verb: Verb::Start(args) })
}

/// Whether the command was called `enroot`.
pub(crate) fn as_enroot() -> bool {
    called_as("enroot")
}

/// The words that the command was given, in the form that is defined here.
pub(crate) fn words() -> Result<Vec<OsString>, enroot::Usage> {
    let words = std::env::args_os();
    if as_enroot() { enroot::translated(words) } else { Ok(words.collect()) }
}

/// Whether `name` is the command's first word.
pub(crate) fn called_as(name: &str) -> bool {
    let word = std::env::args_os().next().unwrap_or_default();
    Path::new(&word).file_name().is_some_and(|word| word == name)
}

/// Checks the words of `--env`.
pub(crate) fn check_variables(words: &[OsString]) -> Result<(), CliError> {
    for word in words {
        let name = word.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
        if !is_name(name) {
            return Err(CliError::Variable(word.to_string_lossy().into_owned()));
        }
    }
    Ok(())
}

/// The data path, made if need be.
pub(crate) fn data_path(settings: &Settings) -> Result<DataPath, ContainerError> {
    let Paths { data, per_node, .. } = &settings.paths;
    DataPath::open(data.clone().ok_or(ContainerError::NoDataPath)?, *per_node)
}

/// The host, for what makes containers.
pub(crate) fn host(settings: &Settings) -> HostSide {
    HostSide {
        environ: settings.host.clone(),
        overlay: settings.container.native_overlayfs,
        layers: settings.paths.layers.clone(),
        unpacked: settings.paths.unpacked.clone(),
        in_use: mark_use,
    }
}

/// The image store.
pub(crate) fn store(settings: &Settings) -> Result<Store, StoreError> {
    Store::open(settings.store.clone().ok_or(StoreError::NoPlace)?)
}

/// Who makes images for `arch`, by default the machine's.
pub(crate) fn importer(
    settings: &Settings,
    arch: Option<&str>,
    progress: Progress,
) -> Result<Importer, CliError> {
    if let Some(arch) = arch.filter(|arch| !is_architecture(arch)) {
        return Err(CliError::Architecture(arch.to_owned()));
    }
    let tools = Tools {
        store: store(settings)?,
        registries: settings.registries.clone(),
        credentials: settings.credentials.clone(),
        squash: settings.squash.clone(),
        max_unpacked: settings.max_unpacked,
    };
    Ok(Importer::new(tools, arch, progress))
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
