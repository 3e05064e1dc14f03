//! Running a program in a container that runs already, named by one of its processes.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::unistd::fchdir;

use super::running::Pinned;
use crate::launch::{LaunchError, confine};
use crate::start::supervise;
use linux::environ::{self, Environ};
use linux::sys;

/// What to enter.
#[derive(Debug)]
pub struct Exec {
    /// A process in the container.
    pub pid: i32,
    /// `NAME` (the caller's value) or `NAME=VALUE`, over the process's environment.
    pub env: Vec<OsString>,
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

/// In the order in which they can be joined.
const NAMESPACES: [(&str, CloneFlags); 7] = [
    ("user", CloneFlags::CLONE_NEWUSER),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("mnt", CloneFlags::CLONE_NEWNS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
];

/// The calling process, in the container.
#[derive(Debug)]
pub struct Entered {
    environ: Environ,
    own_user: bool,
}

impl Exec {
    /// Moves the calling process into the container.
    ///
    /// # Errors
    /// [`ExecError`].
    pub fn enter(self) -> Result<Entered, ExecError> {
        let pid = self.pid;
        let process = Pinned::open(pid).map_err(|_| ExecError::NotFound { pid })?;
        let failed = |what| move |source| ExecError::Open { pid, what, source };
        let mut found: Vec<(&str, CloneFlags, OwnedFd)> = Vec::new();
        for (which, flag) in NAMESPACES {
            let namespace = process.namespace(which).map_err(failed("a namespace"))?;
            found.extend(namespace.map(|fd| (which, flag, fd)));
        }
        let cwd = process.open_file("cwd", OFlag::O_PATH).map_err(failed("the directory"))?;
        let environ =
            process.open_file("environ", OFlag::O_RDONLY).map_err(failed("the environment"))?;
        let mut block = Vec::new();
        File::from(environ).read_to_end(&mut block).map_err(failed("the environment"))?;
        if !process.is_alive() {
            return Err(ExecError::NotFound { pid });
        }
        let mut environ = environ::from_block(&block);
        environ::add_wanted(&mut environ, &self.env, &std::env::vars_os().collect());

        // Between two namespaces its root is the host's.
        sys::hide_from_tracers();
        let own_user = found.iter().any(|(which, ..)| *which == "user");
        let own_pid = found.iter().any(|(which, ..)| *which == "pid");
        for (which, flag, namespace) in found {
            setns(namespace, flag).map_err(|errno| ExecError::Join {
                pid,
                which,
                source: errno.into(),
            })?;
        }
        fchdir(cwd).map_err(|errno| failed("the directory")(errno.into()))?;
        if own_pid {
            supervise().map_err(|source| ExecError::Join { pid, which: "pid", source })?;
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
