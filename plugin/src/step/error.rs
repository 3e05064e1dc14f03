//! Why a step has no container: one line for the user.

use crate::options::OptionError;
use spank_bindings::SpankError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Errors of a containerized step.
#[derive(Debug)]
pub(crate) enum StepError {
    /// Slurm did not answer.
    Spank(SpankError),
    /// An option is no good.
    Option(OptionError),
    /// A runtime directory.
    RuntimeDir { operation: &'static str, path: PathBuf, problem: &'static str },
    /// The tasks' lock, state or socket.
    Shared(io::Error),
    /// The task that was starting the container is gone.
    StarterDied,
    /// The task that was to start the container has said why it could not.
    OtherTaskFailed,
    /// The runtime reported success and sent nothing.
    NoContainer,
    /// A batch step without a script.
    NoBatchScript,
    /// Not implemented by the built-in runtime.
    Unsupported(&'static str),
    /// The source of a mount.
    MountSource(PathBuf),
    /// The runtime's program does not start.
    Execute { program: PathBuf },
    /// The runtime said no.
    Start(String),
    /// A namespace of the container.
    Join { namespace: &'static str, source: nix::Error },
    /// A directory of the container.
    Chdir { directory: PathBuf, source: nix::Error },
    /// The container's environment.
    Environ(io::Error),
    /// The system call filter.
    Seccomp(io::Error),
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spank(error) => write!(f, "Slurm refused a request: {error}"),
            Self::Option(error) => error.fmt(f),
            Self::RuntimeDir { operation, path, problem } => {
                write!(
                    f,
                    "couldn't {operation} the runtime directory {}: {problem}",
                    path.display()
                )
            }
            Self::Shared(error) => write!(f, "couldn't coordinate the tasks of the step: {error}"),
            Self::StarterDied => {
                f.write_str("a previous task terminated unexpectedly during container setup")
            }
            Self::OtherTaskFailed => {
                f.write_str("container was not started successfully by another task")
            }
            Self::NoContainer => f.write_str("the runtime did not hand over the container"),
            Self::NoBatchScript => f.write_str("couldn't get the batch script: argc == 0"),
            Self::Unsupported(what) => {
                write!(f, "{what} is not supported by the built-in runtime")
            }
            Self::MountSource(path) => {
                write!(f, "--container-mounts: source path does not exist: {}", path.display())
            }
            Self::Execute { program } => {
                write!(
                    f,
                    "couldn't execute {} (is it installed on this node? plugstack.conf can name \
                     it with pyxis_path=)",
                    program.display()
                )
            }
            Self::Start(log) => write!(f, "container start failed: {log}"),
            Self::Join { namespace, source } => {
                write!(f, "couldn't join {namespace} namespace: {source}")
            }
            Self::Chdir { directory, source } => {
                write!(f, "couldn't chdir to {}: {source}", directory.display())
            }
            Self::Environ(error) => {
                write!(f, "couldn't read container environment: {error}")
            }
            Self::Seccomp(error) => write!(f, "seccomp filter failed: {error}"),
        }
    }
}

impl std::error::Error for StepError {}

impl From<SpankError> for StepError {
    fn from(error: SpankError) -> Self {
        StepError::Spank(error)
    }
}

impl From<OptionError> for StepError {
    fn from(error: OptionError) -> Self {
        StepError::Option(error)
    }
}
