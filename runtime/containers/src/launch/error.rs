//! Why a program does not start in a container that did.

use std::ffi::OsString;
use std::io;

use linux::file_error::FileError;

/// Errors of [`super`].
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The program cannot be executed.
    #[error("cannot execute {}: {source}{}", program.to_string_lossy(), hint(program, source))]
    Execute {
        /// As asked for.
        program: OsString,
        /// From the kernel.
        source: io::Error,
    },
    /// The directory to start in cannot be entered.
    #[error(transparent)]
    Directory(FileError),
    /// The command script could not be passed on.
    #[error("cannot pass on the command script: {0}")]
    Script(io::Error),
    /// Privileges could not be given up.
    #[error("cannot confine the program: {0}")]
    Confine(io::Error),
    /// A process could not be made.
    #[error("cannot start a process: {0}")]
    Process(io::Error),
    /// The entrypoint went its own way.
    #[error("the image's entrypoint ended before it ran the command ({0})")]
    Entrypoint(String),
}

/// A shell that is missing was not asked for by the user.
fn hint(program: &OsString, source: &io::Error) -> &'static str {
    if program == "/bin/sh" && source.kind() == io::ErrorKind::NotFound {
        " (the image has no shell, which its /etc/rc or a login needs)"
    } else {
        ""
    }
}

impl LaunchError {
    /// The exit code a shell gives for the same trouble.
    pub fn exit_code(&self) -> u8 {
        match self {
            LaunchError::Execute { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            LaunchError::Execute { .. } => 126,
            _ => 1,
        }
    }
}
