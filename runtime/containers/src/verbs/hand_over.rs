//! A running container handed over to those who join it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use linux::file_error::FileError;
use nix::fcntl::OFlag;

use crate::HostSide;
use crate::record::pinned::Pinned;
use crate::record::running::{MarkedProcess, unless_gone};
use crate::record::{Container, ContainerError, Name, State, label_mark};
use crate::start::environment::launcher;
use crate::start::files;
use handover::inside::open_in_root;
use handover::namespaces::Namespace;
use handover::{Handover, Part, environ_file};
use linux::sys;

/// Sends the running `container`'s descriptors to `socket`. `false` when it does not run.
///
/// # Errors
/// [`ContainerError::File`].
pub fn hand_over(
    container: &Container,
    host: &HostSide,
    socket: BorrowedFd<'_>,
) -> Result<bool, ContainerError> {
    let _umask = sys::Umask::ours();
    let mark = container.mark();
    let environ = container.environ_file();
    let look = || {
        let found = MarkedProcess::with(&mark)?;
        found.map_or(Ok(None), |found| collect(Some(&environ), host, &found))
    };
    let message = if container.layered.is_some() {
        let _lock = container.lock()?; // waits for a start under way
        match container.usage(look)? {
            State::Running(message) => Some(message),
            State::Unused(_) => None,
        }
    } else {
        look().map_err(|error| FileError::new("join", &container.path, error))?
    };
    let sent = message.map(|message| message.send(socket)).transpose();
    sent.map(|sent| sent.is_some())
        .map_err(|error| FileError::new("hand over", &container.path, error).into())
}

/// As [`hand_over`], of a container that was started from a file under a name.
///
/// # Errors
/// [`ContainerError::File`].
pub fn hand_over_labelled(
    label: &Name,
    host: &HostSide,
    socket: BorrowedFd<'_>,
) -> Result<bool, ContainerError> {
    let found = MarkedProcess::with(&label_mark(label))
        .and_then(|found| found.map_or(Ok(None), |found| collect(None, host, &found)))
        .and_then(|message| message.map(|message| message.send(socket)).transpose());
    let named = Path::new(label.as_os_str());
    found.map(|sent| sent.is_some()).map_err(|error| FileError::new("join", named, error).into())
}

/// `None` if the process ended before everything was opened.
fn collect(
    environ: Option<&Path>,
    host: &HostSide,
    found: &MarkedProcess,
) -> io::Result<Option<Handover>> {
    let process = &found.process;
    let opened: io::Result<Handover> = (|| {
        let mut parts = Vec::new();
        for namespace in Namespace::ALL {
            if let Some(part) = namespace.part() {
                parts.extend(found.namespace(namespace)?.map(|fd| (part, fd)));
            }
        }
        let block = match environ.map(files::read) {
            Some(Ok(block)) => block,
            _ => launcher::without_step(&process.environ()?),
        };
        let block = launcher::for_this_step(&block, &host.environ);
        parts.push((Part::Cwd, start_directory(process, &block)?));
        parts.push((Part::Environ, environ_file(&block)?));
        Ok(Handover::new(parts))
    })();
    unless_gone(process, opened)
}

/// The directory that `PWD` names, in the process's root.
fn start_directory(process: &Pinned, block: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let root = process.open_file("root", flags)?;
    let variable = block.split(|byte| *byte == 0).find_map(|line| line.strip_prefix(b"PWD="));
    if let Some(path) = variable {
        if let Ok(directory) = open_in_root(&root, Path::new(OsStr::from_bytes(path)), flags) {
            return Ok(directory);
        }
    }
    Ok(root)
}
