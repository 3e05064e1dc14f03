//! The error of what is asked of several nodes.

use std::io;
use std::process::ExitStatus;

/// Why nodes cannot be had together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodesError {
    #[error("cannot run {program}: {source}")]
    Run { program: String, source: io::Error },
    #[error("{program} has failed: {status}")]
    Failed { program: String, status: ExitStatus },
    #[error("{0}: there is no node of it")]
    NoNode(String),
    #[error("--nodes=all stands for the nodes of an allocation, and this is none: name the nodes")]
    NoAllocation,
    #[error("{0} is not set: this is no task of a step")]
    NoStep(&'static str),
    #[error("a part of `pyxis pull --nodes`, which is for its srun alone to run: {0}")]
    Task(#[source] io::Error),
    #[error("--nodes is for images of registries, without a password in their names")]
    NotSpread,
}
