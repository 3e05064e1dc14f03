//! Running containers, found by what `/proc` says about the caller's processes: a container needs
//! no bookkeeping that a crash could falsify. Others' processes are not looked at ([`super::pinned`]).
//!
//! A PID may be reused between two looks. Everything taken from a process is therefore opened
//! while a pidfd of it is held, and kept only if the process is still alive afterwards.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{fstat, fstatat};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, geteuid};

use super::container::{Container, directory_mark};
use super::name::Name;
use super::pinned::{OwnNamespaces, Pinned, unless_ours};
use handover::fork::fork;
use handover::namespaces::{self, Namespace};
use linux::{channel, detached, sys};

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

/// Of a table of mounts, which may have as many lines as its owner likes.
const LONGEST_TABLE: u64 = 32 << 20;

/// Before the name of a container that has no directory, in the source of its root mount.
const LABEL: &str = "pyxis:";

/// The `source` that shows the name of a container which is started from a file.
pub(crate) fn label_mark(label: &Name) -> String {
    format!("{LABEL}{}", label.as_os_str().to_string_lossy())
}

impl Process {
    /// All that are the caller's own.
    pub fn all() -> Vec<Process> {
        let me = geteuid();
        let own = namespace("self", Namespace::Mount);
        let mut pids: Vec<i32> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            // Of others that cannot be traced, root is the owner there: this leaves out most of them.
            .filter(|entry| entry.metadata().is_ok_and(|stat| stat.uid() == me.as_raw()))
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        pids.sort_unstable();
        let mut seen = Vec::new();
        let mut found = Vec::new();
        for pid in pids {
            let Some(mnt) = namespace(&pid.to_string(), Namespace::Mount) else { continue };
            if Some(mnt) == own || seen.contains(&mnt) {
                continue;
            }
            let Ok(pinned) = Pinned::open(pid) else { continue };
            let Some((process, _)) = look(pid, &pinned) else { continue };
            seen.push(mnt);
            found.push(process);
        }
        found
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

/// Whether a directory, whatever it is called by now, is the root of a process of the caller's.
pub(super) fn is_a_root(directory: &Path) -> bool {
    let Ok(stat) = fs::symlink_metadata(directory) else { return false };
    let mark = directory_mark(stat.dev(), stat.ino());
    Process::all().iter().any(|process| process.has(&mark))
}

/// What is to be known of a process of the caller's own; `None` of others.
fn look(pid: i32, process: &Pinned) -> Option<(Process, OwnNamespaces)> {
    let own = process.own().ok()??;
    let table = process.read("mountinfo", LONGEST_TABLE).ok()?;
    let source = root_source(&table)?;
    let root = process.open_file("root", OFlag::O_PATH | OFlag::O_DIRECTORY).ok()?;
    let directory = fstat(&root).ok()?;
    let is_container = source.starts_with("pyxis")
        || fstatat(&root, ".lock", AtFlags::AT_SYMLINK_NOFOLLOW).is_ok();
    let marks = [source, directory_mark(directory.st_dev, directory.st_ino)];
    let namespaces = (fstat(&own.mount).ok()?.st_ino, fstat(&own.user).ok()?.st_ino);
    Some((Process { pid, namespaces, is_container, marks }, own))
}

fn namespace(pid: &str, which: Namespace) -> Option<u64> {
    let link = fs::read_link(format!("/proc/{pid}/ns/{}", which.file())).ok()?;
    link.to_str()?.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}

/// The `source` field of what is mounted at `/`.
fn root_source(table: &[u8]) -> Option<String> {
    let table = String::from_utf8_lossy(table);
    let line = table.lines().find(|line| line.split(' ').nth(4) == Some("/"))?;
    let (_, tail) = line.split_once(" - ")?;
    tail.split(' ').nth(1).map(str::to_owned)
}

/// A process of the caller's in the container that has this mark.
pub(crate) struct MarkedProcess {
    pub(crate) process: Pinned,
    own: OwnNamespaces,
}

impl MarkedProcess {
    /// Finds one and holds on to it.
    pub(crate) fn with(mark: &str) -> io::Result<Option<MarkedProcess>> {
        for process in Process::all().iter().filter(|process| process.has(mark)) {
            let Ok(pinned) = Pinned::open(process.pid) else { continue };
            // Looked at again, now that it is held.
            let again = look(process.pid, &pinned);
            match again {
                Some((again, own)) if again.has(mark) && pinned.is_alive() => {
                    return Ok(Some(MarkedProcess { process: pinned, own }));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// The namespace `which`, unless it is the caller's own.
    pub(crate) fn namespace(&self, which: Namespace) -> io::Result<Option<OwnedFd>> {
        // As they were when they were looked at: it may be in others by now.
        match which {
            Namespace::User => unless_ours(which, self.own.user.try_clone()?),
            Namespace::Mount => unless_ours(which, self.own.mount.try_clone()?),
            _ => self.process.namespace(which),
        }
    }
}

/// A detached copy of the root mount of the running container with `mark`, writable.
pub(super) fn borrow_root(mark: &str) -> io::Result<Option<OwnedFd>> {
    let Some(found) = MarkedProcess::with(mark)? else { return Ok(None) };
    let namespaces = found
        .namespace(Namespace::User)
        .and_then(|user| Ok((user, found.namespace(Namespace::Mount)?)));
    let Some((user, mount)) = unless_gone(&found.process, namespaces)? else { return Ok(None) };
    let (theirs, ours) = channel::pair()?;
    // The way into the other namespaces has no return, hence a process for it.
    let status = match fork()? {
        ForkResult::Child => {
            let copied = copy_root(user, mount, &theirs);
            let code = copied.err().and_then(|error| error.raw_os_error()).unwrap_or(0);
            // SAFETY: _exit never returns and touches no memory.
            unsafe { nix::libc::_exit(code.min(255)) }
        }
        ForkResult::Parent { child } => {
            drop(theirs);
            waitpid(child, None)?
        }
    };
    match channel::receive(ours.as_raw_fd()) {
        Ok(root) => Ok(Some(root)),
        Err(_) => match status {
            nix::sys::wait::WaitStatus::Exited(_, code) if code > 0 => {
                Err(io::Error::from_raw_os_error(code))
            }
            _ => Ok(None),
        },
    }
}

/// In a process of its own: among the container's programs, between two steps of which the first has
/// its directories still on the host.
fn copy_root(user: Option<OwnedFd>, mount: Option<OwnedFd>, to: &OwnedFd) -> io::Result<()> {
    let needed: Vec<RawFd> = [user.as_ref(), mount.as_ref(), Some(to)]
        .into_iter()
        .flatten()
        .map(AsRawFd::as_raw_fd)
        .collect();
    sys::close_all_but(&needed);
    namespaces::hide();
    if let Some(user) = user {
        Namespace::User.join(user)?;
    }
    if let Some(mount) = mount {
        Namespace::Mount.join(mount)?;
    }
    let root = detached::copy(OsStr::new("/"), false)?;
    detached::make_writable(root.as_fd())?;
    channel::send(to, &root)
}

/// What was opened of a process, whatever came of it, if the process has not ended meanwhile.
pub(crate) fn unless_gone<T>(process: &Pinned, opened: io::Result<T>) -> io::Result<Option<T>> {
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
