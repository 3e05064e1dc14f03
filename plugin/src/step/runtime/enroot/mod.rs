//! enroot: it executes a command in the container, here a shell that stops itself, and what the
//! stopped process has is the container.
//!
//! A monitor process stands between the task and enroot, so that the user's program gets no
//! child it never made, and so that with `use_squashfuse` enroot's FUSE processes live as long as
//! the step.

// The monitor and the task that waits for it are the user's: Slurm ends them with the step.
#![allow(clippy::disallowed_methods)]

pub(super) mod conf;
mod running;

use super::context::{Context, Target};
use super::verbs::Existing;
use crate::root::child::output::{KEPT, some_of};
use crate::root::child::{Command, print_log, terminated};
use crate::root::runtime::Runtime;
use crate::root::shared::Channels;
use crate::root::text::after;
use crate::step::error::StepError;
use conf::ConfFile;
use handover::Part;
use handover::fork::fork;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, pipe2, read, setsid};
use spank_bindings::{export, log};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

/// The most that the monitor has to say.
const REPORT: usize = 4096;
/// First byte of the monitor's report: the container has been handed over.
const STARTED: u8 = b'+';
/// Or: it was running when it was looked for, and has ended.
const ENDED: u8 = b'-';

/// Starts `target` and has its descriptors sent.
pub(super) fn start(
    enroot: &Runtime,
    context: Context<'_>,
    target: Target<'_>,
    channels: Channels<'_>,
) -> Result<(), StepError> {
    let plan = context.plan;
    let conf = ConfFile::write(plan, target.mounts(plan))?;
    let arguments: [&OsStr; 7] = [
        "start".as_ref(),
        "--conf".as_ref(),
        conf.path().as_ref(),
        target.argument().as_ref(),
        "sh".as_ref(),
        "-c".as_ref(),
        "kill -STOP $$; exit 0".as_ref(),
    ];
    let monitor = Monitor {
        enroot,
        start: context.caller.command(&enroot.command().program, &arguments, [None; 4]),
        target,
        channels,
        log: log_file()?,
    };
    let report = monitor.run_apart()?;
    let log = read_log(&monitor.log)?;
    if report.first() == Some(&STARTED) {
        for line in log.lines().filter(|_| plan.entrypoint && plan.entrypoint_log) {
            log::spank_log!("{line}");
        }
        return Ok(());
    }
    if report.first() == Some(&ENDED) || says_absent(&log, &plan.name) {
        return Err(StepError::Vanished(plan.name.clone()));
    }
    let what = String::from_utf8_lossy(&report).into_owned();
    let what = if what.is_empty() { StepError::MonitorDied.to_string() } else { what };
    log::error!("pyxis: {what}");
    if plan.entrypoint {
        log::error!(
            "pyxis: if the image has an unusual entrypoint, try using \
             --no-container-entrypoint"
        );
    }
    print_log("enroot", log.lines());
    Err(StepError::Reported)
}

/// A memory file for what enroot says while nobody listens. Only a user's own process may have
/// one: its child can grow it.
fn log_file() -> Result<File, StepError> {
    memfd_create("pyxis-log", MFdFlags::MFD_CLOEXEC)
        .map(File::from)
        .map_err(|errno| StepError::Process(errno.into()))
}

/// What was written to it, as far as that is worth reading.
fn read_log(log: &File) -> Result<String, StepError> {
    let text = some_of(log, KEPT).map_err(StepError::Process)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Whether enroot's words are that there is no container of this name: it has no exit code for it.
fn says_absent(log: &str, name: &str) -> bool {
    log.lines()
        .filter_map(|line| after(line.as_bytes(), b"No such file or directory: "))
        .filter_map(|path| path.trim_ascii_end().strip_suffix(name.as_bytes()))
        .any(|parent| parent.ends_with(b"/"))
}

struct Monitor<'a> {
    enroot: &'a Runtime,
    /// What starts the container.
    start: Command<'a>,
    target: Target<'a>,
    channels: Channels<'a>,
    log: File,
}

/// How many processes of a running container to try in turn: each may have just ended.
const CANDIDATES: u32 = 10;

impl Monitor<'_> {
    /// Takes hold of the running container that `pid` was in when it was looked for: by this
    /// process or another, whose root directory is that of `started`.
    fn joinable(
        &self,
        name: &str,
        mut pid: i32,
        started: &running::Joinable,
        own: Pid,
    ) -> Result<running::Joinable, StepError> {
        for _ in 0..CANDIDATES {
            let pinned = running::Process::open(pid).and_then(|process| process.pin());
            if let Ok(pinned) = pinned {
                if pinned.has_root_of(started) {
                    return Ok(pinned);
                }
            }
            match self.enroot.find(self.start.caller, name)? {
                Some(Existing::Running(next)) if next != own.as_raw() => pid = next,
                _ => break,
            }
        }
        Err(StepError::Vanished(name.to_owned()))
    }

    /// Forks the monitor and returns its report.
    fn run_apart(&self) -> Result<Vec<u8>, StepError> {
        let failed = |errno: nix::Error| StepError::Process(errno.into());
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let (alive, running) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        match fork().map_err(failed)? {
            ForkResult::Parent { child } => {
                drop((writer, running));
                waitpid(child, None).map_err(failed)?;
                let mut report = vec![0; REPORT];
                let mut length = 0;
                loop {
                    match read(&reader, &mut report[length..]) {
                        Err(nix::Error::EINTR) => {}
                        Ok(0) => break,
                        count => length += count.map_err(failed)?,
                    }
                }
                report.truncate(length);
                Ok(report)
            }
            ForkResult::Child => {
                // The monitor becomes init's child.
                if let Ok(ForkResult::Child) = fork() {
                    let mut writer = File::from(writer);
                    drop(reader);
                    let done = export::catch(|| self.watch(&mut writer, alive, running));
                    if let Err(panic) = done {
                        let _ = writer.write_all(panic.as_bytes());
                    }
                }
                // SAFETY: leaves the copy without the parent's exit handlers.
                unsafe { libc::_exit(0) }
            }
        }
    }

    /// The monitor's life.
    fn watch(&self, report: &mut File, alive: OwnedFd, _running: OwnedFd) {
        match self.started(alive) {
            Ok(enroot) => {
                let _ = report.write_all(&[STARTED]);
                self.linger(report, enroot);
            }
            Err(StepError::Vanished(_)) => {
                let _ = report.write_all(&[ENDED]);
            }
            Err(error) => {
                let _ = report.write_all(error.to_string().as_bytes());
            }
        }
    }

    /// Runs enroot until it has stopped itself, and hands over what it has.
    fn started(&self, alive: OwnedFd) -> Result<Pid, StepError> {
        let failed = |errno: nix::Error| StepError::Process(errno.into());
        let _ = setsid();
        let null = OpenOptions::new().read(true).write(true).open("/dev/null");
        if let Ok(null) = null {
            // Not slurmstepd's pipes: srun waits for their end.
            let _ = (dup2_stdin(&null), dup2_stdout(&null), dup2_stderr(&null));
        }
        let enroot = self.start.spawn(self.log.as_fd(), self.log.as_fd(), &SigSet::empty())?;
        let status = loop {
            match waitpid(enroot, Some(WaitPidFlag::WUNTRACED)) {
                Err(nix::Error::EINTR) => {}
                status => break status.map_err(failed)?,
            }
        };
        match status {
            WaitStatus::Stopped(..) => {}
            WaitStatus::Exited(_, 0) => return Err(StepError::ExitedTooSoon),
            WaitStatus::Exited(_, 127) if read_log(&self.log)?.is_empty() => {
                return Err(StepError::Execute { program: self.start.program.to_owned() });
            }
            WaitStatus::Exited(_, code) => return Err(StepError::ErrorCode(code)),
            WaitStatus::Signaled(_, signal, _) => {
                return Err(StepError::Start(terminated(signal)));
            }
            _ => return Err(StepError::ExitedTooSoon),
        }
        let given = self.give(enroot, alive);
        if given.is_err() {
            // It would stay stopped.
            let _ = kill(enroot, Signal::SIGKILL);
            let _ = waitpid(enroot, None);
        }
        given.map(|()| enroot)
    }

    /// Hands over what the stopped child has. Its PID cannot be reused.
    fn give(&self, enroot: Pid, alive: OwnedFd) -> Result<(), StepError> {
        let mut container = running::Process::open(enroot.as_raw())?.container()?;
        if let Target::Running(name, pid) = self.target {
            let started = running::Process::open(enroot.as_raw())?.pin()?;
            let joinable = self.joinable(name, pid, &started, enroot)?;
            container = joinable.container(container)?;
        }
        container.put(Part::Helpers, alive);
        container.send(self.channels.socket).map_err(StepError::Process)
    }

    /// Lets enroot's process go: at once, or when the step ends if the file system needs it.
    fn linger(&self, report: &mut File, enroot: Pid) {
        if let Target::File(_) = self.target {
            for name in Signal::iterator() {
                if name != Signal::SIGCHLD {
                    // SAFETY: SIG_IGN runs no code.
                    let _ = unsafe { signal(name, SigHandler::SigIgn) };
                }
            }
            // The task waits for the end of the report.
            if let Ok(null) = OpenOptions::new().write(true).open("/dev/null") {
                *report = null;
            }
            let mut ended = [PollFd::new(self.channels.step_socket, PollFlags::POLLIN)];
            while poll(&mut ended, PollTimeout::NONE).is_err() {}
        }
        let _ = kill(enroot, Signal::SIGCONT);
        let _ = waitpid(enroot, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_is_not_there_is_told_from_other_troubles() {
        let path = "No such file or directory: /data/pyxis_a";
        assert!(says_absent(&format!("other\n[ERROR] {path}\n"), "pyxis_a"));
        assert!(!says_absent(path, "a") && !says_absent(path, "pyxis_b"));
        assert!(!says_absent("cannot mount /x: No such file or directory", "pyxis_a"));
    }
}
