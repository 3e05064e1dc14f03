//! The process that serves a squashfs image to the kernel: squashfuse, on a `/dev/fuse`
//! descriptor that is already mounted, so that nobody has to poll for the mount.
//!
//! It stays in the host's mount namespace: when the container's last process is gone, the
//! container's mount namespace and with it the FUSE mount disappear, and squashfuse exits by
//! itself. It outlives any signal that Slurm sends to the step except SIGKILL.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::mount::{MsFlags, mount};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe2, setsid};

use super::StartError;
use super::identity::Identity;

/// A squashfuse process, waiting to be told that its descriptor is mounted.
pub(super) struct Server {
    image: PathBuf,
    fuse: OwnedFd,
    go: File,
    log: File,
    alive: OwnedFd,
}

/// Why FUSE cannot be used here; the image may still be extracted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unavailable {
    #[error("squashfuse is not installed (not in PATH)")]
    NotInstalled,
    #[error("/dev/fuse cannot be opened: {0}")]
    Device(io::Error),
}

impl Server {
    /// Starts squashfuse for `image`; it must be called inside the container's user namespace
    /// and still outside its mount namespace.
    pub(super) fn prepare(
        image: &File,
        path: &Path,
        identity: &Identity,
    ) -> Result<Result<Server, Unavailable>, StartError> {
        let Some(program) = find_in_path("squashfuse") else {
            return Ok(Err(Unavailable::NotInstalled));
        };
        // The kernel wants the device opened in the user namespace that mounts it.
        let fuse: OwnedFd = match OpenOptions::new().read(true).write(true).open("/dev/fuse") {
            Ok(file) => file.into(),
            Err(error) => return Ok(Err(Unavailable::Device(error))),
        };
        let process = |errno: nix::Error| StartError::Process(errno.into());
        let (ready, go) = pipe2(OFlag::O_CLOEXEC).map_err(process)?;
        let (alive, alive_writer) = pipe2(OFlag::O_CLOEXEC).map_err(process)?;
        let log: File =
            memfd_create("squashfuse-log", MFdFlags::MFD_CLOEXEC).map_err(process)?.into();
        let command = Command {
            program: &program,
            options: format!("uid={},gid={}", identity.inside_uid, identity.inside_gid),
            image,
            fuse: &fuse,
            alive: &alive_writer,
            log: &log,
        };
        // SAFETY: this process has one thread, so the child may allocate and run Rust code.
        match unsafe { fork() }.map_err(process)? {
            ForkResult::Parent { child } => {
                waitpid(child, None).map_err(process)?;
            }
            ForkResult::Child => {
                // Forked again, so that neither Slurm's task nor the user's program gets a child
                // that it never made.
                // SAFETY: as above.
                if let Ok(ForkResult::Child) = unsafe { fork() } {
                    drop((go, alive));
                    command.serve(File::from(ready));
                }
                exit_now(0);
            }
        }
        Ok(Ok(Server { image: path.to_owned(), fuse, go: go.into(), log, alive }))
    }

    /// Mounts the image at `target`, with which the server starts to answer.
    pub(super) fn mount(self, target: &str, identity: &Identity) -> Result<Mounted, StartError> {
        let data = format!(
            "fd={},rootmode=40000,user_id={},group_id={},default_permissions,allow_other",
            self.fuse.as_raw_fd(),
            identity.inside_uid,
            identity.inside_gid
        );
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_RDONLY;
        mount(Some("squashfuse"), target, Some("fuse.squashfuse"), flags, Some(data.as_str()))
            .map_err(|errno| StartError::mount("the image", target, errno))?;
        let Server { image, fuse, mut go, log, alive } = self;
        // With our copy closed, the server's death fails every request instead of hanging it.
        drop(fuse);
        go.write_all(b"!").map_err(StartError::Process)?;
        Ok(Mounted { image, log, alive })
    }
}

/// A mounted image, perhaps not yet answering.
pub(super) struct Mounted {
    image: PathBuf,
    log: File,
    /// Hangs up when the server is gone.
    pub(super) alive: OwnedFd,
}

impl Mounted {
    /// The error to report when the file system does not answer.
    pub(super) fn failure(&mut self, source: &nix::Error) -> StartError {
        use std::io::Seek;
        let mut log = String::new();
        let _ = self.log.rewind();
        let _ = (&self.log).take(4096).read_to_string(&mut log);
        let log = log.split('\n').map(str::trim).filter(|line| !line.is_empty());
        let log = log.collect::<Vec<_>>().join("; ");
        let log = if log.is_empty() { source.desc().to_owned() } else { log };
        StartError::Server { image: self.image.clone(), log }
    }
}

struct Command<'a> {
    program: &'a Path,
    options: String,
    image: &'a File,
    fuse: &'a OwnedFd,
    alive: &'a OwnedFd,
    log: &'a File,
}

impl Command<'_> {
    fn serve(self, mut ready: File) -> ! {
        if let Err(error) = self.prepare_process() {
            let _ = writeln!(&*self.log, "{error}");
            exit_now(1);
        }
        let mut byte = [0];
        if ready.read(&mut byte).ok() != Some(1) {
            exit_now(1); // the container was given up
        }
        use std::os::unix::process::CommandExt;
        let error = std::process::Command::new(self.program)
            .args(["-f", "-o", &self.options])
            .arg(format!("/proc/self/fd/{}", self.image.as_raw_fd()))
            .arg(format!("/dev/fd/{}", self.fuse.as_raw_fd()))
            .exec();
        let _ = writeln!(&*self.log, "{}: {error}", self.program.display());
        exit_now(1)
    }

    fn prepare_process(&self) -> io::Result<()> {
        setsid()?;
        chdir("/")?;
        for number in 1..=nix::libc::SIGRTMAX() {
            let skip = [nix::libc::SIGKILL, nix::libc::SIGSTOP, nix::libc::SIGCHLD];
            // Faults keep their default action: a crash must be a crash.
            let faults = [nix::libc::SIGSEGV, nix::libc::SIGBUS, nix::libc::SIGILL];
            if skip.contains(&number) || faults.contains(&number) {
                continue;
            }
            ignore(number);
        }
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&null)?;
        dup2_stdout(self.log)?;
        dup2_stderr(self.log)?;
        for fd in [self.image.as_fd(), self.fuse.as_fd(), self.alive.as_fd()] {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok(())
    }
}

fn ignore(number: i32) {
    match Signal::try_from(number) {
        Ok(name) => {
            // SAFETY: SIG_IGN runs no code of ours.
            let _ = unsafe { signal(name, SigHandler::SigIgn) };
        }
        // SAFETY: as above; real-time signals have no name in nix. libc's own two are refused.
        Err(_) => unsafe {
            nix::libc::signal(number, nix::libc::SIG_IGN);
        },
    }
}

/// Leaves a forked child without running the parent's destructors or atexit handlers.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory.
    unsafe { nix::libc::_exit(code) }
}

/// The program `name` in `PATH`.
pub(super) fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|candidate| nix::unistd::access(candidate, nix::unistd::AccessFlags::X_OK).is_ok())
}
