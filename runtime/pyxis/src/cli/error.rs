//! Whatever ends the command, and with which code.

use std::path::PathBuf;

use containers::cdi::CdiError;
use containers::fstab::FstabError;
use containers::launch::LaunchError;
use containers::record::{ContainerError, Name};
use containers::start::StartError;
use containers::verbs::{ExecError, ExportError};
use handover::ending;
use images::import::ImportError;
use images::store::StoreError;
use linux::file_error::FileError;
use pyxis::directives::DirectiveError;
use pyxis::settings::SettingsError;
use pyxis::slurm_commands::NoCommands;

use super::account::AccountError;
use super::nodes::NodesError;

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
    Nodes(#[from] NodesError),
    #[error(transparent)]
    Account(#[from] AccountError),
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
}
