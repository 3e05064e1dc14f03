//! Running a program in a container that runs already, named by one of its processes.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::fcntl::OFlag;
use nix::unistd::fchdir;

use super::owner::become_owner;
use crate::launch::{LaunchError, confine};
use crate::record::pinned::{Pinned, unless_ours};
use crate::start::supervise;
use handover::namespaces::Namespace;
use linux::environ::{self, Environ};

/// What to enter.
#[derive(Debug)]
pub struct Exec {
    /// A process in the container.
    pub pid: i32,
    /// `NAME` (the caller's value) or `NAME=VALUE`, over the process's environment.
    pub env: Vec<OsString>,
    /// The environment of the host.
    pub host: Environ,
}

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

/// The calling process, in the container.
#[derive(Debug)]
pub struct Entered {
    environ: Environ,
    own_user: bool,
}

impl Exec {
    /// Moves the calling process into the container. Root becomes the container's owner first: where it has a
    /// terminal, in a child, for which the calling process copies.
    ///
    /// # Errors
    /// [`ExecError`].
    pub fn enter(self) -> Result<Entered, ExecError> {
        let pid = self.pid;
        let process = Pinned::open(pid).map_err(|_| ExecError::NotFound { pid })?;
        let failed = |what| move |source| ExecError::Open { pid, what, source };
        let user = process.open_namespace(Namespace::User).map_err(failed("a namespace"))?;
        // From here on with no other rights than the process has itself: all that it shows may be
        // made by whoever runs there.
        let apart = become_owner(pid, &process, &user)?;
        let user = unless_ours(Namespace::User, user).map_err(failed("a namespace"))?;
        let own_user = user.is_some();
        let mut found: Vec<(Namespace, OwnedFd)> =
            user.map(|user| (Namespace::User, user)).into_iter().collect();
        for which in Namespace::ALL.into_iter().filter(|which| *which != Namespace::User) {
            let namespace = process.namespace(which).map_err(failed("a namespace"))?;
            found.extend(namespace.map(|fd| (which, fd)));
        }
        let cwd = process.open_file("cwd", OFlag::O_PATH).map_err(failed("the directory"))?;
        let block = process.environ().map_err(failed("the environment"))?;
        if !process.is_alive() {
            return Err(ExecError::NotFound { pid });
        }
        let mut environ = environ::from_block(&block);
        environ::add_wanted(&mut environ, &self.env, &self.host);

        let own_pid = found.iter().any(|(which, _)| *which == Namespace::Pid);
        for (which, namespace) in found {
            which.join(namespace).map_err(|errno| ExecError::Join {
                pid,
                which: which.file(),
                source: errno.into(),
            })?;
        }
        fchdir(cwd).map_err(|errno| failed("the directory")(errno.into()))?;
        if own_pid || apart.is_some() {
            supervise(apart).map_err(|source| ExecError::Join { pid, which: "pid", source })?;
        }
        Ok(Entered { environ, own_user })
    }
}

impl Entered {
    /// Replaces the calling process by the program.
    ///
    /// # Errors
    /// [`LaunchError`], with the exit code that a shell would give.
    pub fn launch(self, command: &[OsString]) -> Result<Infallible, LaunchError> {
        confine(self.own_user).map_err(LaunchError::Confine)?;
        let program = command.first().cloned().unwrap_or_else(|| OsStr::from_bytes(b"sh").into());
        let error = Command::new(&program)
            .args(command.iter().skip(1))
            .env_clear()
            .envs(&self.environ)
            .exec();
        Err(LaunchError::Execute { program, source: error })
    }
}
