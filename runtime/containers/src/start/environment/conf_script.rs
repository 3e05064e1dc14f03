//! A configuration script (`start --conf`): the site's hooks run between two halves of it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use linux::sys;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::start::error::StartError;

/// Reads the configuration, which is `$0` and finds the command's words in `$@`, and calls its functions.
/// Descriptors 8 and 9 say when to go on.
const SCRIPT: &str = r#""$BASH" -n "$0" || exit 1
set -euo pipefail
shopt -s lastpipe
source "$ENROOT_LIBRARY_PATH/common.sh"
source "$0" < /dev/null
if declare -F environ > /dev/null; then environ >> "$ENROOT_ENVIRON"; fi
echo >&9
read -r -n 1 <&8
if declare -F hooks > /dev/null; then hooks > /dev/null; fi
if declare -F mounts > /dev/null; then mounts > "$ENROOT_RUNTIME_PATH/mounts"; fi
if declare -F rc > /dev/null; then declare -f rc > "$ENROOT_RUNTIME_PATH/rc"; fi
"#;
const GO_FD: i32 = 8;
const READY_FD: i32 = 9;
/// Where it writes its mount lines, and the function `rc`: in the hooks' directory, by these names.
const MOUNTS: &str = "mounts";
const COMMANDS: &str = "rc";

/// A running configuration script.
pub(super) struct RunningScript {
    conf: PathBuf,
    bash: Child,
    go: File,
    ready: File,
}

impl RunningScript {
    /// Starts it by `bash`, which has the variables of hooks, with the `words` of the command. What its functions
    /// leave is put into the hooks' directory; what else it prints is the caller's to read.
    pub(super) fn start(
        mut bash: Command,
        conf: &Path,
        words: &[OsString],
    ) -> Result<RunningScript, StartError> {
        let failed = |problem| StartError::Conf { path: conf.to_owned(), problem, code: 1 };
        let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(|errno| StartError::Process(errno.into()));
        let ((waits, go), (ready, says)) = (pipe()?, pipe()?);
        let conf = std::path::absolute(conf).map_err(|error| failed(error.to_string()))?;
        bash.args(["--norc", "-c", SCRIPT]).arg(&conf).args(words).stdout(Stdio::inherit());
        let (from, to) = (sys::move_up(waits), sys::move_up(says));
        let (from, to) = (from.map_err(StartError::Process)?, to.map_err(StartError::Process)?);
        let place = [(from.as_raw_fd(), GO_FD), (to.as_raw_fd(), READY_FD)];
        // SAFETY: only system calls on numbers; the descriptors are open until after the fork.
        unsafe {
            bash.pre_exec(move || {
                place.iter().try_for_each(|(fd, number)| sys::place_raw(*fd, *number))
            });
        }
        let bash = bash.spawn().map_err(|error| {
            failed(format!("bash: {error}; configuration scripts need it on the host"))
        })?;
        let _: (OwnedFd, OwnedFd) = (from, to);
        Ok(RunningScript { conf, bash, go: go.into(), ready: ready.into() })
    }

    /// Waits until the environment is written.
    pub(super) fn wait_until_ready(&mut self) -> Result<(), StartError> {
        match self.ready.read(&mut [0]) {
            Ok(1) => Ok(()),
            _ => Err(self.failure()),
        }
    }

    pub(super) fn finish(mut self) -> Result<(), StartError> {
        let _ = self.go.write_all(b"\n");
        match self.bash.wait() {
            Ok(status) if status.success() => Ok(()),
            _ => Err(self.failure()),
        }
    }

    fn failure(&mut self) -> StartError {
        let (problem, code) = match self.bash.wait() {
            Ok(status) if status.success() => ("it ended the shell that reads it".to_owned(), 1),
            Ok(status) => (status.to_string(), exit_code(status)),
            Err(error) => (error.to_string(), 1),
        };
        StartError::Conf { path: self.conf.clone(), problem, code }
    }
}

/// What a shell says that has run it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// The mount lines that a script has left in `results`.
pub(super) fn mounts(results: &Path) -> Vec<u8> {
    fs::read(results.join(MOUNTS)).unwrap_or_default()
}

/// The commands of its function `rc`, if it has one.
pub(super) fn commands(results: &Path) -> Option<Vec<u8>> {
    fs::read(results.join(COMMANDS)).ok().map(|text| body(&text))
}

/// The commands of a function that bash has printed.
fn body(function: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = function.trim_ascii().split(|byte| *byte == b'\n').collect();
    let inner = lines.get(2..lines.len().saturating_sub(1)).unwrap_or_default();
    let mut script = inner.join(&b'\n');
    script.push(b'\n');
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_commands_are_a_script() {
        assert_eq!(
            body(b"rc () \n{ \n    cd /x;\n    exec \"$@\"\n}\n"),
            b"    cd /x;\n    exec \"$@\"\n"
        );
        assert_eq!(body(b""), b"\n");
    }
}
