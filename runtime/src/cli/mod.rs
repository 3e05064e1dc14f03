//! Arguments of the `pyxis` command, one file per verb. Its container verbs take enroot's.

pub(crate) mod start;

use clap::{Parser, Subcommand};

/// An unprivileged container runtime for HPC nodes.
#[derive(Debug, Parser)]
#[command(name = "pyxis", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start a container from a squashfs image or a directory
    Start(start::StartArgs),
    /// Print the version
    Version,
}
