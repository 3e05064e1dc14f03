//! Running an image's entrypoint for its effects alone: what it exports and where it goes.
//!
//! The script runs as ever, up to the command, which is a shell that names itself and waits. Its
//! environment and working directory are read from `/proc` then, and it is killed.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use hygiene::console;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, pipe2};

use super::{Launch, LaunchError, confine};
use crate::start::{Container, files};
use handover::fork::fork;
use linux::environ::{self, Environ, can_be_noted};
use linux::sys;

/// Descriptors that any shell can name in a redirection.
const NAME_FD: i32 = 8;
const WAIT_FD: i32 = 9;
/// Set by shells for themselves.
const NOT_EXPORTED: [&[u8]; 3] = [b"_", b"SHLVL", b"OLDPWD"];

/// Runs the image's entrypoint and gives `container` the environment and the directory that its
/// command would have had.
///
/// # Errors
/// [`LaunchError::Entrypoint`] if it never came to the command, and others.
pub fn run_entrypoint(container: &mut Container, login: bool) -> Result<(), LaunchError> {
    let process = |errno: nix::Error| LaunchError::Process(errno.into());
    // With capabilities it could put another thing in place of /proc.
    container.keep_namespaces().map_err(LaunchError::Process)?;
    let (named, name) = pipe2(OFlag::O_CLOEXEC).map_err(process)?;
    let (wait, waited) = pipe2(OFlag::O_CLOEXEC).map_err(process)?;
    let script = format!("echo $$ >&{NAME_FD}; read x <&{WAIT_FD}");
    let launch =
        Launch { command: vec!["/bin/sh".into(), "-c".into(), script.into()], script: None, login };
    let child = match fork().map_err(process)? {
        ForkResult::Child => {
            drop((named, waited));
            let error = run(&launch, container, name, wait).unwrap_err();
            console::tell(format_args!("pyxis: {error}"));
            // SAFETY: _exit never returns and touches no memory.
            unsafe { nix::libc::_exit(error.exit_code().into()) }
        }
        ForkResult::Parent { child } => child,
    };
    drop((name, wait));
    let mut line = String::new();
    // A line, not all there is: what the entrypoint leaves running keeps the pipe open.
    let _ = BufReader::new(File::from(named).take(32)).read_line(&mut line);
    // Its word, which may be any: no number of a group, or of all.
    let Some(pid) = line.trim().parse::<i32>().ok().filter(|pid| *pid > 1) else {
        let status = waitpid(child, None).map_err(process)?;
        return Err(LaunchError::Entrypoint(match status {
            WaitStatus::Exited(_, code) => format!("exit code {code}"),
            WaitStatus::Signaled(_, signal, _) => format!("killed by {signal}"),
            _ => "stopped".to_owned(),
        }));
    };
    let found = read(pid).map_err(LaunchError::Process);
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    drop(waited);
    // An entrypoint that waits for its command ends too; one that does not is the command.
    let _ = kill(child, Signal::SIGKILL);
    let _ = waitpid(child, None);
    let (environ, cwd) = found?;
    container.environ = environ;
    container.cwd = cwd;
    Ok(())
}

fn run(
    launch: &Launch,
    container: &Container,
    name: OwnedFd,
    wait: OwnedFd,
) -> Result<std::convert::Infallible, LaunchError> {
    let invocation = launch.invocation(container)?;
    container.restore_umask();
    confine(!container.privileged()).map_err(LaunchError::Confine)?;
    // Moved out of the way first: either may have the other's number.
    let placed = sys::move_up(name).and_then(|name| {
        let wait = sys::move_up(wait)?;
        sys::place(&name, NAME_FD).and_then(|()| sys::place(&wait, WAIT_FD))
    });
    placed.map_err(LaunchError::Process)?;
    Err(invocation.exec(&container.environ))
}

fn read(pid: i32) -> io::Result<(Environ, PathBuf)> {
    let block = files::read(format!("/proc/{pid}/environ"))?;
    let mut environ = environ::from_block(&block);
    // Not the functions that bash exports.
    environ.retain(|name, _| {
        can_be_noted(name.as_bytes()) && !NOT_EXPORTED.contains(&name.as_bytes())
    });
    let cwd = fs::read_link(format!("/proc/{pid}/cwd"))?;
    environ.insert("PWD".into(), cwd.clone().into());
    Ok((environ, cwd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_the_programs_but_for_what_shells_keep() {
        let variables = [("A", "1"), ("a.b", "2"), ("_", "x"), ("BASH_FUNC_f%%", "() { :; }")];
        let mut program = std::process::Command::new("sleep");
        program.arg("600").env_clear().envs(variables).current_dir("/");
        let mut child = program.spawn().unwrap();
        let read = read(i32::try_from(child.id()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        let (environ, cwd) = read.unwrap();
        let names: Vec<_> = environ.keys().map(|name| name.to_str().unwrap()).collect();
        assert_eq!(names, ["A", "PWD", "a.b"]);
        assert_eq!(cwd, PathBuf::from("/"));
    }
}
