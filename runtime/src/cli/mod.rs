//! Arguments of the `pyxis` command, one file per verb. Its container verbs take enroot's, and
//! under the name `enroot` it words its errors like that.

pub(crate) mod create;
pub(crate) mod export;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod list;
pub(crate) mod remove;
pub(crate) mod start;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use runtime::containers::{ContainerError, DataPath, ExportError};
use runtime::fstab::FstabError;
use runtime::import::ImportError;
use runtime::start::StartError;
use runtime::store::StoreError;

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
    /// Make a squashfs image of a container
    Export(export::ExportArgs),
    /// List the containers
    List(list::ListArgs),
    /// Delete containers
    Remove(remove::RemoveArgs),
    /// Import an image from a registry, a local engine or an OCI layout
    Import(import::ImportArgs),
    /// Print the digest of an image
    Digest(import::DigestArgs),
    /// Fetch an image into the image store and print its path
    Pull(images::PullArgs),
    /// List the images in the image store
    Images,
    /// Remove from the image store what is not wanted any more
    Gc(images::GcArgs),
    /// Show how large the image store is
    Du,
    /// Print the version
    Version,
}

impl Verb {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        match self {
            Verb::Create(args) => args.run(),
            Verb::Start(args) => args.run(),
            Verb::Export(args) => args.run(),
            Verb::List(args) => args.run(),
            Verb::Remove(args) => args.run(),
            Verb::Import(args) => args.run(),
            Verb::Digest(args) => args.run(),
            Verb::Pull(args) => args.run(),
            Verb::Images => images::list(),
            Verb::Gc(args) => args.run(),
            Verb::Du => images::usage(),
            Verb::Version => {
                println!("{}", env!("CARGO_PKG_VERSION"));
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// Whatever ends the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Container(#[from] ContainerError),
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
    #[error("no answer to the question; use --force")]
    Unanswered,
}

/// The data path, made if need be.
pub(crate) fn data_path() -> Result<DataPath, ContainerError> {
    DataPath::open(DataPath::of_environment().ok_or(ContainerError::NoDataPath)?)
}

/// Settings that enroot takes from the environment: anything but a "no" turns them on.
pub(crate) fn enabled(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| {
        let value = value.to_string_lossy().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "n" | "no" | "f" | "false")
    })
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
