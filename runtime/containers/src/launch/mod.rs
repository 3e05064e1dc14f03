//! Running a program in a started container: directly, or through the image's command script.

mod confine;
mod entrypoint;
mod error;
mod rc;

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use confine::confine;
pub use entrypoint::run_entrypoint;
pub use error::LaunchError;

use crate::start::{Container, files};
use linux::environ::Environ;
use linux::file_error::FileError;
use linux::sys;
use rc::Simple;

/// The image's command script.
const SCRIPT: &str = "/etc/rc";
/// Sourced by it.
const LOCAL: &str = "/etc/rc.local";

/// What an image's command script executes, where it is the script that importers write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptInvocation {
    /// Where programs start.
    pub directory: PathBuf,
    /// Words before what is asked for.
    pub entrypoint: Vec<OsString>,
    /// All words where nothing is asked for.
    pub default: Vec<OsString>,
}

/// Reads the scripts of an image; `None` for what only a shell understands.
pub fn said(script: &[u8], local: &[u8]) -> Option<ScriptInvocation> {
    let (directory, entrypoint, default) = Simple::parse(script, local)?.parts();
    Some(ScriptInvocation { directory, entrypoint, default })
}

/// What to run in a container.
#[derive(Debug, Default)]
pub struct Launch {
    /// Program and arguments; may be empty.
    pub command: Vec<OsString>,
    /// A script in place of the image's own.
    pub script: Option<Vec<u8>>,
    /// Start a login shell, which reads `/etc/profile`.
    pub login: bool,
}

/// What is executed.
struct Invocation {
    program: OsString,
    /// What it is told that its name is.
    name: OsString,
    arguments: Vec<OsString>,
    directory: PathBuf,
    /// A script in memory, to stay open.
    script: Option<OwnedFd>,
}

impl Launch {
    /// Replaces the calling process by the program.
    ///
    /// # Errors
    /// [`LaunchError`], with the exit code that a shell would give.
    pub fn exec(&self, container: &mut Container) -> Result<Infallible, LaunchError> {
        container.complete();
        let invocation = self.invocation(container)?;
        container.restore_umask();
        confine(!container.privileged()).map_err(LaunchError::Confine)?;
        Err(invocation.exec(&container.environ))
    }

    fn invocation(&self, container: &Container) -> Result<Invocation, LaunchError> {
        if !self.login && self.script.is_none() {
            if let Some(invocation) = self.without_shell(&container.home) {
                return Ok(invocation);
            }
        }
        let shell = shell(&container.environ);
        let base = Path::new(&shell).file_name().unwrap_or(OsStr::new("sh")).to_owned();
        let mut name = OsString::from(if self.login { "-" } else { "" });
        name.push(&base);
        let script = match &self.script {
            Some(text) => Some(sys::memory_file("rc", text).map_err(LaunchError::Script)?),
            None => None,
        };
        let mut arguments: Vec<OsString> = Vec::new();
        let first = self.command.first();
        if let Some(script) = &script {
            arguments.push(format!("/proc/self/fd/{}", script.as_raw_fd()).into());
        } else if Path::new(SCRIPT).is_file() {
            arguments.push(SCRIPT.into());
        } else if let Some(first) = first.filter(|first| first.as_bytes().contains(&b' ')) {
            arguments.extend(["-c".into(), first.clone(), base]);
            arguments.extend_from_slice(&self.command[1..]);
            return Ok(Invocation {
                program: shell,
                name,
                arguments,
                directory: container.home.clone(),
                script,
            });
        } else if first.is_some_and(|first| !is_shell_script(&container.home.join(first))) {
            arguments.extend(["-c".into(), "exec \"$@\"".into(), base]);
        }
        arguments.extend_from_slice(&self.command);
        let directory = container.home.clone();
        Ok(Invocation { program: shell, name, arguments, directory, script })
    }

    /// For images whose script is understood, or that have none.
    fn without_shell(&self, home: &Path) -> Option<Invocation> {
        let (command, directory) = match files::read(SCRIPT) {
            Ok(script) => {
                let local = files::read(LOCAL).unwrap_or_default();
                let simple = Simple::parse(&script, &local)?;
                let directory = simple.directory.clone();
                let _ = fs::create_dir_all(&directory);
                (simple.command(&self.command), directory)
            }
            Err(_) => (self.command.clone(), home.to_owned()),
        };
        // As in a shell's `exec "$@"`.
        let end_of_options = command.first().is_some_and(|word| word == "--");
        let (program, arguments) = command[usize::from(end_of_options)..].split_first()?;
        // What the shell would have to run itself, or is to be given as a script.
        let for_shell =
            program.as_bytes().contains(&b' ') || is_shell_script(&directory.join(program));
        (!for_shell).then(|| Invocation {
            program: program.clone(),
            name: program.clone(),
            arguments: arguments.to_vec(),
            directory,
            script: None,
        })
    }
}

impl Invocation {
    /// Only returns if it fails.
    fn exec(self, environ: &Environ) -> LaunchError {
        if let Err(source) = std::env::set_current_dir(&self.directory) {
            return LaunchError::Directory(FileError::new(
                "change to directory",
                self.directory,
                source,
            ));
        }
        if let Some(script) = &self.script {
            if let Err(error) = sys::inherit(script.as_fd()) {
                return LaunchError::Script(error);
            }
        }
        let mut command = Command::new(&self.program);
        command.arg0(&self.name).args(&self.arguments).env_clear().envs(environ);
        if !environ.contains_key(OsStr::new("PWD")) {
            command.env("PWD", &self.directory);
        }
        LaunchError::Execute { program: self.program, source: command.exec() }
    }
}

fn shell(environ: &Environ) -> OsString {
    let executable = |path: &OsString| {
        let wanted = nix::unistd::AccessFlags::X_OK | nix::unistd::AccessFlags::R_OK;
        nix::unistd::access(path.as_os_str(), wanted).is_ok()
    };
    let chosen = environ.get(OsStr::new("SHELL")).filter(|path| executable(path));
    chosen.cloned().unwrap_or_else(|| "/bin/sh".into())
}

/// A file that exists and cannot be executed is taken for a shell script.
fn is_shell_script(path: &Path) -> bool {
    path.is_file() && !may_execute(path)
}

/// By the user's own rights, as it is once the capabilities are gone.
fn may_execute(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}
