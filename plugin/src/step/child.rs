//! Running a program as the user and keeping what it says.

use super::StepError;
use nix::libc::{self, c_char, c_int};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// Where the child finds the socket it was given.
pub(crate) const SOCKET: RawFd = 3;
/// Exit code of a child whose program could not be executed, as a shell has it.
const NOT_EXECUTED: i32 = 127;

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) status: WaitStatus,
    /// stdout and stderr.
    pub(crate) log: String,
}

impl Outcome {
    pub(crate) fn success(&self) -> bool {
        matches!(self.status, WaitStatus::Exited(_, 0))
    }

    /// How it ended, in words.
    pub(crate) fn ending(&self) -> String {
        match self.status {
            WaitStatus::Signaled(_, signal, _) => format!("terminated by {signal}"),
            WaitStatus::Exited(_, code) => format!("failed with error code {code}"),
            _ => "stopped".to_owned(),
        }
    }
}

/// Runs `program` (looked for in PATH) to its end: stdin is /dev/null, its output is kept in
/// memory, no descriptor but `socket` (as [`SOCKET`]) is inherited, and it does not outlive the
/// calling process.
pub(crate) fn run(
    program: &Path,
    arguments: Vec<OsString>,
    environ: Vec<CString>,
    socket: BorrowedFd<'_>,
) -> Result<Outcome, StepError> {
    let log = memfd_create("pyxis-log", MFdFlags::MFD_CLOEXEC)
        .map_err(|errno| StepError::Shared(errno.into()))?;
    let mut log = File::from(log);
    let name = c_string(program.as_os_str().to_owned())?;
    let mut arguments = arguments.into_iter().map(c_string).collect::<Result<Vec<_>, _>>()?;
    arguments.insert(0, name.clone());
    let arguments = pointers(&arguments);
    let environ = pointers(&environ);
    let exec = Exec {
        program: &name,
        arguments: &arguments,
        environ: &environ,
        socket: socket.as_raw_fd(),
        log: log.as_raw_fd(),
        // SAFETY: getpid always succeeds.
        parent: unsafe { libc::getpid() },
    };
    // SAFETY: between fork and exec the child makes system calls on what was prepared above, and
    // allocates nothing: another thread of slurmstepd may hold the allocator's lock.
    let child = match unsafe { fork() } {
        Ok(ForkResult::Parent { child }) => child,
        // SAFETY: this is the freshly forked child.
        Ok(ForkResult::Child) => unsafe { exec.run() },
        Err(errno) => return Err(StepError::Shared(errno.into())),
    };
    let status = loop {
        match waitpid(child, None) {
            Ok(status) => break status,
            Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(StepError::Shared(errno.into())),
        }
    };
    let mut text = Vec::new();
    log.rewind().and_then(|()| log.read_to_end(&mut text)).map_err(StepError::Shared)?;
    let outcome = Outcome { status, log: String::from_utf8_lossy(&text).into_owned() };
    match outcome.status {
        WaitStatus::Exited(_, NOT_EXECUTED) if outcome.log.is_empty() => {
            Err(StepError::Execute { program: program.to_owned() })
        }
        _ => Ok(outcome),
    }
}

fn c_string(text: OsString) -> Result<CString, StepError> {
    CString::new(text.into_vec()).map_err(|error| StepError::Shared(error.into()))
}

/// NULL-terminated, as exec wants them.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// What the child needs, prepared before the fork.
struct Exec<'a> {
    program: &'a CStr,
    arguments: &'a [*const c_char],
    environ: &'a [*const c_char],
    socket: RawFd,
    log: RawFd,
    parent: libc::pid_t,
}

impl Exec<'_> {
    /// # Safety
    /// Only in a freshly forked child.
    unsafe fn run(&self) -> ! {
        // SAFETY: async-signal-safe system calls on valid descriptors and prepared strings.
        unsafe {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
                && libc::getppid() == self.parent // it may have died before it was watched
                && self.redirect()
            {
                // slurmstepd protects itself from the OOM killer; the user's are not to be.
                let oom = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY);
                if oom >= 0 {
                    libc::write(oom, c"0".as_ptr().cast(), 1);
                }
                close_from(SOCKET + 1);
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
    unsafe fn redirect(&self) -> bool {
        // SAFETY: the descriptors are open; those moved out of the way leave 0 to 3 free.
        unsafe {
            let above = |fd: c_int| libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, SOCKET + 1);
            let (socket, log) = (above(self.socket), above(self.log));
            let null = above(libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY));
            socket >= 0
                && log >= 0
                && libc::dup2(null, 0) == 0
                && libc::dup2(log, 1) == 1
                && libc::dup2(log, 2) == 2
                && libc::dup2(socket, SOCKET) == SOCKET
        }
    }
}

/// Closes all descriptors from `first` on.
///
/// # Safety
/// Only in a child that is about to exec.
unsafe fn close_from(first: RawFd) {
    // SAFETY: nothing of this process uses them any more.
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

    fn shell(script: &str) -> Outcome {
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let arguments = vec!["-c".into(), script.into()];
        let environ = vec![c"A=1".to_owned(), c"PATH=/usr/bin:/bin".to_owned()];
        run(Path::new("sh"), arguments, environ, socket.as_fd()).unwrap()
    }

    #[test]
    fn output_ending_environment_and_descriptors() {
        let outcome = shell("echo out; echo err >&2; echo A=$A; ls /proc/self/fd | tr '\\n' ' '");
        // ls opens its directory as 4
        assert!(outcome.success());
        assert_eq!(outcome.log, "out\nerr\nA=1\n0 1 2 3 4 ");
        assert_eq!(shell("exit 3").ending(), "failed with error code 3");
        assert_eq!(shell("kill -9 $$").ending(), "terminated by SIGKILL");
    }

    #[test]
    fn a_missing_program_is_named() {
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let missing = Path::new("/nonexistent/pyxis");
        let Err(error) = run(missing, vec![], vec![], socket.as_fd()) else {
            panic!("it ran");
        };
        assert!(error.to_string().starts_with("couldn't execute /nonexistent/pyxis"), "{error}");
    }
}
