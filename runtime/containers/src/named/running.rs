//! Running containers, found by what `/proc` says about the caller's processes: a container needs
//! no bookkeeping that a crash could falsify.
//!
//! A PID may be reused between two looks. Everything taken from a process is therefore opened
//! while a pidfd of it is held, and kept only if the process is still alive afterwards.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, geteuid};

use super::{Container, ContainerError, Name, State, directory_mark};
use crate::start::launcher;
use handover::{Handover, Part};
use linux::{detached, sys};

/// The first process in each mount namespace but the caller's.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its number, lowest in its mount namespace.
    pub pid: i32,
    /// Inode numbers of its mount and user namespaces.
    pub namespaces: (u64, u64),
    /// Whether its root looks like a container's, known by name or not.
    pub is_container: bool,
    marks: [String; 2],
}

/// Before the name of a container that has no directory, in the source of its root mount.
const LABEL: &str = "pyxis:";

/// The `source` that shows the name of a container which is started from a file.
pub(crate) fn label_mark(label: &Name) -> String {
    format!("{LABEL}{}", label.as_os_str().to_string_lossy())
}

impl Process {
    /// All that the caller may look into.
    pub fn all() -> Vec<Process> {
        let me = geteuid();
        let own = namespace("self", "mnt");
        let mut pids: Vec<i32> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| {
                me.is_root() || entry.metadata().is_ok_and(|stat| stat.uid() == me.as_raw())
            })
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        pids.sort_unstable();
        let mut seen = Vec::new();
        let mut found = Vec::new();
        for pid in pids {
            let Some(mnt) = namespace(&pid.to_string(), "mnt") else { continue };
            if Some(mnt) == own || seen.contains(&mnt) {
                continue;
            }
            seen.push(mnt);
            found.extend(Process::look(pid, mnt));
        }
        found
    }

    fn look(pid: i32, mnt: u64) -> Option<Process> {
        let user = namespace(&pid.to_string(), "user")?;
        let table = fs::read(format!("/proc/{pid}/mountinfo")).ok()?;
        let source = root_source(&table)?;
        let directory = fs::metadata(format!("/proc/{pid}/root")).ok()?;
        let is_container =
            source.starts_with("pyxis") || fs::metadata(format!("/proc/{pid}/root/.lock")).is_ok();
        let marks = [source, directory_mark(&directory)];
        Some(Process { pid, namespaces: (mnt, user), is_container, marks })
    }

    /// Whether it is in `container`.
    pub fn is_in(&self, container: &Container) -> bool {
        self.has(&container.mark())
    }

    /// The name given to a container that was started from a file ([`label_mark`]).
    pub fn label(&self) -> Option<&str> {
        self.marks[0].strip_prefix(LABEL)
    }

    fn has(&self, mark: &str) -> bool {
        self.marks.iter().any(|have| have == mark)
    }
}

fn namespace(pid: &str, which: &str) -> Option<u64> {
    let link = fs::read_link(format!("/proc/{pid}/ns/{which}")).ok()?;
    link.to_str()?.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}

/// The `source` field of what is mounted at `/`.
fn root_source(table: &[u8]) -> Option<String> {
    let table = String::from_utf8_lossy(table);
    let line = table.lines().find(|line| line.split(' ').nth(4) == Some("/"))?;
    let (_, tail) = line.split_once(" - ")?;
    tail.split(' ').nth(1).map(str::to_owned)
}

/// A process that cannot be mistaken for a later one with its number.
pub(super) struct Pinned {
    pidfd: OwnedFd,
    directory: OwnedFd,
}

impl Pinned {
    /// Holds on to the process with this number.
    pub(super) fn open(pid: i32) -> io::Result<Pinned> {
        let pidfd = sys::pidfd_open(pid)?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = nix::fcntl::open(format!("/proc/{pid}").as_str(), flags, Mode::empty())?;
        Ok(Pinned { pidfd, directory })
    }

    /// Finds a process with `mark` and holds on to it.
    fn find(mark: &str) -> io::Result<Option<Pinned>> {
        for process in Process::all().iter().filter(|process| process.has(mark)) {
            let Ok(pinned) = Pinned::open(process.pid) else { continue };
            // Looked at again, now that it is held.
            let same = Process::look(process.pid, process.namespaces.0)
                .is_some_and(|again| again.has(mark));
            if same && pinned.is_alive() {
                return Ok(Some(pinned));
            }
        }
        Ok(None)
    }

    pub(super) fn is_alive(&self) -> bool {
        sys::is_alive(self.pidfd.as_fd())
    }

    pub(super) fn open_file(&self, what: &str, flags: OFlag) -> io::Result<OwnedFd> {
        Ok(openat(&self.directory, what, flags | OFlag::O_CLOEXEC, Mode::empty())?)
    }

    /// The namespace `which`, unless it is the caller's own.
    pub(super) fn namespace(&self, which: &str) -> io::Result<Option<OwnedFd>> {
        let theirs = self.open_file(&format!("ns/{which}"), OFlag::O_RDONLY)?;
        let ours = fs::metadata(format!("/proc/self/ns/{which}"))?;
        let stat = nix::sys::stat::fstat(&theirs)?;
        Ok(((stat.st_dev, stat.st_ino) != (ours.dev(), ours.ino())).then_some(theirs))
    }
}

/// A detached copy of the root mount of the running container with `mark`, writable.
pub(super) fn borrow_root(mark: &str) -> io::Result<Option<OwnedFd>> {
    let Some(process) = Pinned::find(mark)? else { return Ok(None) };
    let namespaces =
        process.namespace("user").and_then(|user| Ok((user, process.namespace("mnt")?)));
    let Some((user, mount)) = unless_gone(&process, namespaces)? else { return Ok(None) };
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    // The way into the other namespaces has no return, hence a process for it.
    // SAFETY: this process has one thread, so the child may allocate and run Rust code.
    let status = match unsafe { fork() }? {
        ForkResult::Child => {
            let copied = copy_root(user, mount)
                .and_then(|root| Handover::new(vec![(Part::Mount, root)]).send(theirs.as_fd()));
            let code = copied.err().and_then(|error| error.raw_os_error()).unwrap_or(0);
            // SAFETY: _exit never returns and touches no memory.
            unsafe { nix::libc::_exit(code.min(255)) }
        }
        ForkResult::Parent { child } => waitpid(child, None)?,
    };
    match Handover::dequeue(ours.as_fd())? {
        Some(mut message) => Ok(message.take(Part::Mount)),
        None => match status {
            nix::sys::wait::WaitStatus::Exited(_, code) if code > 0 => {
                Err(io::Error::from_raw_os_error(code))
            }
            _ => Ok(None),
        },
    }
}

fn copy_root(user: Option<OwnedFd>, mount: Option<OwnedFd>) -> io::Result<OwnedFd> {
    if let Some(user) = user {
        setns(user, CloneFlags::CLONE_NEWUSER)?;
    }
    if let Some(mount) = mount {
        setns(mount, CloneFlags::CLONE_NEWNS)?;
    }
    let root = detached::copy(OsStr::new("/"), false)?;
    detached::make_writable(root.as_fd())?;
    Ok(root)
}

/// Sends the running `container`'s descriptors to `socket`. `false` when it does not run.
///
/// # Errors
/// [`ContainerError::File`].
pub fn hand_over(container: &Container, socket: BorrowedFd<'_>) -> Result<bool, ContainerError> {
    let mark = container.mark();
    let environ = container.environ_file();
    let look = || {
        let process = Pinned::find(&mark)?;
        process.map_or(Ok(None), |process| collect(Some(&environ), &process))
    };
    let message = if container.layered.is_some() {
        let _lock = container.lock()?; // waits for a start under way
        match container.usage(look)? {
            State::Running(message) => Some(message),
            State::Unused(_) => None,
        }
    } else {
        look().map_err(|error| ContainerError::file("join", &container.path, error))?
    };
    let sent = message.map(|message| message.send(socket)).transpose();
    sent.map(|sent| sent.is_some())
        .map_err(|error| ContainerError::file("hand over", &container.path, error))
}

/// As [`hand_over`], of a container that was started from a file under a name.
///
/// # Errors
/// [`ContainerError::File`].
pub fn hand_over_labelled(label: &Name, socket: BorrowedFd<'_>) -> Result<bool, ContainerError> {
    let found = Pinned::find(&label_mark(label))
        .and_then(|process| process.map_or(Ok(None), |process| collect(None, &process)))
        .and_then(|message| message.map(|message| message.send(socket)).transpose());
    let named = Path::new(label.as_os_str());
    found.map(|sent| sent.is_some()).map_err(|error| ContainerError::file("join", named, error))
}

/// `None` if the process ended before everything was opened.
fn collect(environ: Option<&Path>, process: &Pinned) -> io::Result<Option<Handover>> {
    let opened: io::Result<Handover> = (|| {
        let mut parts = Vec::new();
        for (part, which) in [
            (Part::User, "user"),
            (Part::Cgroup, "cgroup"),
            (Part::Mount, "mnt"),
            (Part::Ipc, "ipc"),
            (Part::Uts, "uts"),
            (Part::Net, "net"),
        ] {
            parts.extend(process.namespace(which)?.map(|fd| (part, fd)));
        }
        let block = match environ.map(fs::read) {
            Some(Ok(block)) => block,
            _ => {
                let mut block = Vec::new();
                let file = process.open_file("environ", OFlag::O_RDONLY)?;
                io::Read::read_to_end(&mut File::from(file), &mut block)?;
                launcher::without_step(&block)
            }
        };
        let block = launcher::for_this_step(&block);
        parts.push((Part::Cwd, start_directory(process, &block)?));
        parts.push((Part::Environ, sys::memory_file("environ", &block)?));
        Ok(Handover::new(parts))
    })();
    unless_gone(process, opened)
}

/// What was opened of a process, whatever came of it, if the process has not ended meanwhile.
fn unless_gone<T>(process: &Pinned, opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        _ if !process.is_alive() => Ok(None),
        // It is about to be a zombie: its files go before it does.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(nix::libc::ESRCH) =>
        {
            Ok(None)
        }
        opened => opened.map(Some),
    }
}

/// The directory that `PWD` names, in the process's root.
fn start_directory(process: &Pinned, block: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let root = process.open_file("root", flags)?;
    let variable = block.split(|byte| *byte == 0).find_map(|line| line.strip_prefix(b"PWD="));
    if let Some(path) = variable {
        let how =
            OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        if let Ok(directory) = openat2(&root, OsStr::from_bytes(path), how) {
            return Ok(directory);
        }
    }
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_source_of_the_root() {
        let table = b"21 1 0:19 / /proc rw - proc proc rw\n\
            177 151 0:60 / / ro,nosuid master:1 - overlay pyxis-0a1b rw,userxattr\n";
        assert_eq!(root_source(table).as_deref(), Some("pyxis-0a1b"));
        assert_eq!(root_source(b""), None);
    }
}
