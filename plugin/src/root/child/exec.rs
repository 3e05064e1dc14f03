//! Between fork and exec: system calls on what was prepared before, and no allocation, for another thread of slurmstepd may
//! hold the allocator's lock.

use super::command::{Command, GIVEN, NOT_EXECUTED};
use super::wait::{Patience, reap};
use crate::root::user::Credentials;
use crate::step::error::StepError;
use nix::libc::{self, c_char, c_int};
use nix::sys::signal::SigSet;
use nix::unistd::{ForkResult, Pid, fork};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

impl Command<'_> {
    /// Forks and executes the program.
    pub(crate) fn spawn(
        &self,
        output: BorrowedFd<'_>,
        log: BorrowedFd<'_>,
        signals: &SigSet,
    ) -> Result<Pid, StepError> {
        self.prepared(output, log, signals, |exec| {
            // SAFETY: between fork and exec the child makes system calls on what was prepared.
            match unsafe { fork() } {
                Ok(ForkResult::Parent { child }) => Ok(child),
                // SAFETY: this is the freshly forked child.
                Ok(ForkResult::Child) => unsafe { exec.run() },
                Err(errno) => Err(StepError::Process(errno.into())),
            }
        })
    }

    /// Forks a process that becomes the user and waits; only when something is sent to the socket
    /// is the program executed. It ends when the socket's other end is closed or shut down, and is nobody's
    /// child: slurmstepd waits for its tasks only.
    pub(crate) fn spawn_on_demand(&self) -> Result<(), StepError> {
        let null = File::options().write(true).open("/dev/null").map_err(StepError::Process)?;
        self.prepared(null.as_fd(), null.as_fd(), &SigSet::empty(), |exec| {
            // SAFETY: as in `spawn`; the child forks once more and leaves by _exit.
            let child = match unsafe { fork() } {
                Ok(ForkResult::Parent { child }) => child,
                // SAFETY: system calls only, in freshly forked processes.
                Ok(ForkResult::Child) => unsafe {
                    if libc::fork() == 0 {
                        exec.run_on_demand()
                    }
                    libc::_exit(0)
                },
                Err(errno) => return Err(StepError::Process(errno.into())),
            };
            // No user has a hand in it: it is root's as long as it lives.
            reap(child);
            Ok(())
        })
    }

    fn prepared<T>(
        &self,
        output: BorrowedFd<'_>,
        log: BorrowedFd<'_>,
        signals: &SigSet,
        fork: impl FnOnce(&Exec<'_>) -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        let name = c_string(self.program.as_os_str())?;
        let mut arguments = vec![name.clone()];
        for argument in self.arguments {
            arguments.push(c_string(argument)?);
        }
        let (arguments, environ) = (pointers(&arguments), pointers(self.caller.environ));
        fork(&Exec {
            program: &name,
            arguments: &arguments,
            environ: &environ,
            user: self.caller.user,
            given: self.given.map(|fd| fd.map_or(-1, |fd| fd.as_raw_fd())),
            output: output.as_raw_fd(),
            log: log.as_raw_fd(),
            cgroup: self.caller.cgroup.map_or(-1, |file| file.as_raw_fd()),
            leads: !matches!(self.caller.patience, Patience::OfUser),
            signals,
            parent: Pid::this(),
        })
    }
}

fn c_string(text: &OsStr) -> Result<CString, StepError> {
    CString::new(text.as_bytes())
        .map_err(|_| StepError::Process(io::ErrorKind::InvalidInput.into()))
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
    user: &'a Credentials,
    /// From the first on; -1 where there is none.
    given: [RawFd; 4],
    output: RawFd,
    log: RawFd,
    cgroup: RawFd,
    /// Whether it leads a process group, to be killed with it.
    leads: bool,
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
                close_from(GIVEN + self.given.iter().filter(|fd| **fd >= 0).count() as c_int);
                if self.leads {
                    libc::setsid();
                }
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
    #[allow(clippy::disallowed_methods)] // Nobody waits for who waits here; it ends with the step's socket.
    unsafe fn run_on_demand(&self) -> ! {
        // SAFETY: as there.
        unsafe {
            if self.redirect() && self.become_user() {
                close_from(GIVEN + 1);
                libc::setsid();
                libc::umask(0o022);
                libc::chdir(c"/".as_ptr());
                libc::prctl(libc::PR_SET_NAME, c"pyxis-broker".as_ptr());
                libc::sigprocmask(libc::SIG_SETMASK, self.signals.as_ref(), std::ptr::null_mut());
                let mut request = libc::pollfd { fd: GIVEN, events: libc::POLLIN, revents: 0 };
                while libc::poll(&mut request, 1, -1) < 0 {}
                // The end is something to be read, too.
                if request.revents == libc::POLLIN {
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
        // SAFETY: the descriptors are open; those moved out of the way leave 0 to 6 free. The raw call acts on this process's one thread.
        unsafe {
            let above = |fd: c_int| libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, GIVEN + 4);
            let (given, output, log) = (self.given.map(above), above(self.output), above(self.log));
            let null = above(libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY));
            // In `user_init` root is the user for a while; who is no root stays what it is.
            libc::syscall(libc::SYS_setresuid, -1, 0, -1);
            if self.cgroup >= 0 {
                libc::write(self.cgroup, c"0".as_ptr().cast(), 1);
            }
            libc::dup2(null, 0) == 0
                && libc::dup2(output, 1) == 1
                && libc::dup2(log, 2) == 2
                && (GIVEN..)
                    .zip(self.given)
                    .zip(given)
                    .all(|((place, asked), above)| asked < 0 || libc::dup2(above, place) == place)
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
