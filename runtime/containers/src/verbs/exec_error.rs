//! Why no program is run in a container that runs already.

use std::io;

/// Why nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// No such process, or none that the caller may look into.
    #[error("Process not found: {pid}")]
    NotFound {
        /// As given.
        pid: i32,
    },
    /// Something of the process cannot be opened.
    #[error("cannot open {what} of process {pid}: {source}")]
    Open {
        /// The process.
        pid: i32,
        /// The name in its directory in `/proc`.
        what: &'static str,
        /// From the kernel.
        source: io::Error,
    },
    /// The process has another uid than whoever made its user namespace.
    #[error(
        "process {pid} is of uid {uid}, in a user namespace of uid {owner}: \
         there is nobody whose rights a program there could have"
    )]
    Foreign {
        /// The process.
        pid: i32,
        /// Its own.
        uid: u32,
        /// Of the user namespace.
        owner: u32,
    },
    /// Root's own process, or one that a user has started with root's rights.
    #[error(
        "process {pid} has root's ids, and is in no container of root's: nothing is executed for it"
    )]
    NotContained {
        /// The process.
        pid: i32,
    },
    /// Root's terminal is not for the program, and there is no other one.
    #[error("cannot make a terminal of its own for the program: {0}")]
    Terminal(#[source] io::Error),
    /// Root could not become the process's user.
    #[error("cannot become uid {uid}, whose process {pid} is: {source}")]
    Become {
        /// The process.
        pid: i32,
        /// Its user.
        uid: u32,
        /// From the kernel.
        source: io::Error,
    },
    /// Root's process could not go to where the process is limited.
    #[error("cannot have the limits of process {pid}: {source}")]
    Limits {
        /// The process.
        pid: i32,
        /// From the kernel.
        source: io::Error,
    },
    /// A namespace cannot be joined.
    #[error("cannot join the {which} namespace of process {pid}: {source}")]
    Join {
        /// The process.
        pid: i32,
        /// The namespace.
        which: &'static str,
        /// From the kernel.
        source: io::Error,
    },
}
