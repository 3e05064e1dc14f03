//! Running a program as the user and keeping what it says.

use super::StepError;
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// Where the child finds the socket it was given.
pub(crate) const SOCKET: i32 = 3;

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    /// stdout and stderr.
    pub(crate) log: String,
}

/// Runs `program` to its end: stdin is /dev/null, its output is kept in memory, no descriptor but
/// `socket` (as [`SOCKET`]) is inherited, and it does not outlive the calling process.
pub(crate) fn run(
    program: &Path,
    arguments: &[OsString],
    environ: &[(OsString, OsString)],
    socket: BorrowedFd<'_>,
) -> Result<Outcome, StepError> {
    let failed = |source| StepError::Execute { program: program.to_owned(), source };
    let log = memfd_create("pyxis-log", MFdFlags::MFD_CLOEXEC)
        .map_err(|errno| StepError::Shared(errno.into()))?;
    let mut log = File::from(log);
    let (out, err) = (log.try_clone().map_err(failed)?, log.try_clone().map_err(failed)?);
    let parent = std::process::id();
    let socket = socket.as_raw_fd();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(environ.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err);
    // SAFETY: the closure makes only async-signal-safe system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || prepare(socket, parent));
    }
    let status = command.status().map_err(failed)?;
    let mut text = Vec::new();
    log.rewind().map_err(failed)?;
    log.read_to_end(&mut text).map_err(failed)?;
    Ok(Outcome { status, log: String::from_utf8_lossy(&text).into_owned() })
}

/// In the child, just before exec.
fn prepare(socket: i32, parent: u32) -> io::Result<()> {
    // SAFETY: plain system calls on numbers; nothing of the parent's memory is used.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
            return Err(io::Error::last_os_error());
        }
        if libc::getppid() as u32 != parent {
            libc::_exit(1); // it died before it could be watched
        }
        // slurmstepd protects itself from the OOM killer; the user's processes are not to be.
        let oom = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY);
        if oom >= 0 {
            libc::write(oom, c"0".as_ptr().cast(), 1);
            libc::close(oom);
        }
        let placed = if socket == SOCKET {
            libc::fcntl(SOCKET, libc::F_SETFD, 0)
        } else {
            libc::dup2(socket, SOCKET)
        };
        if placed < 0 {
            return Err(io::Error::last_os_error());
        }
        close_from(SOCKET as u32 + 1);
    }
    Ok(())
}

/// Sets close-on-exec on all descriptors from `first` on; they are needed until the exec, by which
/// std reports its failure.
fn close_from(first: u32) {
    // SAFETY: changes flags of descriptors only.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 {
        return;
    }
    // Kernels before 5.11.
    // SAFETY: sysconf reads a limit; fcntl on a closed descriptor is an error without effect.
    unsafe {
        let limit = libc::sysconf(libc::_SC_OPEN_MAX).clamp(256, 65536) as u32;
        for fd in first..limit {
            libc::fcntl(fd as i32, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}
