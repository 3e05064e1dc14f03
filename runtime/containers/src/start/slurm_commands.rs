//! What a container needs of the node for Slurm's commands to work in it.

use std::path::PathBuf;

/// Slurm's commands, and what they read. Whoever fills it in has looked for each file.
#[derive(Clone, Debug, Default)]
pub struct SlurmCommands {
    /// Where each is, and the file that it is.
    pub programs: Vec<(PathBuf, PathBuf)>,
    /// Directories of libraries that the dynamic linker is not told of otherwise.
    pub libraries: Vec<PathBuf>,
    /// What they open by its path: plugins, configuration, directories of sockets.
    pub places: Vec<PathBuf>,
    /// Accounts that the configuration names.
    pub users: Vec<String>,
    /// The configuration, if it is where nobody would look for it.
    pub configuration: Option<PathBuf>,
    /// The program that runs another one as the caller of a container in which that is root.
    pub as_caller: Option<PathBuf>,
}
