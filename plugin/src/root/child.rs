//! Running a program as the user and keeping what it says.

use crate::step::StepError;
use crate::step::job::Credentials;
use nix::libc::{self, c_char, c_int};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, pthread_sigmask, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Where the child finds the socket it was given.
pub(crate) const SOCKET: RawFd = 3;
/// Exit code of a child whose program could not be executed, as a shell has it.
const NOT_EXECUTED: i32 = 127;

/// What to run. It does not outlive the process that runs it.
pub(crate) struct Command<'a> {
    /// Looked for in PATH.
    pub(crate) program: &'a Path,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environ: &'a [CString],
    /// Whom to become, where this is root.
    pub(crate) user: &'a Credentials,
    /// Inherited as [`SOCKET`]; every other descriptor is closed.
    pub(crate) socket: Option<BorrowedFd<'a>>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: WaitStatus,
    /// stdout, where it was asked for by itself.
    pub(crate) output: Vec<u8>,
    /// stderr, and stdout where it was not.
    pub(crate) log: String,
}

impl Outcome {
    pub(crate) fn success(&self) -> bool {
        matches!(self.status, WaitStatus::Exited(_, 0))
    }

    /// What it exited with.
    pub(crate) fn code(&self) -> Option<u8> {
        match self.status {
            WaitStatus::Exited(_, code) => u8::try_from(code).ok(),
            _ => None,
        }
    }

    /// How it ended, in words.
    pub(crate) fn ending(&self) -> String {
        match self.status {
            WaitStatus::Signaled(_, signal, _) => format!("terminated by {signal}"),
            WaitStatus::Exited(_, code) => format!("failed with error code {code}"),
            _ => "stopped".to_owned(),
        }
    }

    /// The path that it printed, as its first line: any bytes but a newline.
    pub(crate) fn path(&self) -> &Path {
        let line = self.output.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Path::new(OsStr::from_bytes(line))
    }

    /// Its lines that say something.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.log.lines().map(str::trim_end).filter(|line| !line.is_empty())
    }
}

/// A memory file for what a child says.
pub(crate) fn log_file() -> Result<File, StepError> {
    memfd_create("pyxis-log", MFdFlags::MFD_CLOEXEC)
        .map(File::from)
        .map_err(|errno| StepError::Process(errno.into()))
}

/// All that was written to it.
pub(crate) fn read_log(log: &File) -> Result<String, StepError> {
    Ok(String::from_utf8_lossy(&read_bytes(log)?).into_owned())
}

fn read_bytes(mut log: &File) -> Result<Vec<u8>, StepError> {
    let mut text = Vec::new();
    log.rewind().and_then(|()| log.read_to_end(&mut text)).map_err(StepError::Process)?;
    Ok(text)
}

impl Command<'_> {
    /// Runs it to its end, stdout and stderr together. Signals that would end this process are passed on.
    pub(crate) fn run(self) -> Result<Outcome, StepError> {
        let log = log_file()?;
        let status = self.wait(&log, &log)?;
        self.outcome(status, Vec::new(), read_log(&log)?)
    }

    /// As [`Command::run`], with stdout by itself.
    pub(crate) fn run_for_output(self) -> Result<Outcome, StepError> {
        let (output, log) = (log_file()?, log_file()?);
        let status = self.wait(&output, &log)?;
        self.outcome(status, read_bytes(&output)?, read_log(&log)?)
    }

    /// As [`Command::run_for_output`]; `tell` gets what it says on stderr line by line, once it
    /// takes longer than one would wait for in silence.
    pub(crate) fn run_and_tell(self, tell: impl FnMut(&str)) -> Result<Outcome, StepError> {
        let (output, log) = (log_file()?, log_file()?);
        let mut follower = Follower { log: &log, at: 0, began: Instant::now(), tell };
        let failed = |errno: nix::Error| StepError::Process(errno.into());
        let forwarding = Forwarding::begin().map_err(failed)?;
        let child = self.spawn(&output, &log, &forwarding.before)?;
        let status = forwarding.wait(child, Some(&mut || follower.look())).map_err(failed)?;
        self.outcome(status, read_bytes(&output)?, read_log(&log)?)
    }

    fn outcome(
        &self,
        status: WaitStatus,
        output: Vec<u8>,
        log: String,
    ) -> Result<Outcome, StepError> {
        match status {
            WaitStatus::Exited(_, NOT_EXECUTED) if log.is_empty() => {
                Err(StepError::Execute { program: self.program.to_owned() })
            }
            _ => Ok(Outcome { status, output, log }),
        }
    }

    fn wait(&self, output: &File, log: &File) -> Result<WaitStatus, StepError> {
        let failed = |errno: nix::Error| StepError::Process(errno.into());
        let forwarding = Forwarding::begin().map_err(failed)?;
        let child = self.spawn(output, log, &forwarding.before)?;
        forwarding.wait(child, None).map_err(failed)
    }

    /// Forks and executes the program.
    pub(crate) fn spawn(
        &self,
        output: &File,
        log: &File,
        signals: &SigSet,
    ) -> Result<Pid, StepError> {
        let name = c_string(self.program.as_os_str().to_owned())?;
        let mut arguments = vec![name.clone()];
        for argument in &self.arguments {
            arguments.push(c_string(argument.clone())?);
        }
        let (arguments, environ) = (pointers(&arguments), pointers(self.environ));
        let exec = Exec {
            program: &name,
            arguments: &arguments,
            environ: &environ,
            user: self.user,
            socket: self.socket.map_or(-1, |socket| socket.as_raw_fd()),
            output: output.as_raw_fd(),
            log: log.as_raw_fd(),
            signals,
            parent: Pid::this(),
        };
        // SAFETY: between fork and exec the child makes system calls on what was prepared above,
        // and allocates nothing: another thread of slurmstepd may hold the allocator's lock.
        match unsafe { fork() } {
            Ok(ForkResult::Parent { child }) => Ok(child),
            // SAFETY: this is the freshly forked child.
            Ok(ForkResult::Child) => unsafe { exec.run() },
            Err(errno) => Err(StepError::Process(errno.into())),
        }
    }
}

impl Command<'_> {
    /// Forks a process that becomes the user and waits; only when something is sent to the socket
    /// is the program executed. It ends when the socket's other end is closed, and is nobody's
    /// child: slurmstepd waits for its tasks only.
    pub(crate) fn spawn_on_demand(&self) -> Result<(), StepError> {
        let failed = |errno: nix::Error| StepError::Process(errno.into());
        let null = File::options().write(true).open("/dev/null").map_err(StepError::Process)?;
        let name = c_string(self.program.as_os_str().to_owned())?;
        let mut arguments = vec![name.clone()];
        for argument in &self.arguments {
            arguments.push(c_string(argument.clone())?);
        }
        let (arguments, environ) = (pointers(&arguments), pointers(self.environ));
        let exec = Exec {
            program: &name,
            arguments: &arguments,
            environ: &environ,
            user: self.user,
            socket: self.socket.map_or(-1, |socket| socket.as_raw_fd()),
            output: null.as_raw_fd(),
            log: null.as_raw_fd(),
            signals: &SigSet::empty(),
            parent: Pid::this(),
        };
        // SAFETY: as in `spawn`; the child forks once more and leaves by _exit.
        match unsafe { fork() }.map_err(failed)? {
            ForkResult::Parent { child } => waitpid(child, None).map(drop).map_err(failed),
            // SAFETY: system calls only, in freshly forked processes.
            ForkResult::Child => unsafe {
                if libc::fork() == 0 {
                    exec.run_on_demand()
                }
                libc::_exit(0)
            },
        }
    }
}

fn c_string(text: OsString) -> Result<CString, StepError> {
    CString::new(text.into_vec()).map_err(|error| StepError::Process(error.into()))
}

/// NULL-terminated, as exec wants them.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// What ends a task, and its child first.
const ENDING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// While a task waits for its child, these are the child's: it may have things to clean up. In
/// slurmstepd itself, which has threads for signals, nothing is changed.
struct Forwarding {
    before: SigSet,
    single: bool,
}

impl Forwarding {
    fn begin() -> nix::Result<Forwarding> {
        let mut before = SigSet::empty();
        let single = has_one_thread();
        let block = single.then(watched);
        pthread_sigmask(SigmaskHow::SIG_BLOCK, block.as_ref(), Some(&mut before))?;
        Ok(Forwarding { before, single })
    }

    /// Waits for the child, calling `look` now and then.
    fn wait(&self, child: Pid, mut look: Option<&mut dyn FnMut()>) -> nix::Result<WaitStatus> {
        let mut came = None;
        let status = loop {
            let flag = self.single.then_some(WaitPidFlag::WNOHANG);
            match waitpid(child, flag) {
                Ok(WaitStatus::StillAlive) => {
                    if let Some(look) = &mut look {
                        look();
                    }
                    match wait_for_signal(look.is_some())? {
                        None | Some(Signal::SIGCHLD) => {}
                        Some(signal) => {
                            came = Some(signal);
                            let _ = kill(child, signal);
                        }
                    }
                }
                Err(nix::Error::EINTR) => {}
                ended => break ended,
            }
        };
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None)?;
        if let Some(signal) = came {
            raise(signal)?;
        }
        status
    }
}

fn watched() -> SigSet {
    SigSet::from_iter(ENDING.into_iter().chain([Signal::SIGCHLD]))
}

/// One of those, or nothing after a while if `briefly`.
fn wait_for_signal(briefly: bool) -> nix::Result<Option<Signal>> {
    let waited = watched();
    if !briefly {
        return waited.wait().map(Some);
    }
    let pause = libc::timespec { tv_sec: 0, tv_nsec: 250_000_000 };
    // SAFETY: set and time are valid, and no information about the signal is asked for.
    match unsafe { libc::sigtimedwait(waited.as_ref(), std::ptr::null_mut(), &pause) } {
        -1 => Ok(None),
        signal => Signal::try_from(signal).map(Some),
    }
}

/// Reads on in what a child says.
struct Follower<'a, F> {
    log: &'a File,
    at: u64,
    began: Instant,
    tell: F,
}

/// What takes less is not worth a line.
const SILENCE: Duration = Duration::from_secs(2);

impl<F: FnMut(&str)> Follower<'_, F> {
    fn look(&mut self) {
        if self.began.elapsed() < SILENCE {
            return;
        }
        let mut new = vec![0; 64 << 10];
        // By position: the child writes at the offset that it shares with us.
        let count = self.log.read_at(&mut new, self.at).unwrap_or(0);
        let Some(end) = new[..count].iter().rposition(|byte| *byte == b'\n') else { return };
        for line in String::from_utf8_lossy(&new[..end]).lines() {
            (self.tell)(line);
        }
        self.at += end as u64 + 1;
    }
}

fn has_one_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// What the child needs, prepared before the fork.
struct Exec<'a> {
    program: &'a CStr,
    arguments: &'a [*const c_char],
    environ: &'a [*const c_char],
    user: &'a Credentials,
    socket: RawFd,
    output: RawFd,
    log: RawFd,
    signals: &'a SigSet,
    parent: Pid,
}

impl Exec<'_> {
    /// # Safety
    /// Only in a freshly forked child.
    unsafe fn run(&self) -> ! {
        // SAFETY: async-signal-safe system calls on valid descriptors and prepared strings.
        unsafe {
            if self.redirect() && self.become_user() && self.die_with_parent() {
                close_from(SOCKET + c_int::from(self.socket >= 0));
                libc::sigprocmask(libc::SIG_SETMASK, self.signals.as_ref(), std::ptr::null_mut());
                libc::execvpe(
                    self.program.as_ptr(),
                    self.arguments.as_ptr(),
                    self.environ.as_ptr(),
                );
            }
            libc::_exit(NOT_EXECUTED)
        }
    }

    /// # Safety
    /// As [`Exec::run`].
    unsafe fn run_on_demand(&self) -> ! {
        // SAFETY: as there.
        unsafe {
            if self.redirect() && self.become_user() {
                close_from(SOCKET + 1);
                libc::setsid();
                libc::umask(0o022);
                libc::chdir(c"/".as_ptr());
                libc::prctl(libc::PR_SET_NAME, c"pyxis-broker".as_ptr());
                libc::sigprocmask(libc::SIG_SETMASK, self.signals.as_ref(), std::ptr::null_mut());
                let mut request = libc::pollfd { fd: SOCKET, events: libc::POLLIN, revents: 0 };
                while libc::poll(&mut request, 1, -1) < 0 {}
                if request.revents & libc::POLLIN != 0 {
                    libc::execvpe(
                        self.program.as_ptr(),
                        self.arguments.as_ptr(),
                        self.environ.as_ptr(),
                    );
                }
            }
            libc::_exit(NOT_EXECUTED)
        }
    }

    /// # Safety
    /// As [`Exec::run`].
    unsafe fn redirect(&self) -> bool {
        // SAFETY: the descriptors are open; those moved out of the way leave 0 to 3 free.
        unsafe {
            let above = |fd: c_int| libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, SOCKET + 1);
            let (socket, output, log) = (above(self.socket), above(self.output), above(self.log));
            let null = above(libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY));
            libc::dup2(null, 0) == 0
                && libc::dup2(output, 1) == 1
                && libc::dup2(log, 2) == 2
                && (self.socket < 0 || libc::dup2(socket, SOCKET) == SOCKET)
        }
    }

    /// # Safety
    /// As [`Exec::run`].
    unsafe fn become_user(&self) -> bool {
        let Credentials { uid, gid, groups } = self.user;
        // SAFETY: plain system calls; the raw ones act on this process's one thread, where
        // glibc's would try to tell threads of the parent that are not here.
        unsafe {
            // slurmstepd protects itself from the OOM killer; the user's are not to be. The file
            // is root's once the process has changed its user.
            let oom = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY);
            if oom >= 0 {
                libc::write(oom, c"0".as_ptr().cast(), 1);
                libc::close(oom);
            }
            if libc::geteuid() != 0 && libc::getuid() != 0 {
                return true;
            }
            libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) == 0
                && libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid) == 0
                && libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid) == 0
        }
    }

    /// # Safety
    /// As [`Exec::run`].
    unsafe fn die_with_parent(&self) -> bool {
        // SAFETY: sets an attribute of this process; the parent may have died before that.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
                && libc::getppid() == self.parent.as_raw()
        }
    }
}

/// Closes all descriptors from `first` on.
///
/// # Safety
/// Only in a child that uses none of them any more.
pub(crate) unsafe fn close_from(first: RawFd) {
    // SAFETY: the caller's promise.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, c_int::MAX, 0) == 0 {
            return;
        }
        // Kernels before 5.9.
        let limit = libc::sysconf(libc::_SC_OPEN_MAX).clamp(256, 65536) as RawFd;
        for fd in first..limit {
            libc::close(fd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn user() -> Credentials {
        Credentials { uid: 0, gid: 0, groups: vec![] }
    }

    fn shell(script: &str, separate: bool) -> Outcome {
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let environ = [c"A=1".to_owned(), c"PATH=/usr/bin:/bin".to_owned()];
        let command = Command {
            program: Path::new("sh"),
            arguments: vec!["-c".into(), script.into()],
            environ: &environ,
            user: &user(),
            socket: Some(socket.as_fd()),
        };
        if separate { command.run_for_output().unwrap() } else { command.run().unwrap() }
    }

    #[test]
    fn output_ending_environment_and_descriptors() {
        let outcome = shell("echo out; echo err >&2; echo A=$A; ls /proc/self/fd | xargs", false);
        // ls opens its directory as 4
        assert!(outcome.success());
        assert_eq!(outcome.log, "out\nerr\nA=1\n0 1 2 3 4\n");
        assert_eq!(shell("exit 3", false).ending(), "failed with error code 3");
        assert_eq!(shell("kill -9 $$", false).ending(), "terminated by SIGKILL");
        let separate = shell("echo path; echo words >&2", true);
        assert_eq!((separate.path(), separate.log.as_str()), (Path::new("path"), "words\n"));
    }

    /// As an image's or an importer's path may be.
    #[test]
    fn a_path_need_not_be_utf_8() {
        let outcome = shell("printf '/a\\377\\n/b\\n'", true);
        assert_eq!(outcome.path().as_os_str().as_bytes(), b"/a\xff");
    }

    #[test]
    fn a_missing_program_is_named() {
        let command = Command {
            program: Path::new("/nonexistent/pyxis"),
            arguments: vec![],
            environ: &[],
            user: &user(),
            socket: None,
        };
        let error = command.run().unwrap_err().to_string();
        assert!(error.starts_with("couldn't execute /nonexistent/pyxis"), "{error}");
    }

    #[test]
    fn a_user_is_become_whole() {
        let (uid, is_root) = (nix::unistd::geteuid(), nix::unistd::geteuid().is_root());
        let user = Credentials { uid: 4242, gid: 4343, groups: vec![4444] };
        let environ = [c"PATH=/usr/bin:/bin".to_owned()];
        let command = Command {
            program: Path::new("sh"),
            arguments: vec!["-c".into(), "id -ru; id -u; id -rg; id -G".into()],
            environ: &environ,
            user: &user,
            socket: None,
        };
        let log = command.run().unwrap().log;
        if is_root {
            assert_eq!(log, "4242\n4242\n4343\n4343 4444\n");
        } else {
            assert!(log.starts_with(&uid.to_string()), "not root: nobody else to become");
        }
    }
    /// slurmstepd's own is -1000, and what it starts would be spared by the OOM killer, too.
    #[test]
    fn the_oom_score_of_slurmstepd_is_not_inherited() {
        if !nix::unistd::geteuid().is_root() {
            return; // an ordinary user can become nobody else
        }
        let own = "/proc/self/oom_score_adj";
        let before = std::fs::read_to_string(own).unwrap();
        std::fs::write(own, "123").unwrap();
        let user = Credentials { uid: 4242, gid: 4343, groups: vec![] };
        let environ = [c"PATH=/usr/bin:/bin".to_owned()];
        let command = |script: &str, socket| Command {
            program: Path::new("sh"),
            arguments: vec!["-c".into(), script.into()],
            environ: &environ,
            user: &user,
            socket,
        };
        let at_once = command("cat /proc/self/oom_score_adj", None).run().unwrap().log;
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let script = "head -c 1 <&3; cat /proc/self/oom_score_adj >&3";
        command(script, Some(theirs.as_fd())).spawn_on_demand().unwrap();
        drop(theirs);
        std::io::Write::write_all(&mut ours, b"x").unwrap();
        let mut on_demand = String::new();
        ours.read_to_string(&mut on_demand).unwrap();
        std::fs::write(own, before.trim()).unwrap();
        assert_eq!((at_once.as_str(), on_demand.as_str()), ("0\n", "0\n"));
    }
}
