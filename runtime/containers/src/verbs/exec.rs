//! Running a program in a container that runs already, named by one of its processes.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::fcntl::OFlag;
use nix::unistd::fchdir;

use super::exec_error::ExecError;
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
