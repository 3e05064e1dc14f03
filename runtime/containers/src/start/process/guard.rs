//! What keeps programs in root's own unprivileged containers from the node's switches.
//!
//! They have no capabilities outside, but they have the node's uid 0, and to that one belong the files
//! by which the kernel is told what to do. These are made read-only before the container's user
//! namespace is entered: its mounts are then locked together, and what a container's root may do to
//! mounts does not undo it.

use std::fs::{self, DirEntry};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use linux::file_error::FileError;
use nix::mount::{MsFlags, mount};

use crate::start::error::StartError;
use crate::start::mounts::change;
use handover::namespaces::Namespace;
use linux::detached;

const NONE: Option<&str> = None;

/// Enters a mount namespace in which no file of `/proc` that is not a process's, and none of `/sys`,
/// can be written. With a PID namespace of the caller's own, `/proc` shows that one.
pub(in crate::start) fn hide_switches(own_pid: bool) -> Result<(), StartError> {
    Namespace::Mount.unshare().map_err(|errno| StartError::namespace(Namespace::Mount, errno))?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE)
        .map_err(|errno| StartError::mount("/ as slave", "/", errno))?;
    if own_pid {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("proc"), "/proc", Some("proc"), flags, NONE)
            .map_err(|errno| StartError::mount("proc", "/proc", errno))?;
    }
    let failed = |error| FileError::new("read", "/proc", error);
    for entry in fs::read_dir("/proc").map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if is_switch(&entry) {
            protect(&entry.path())?;
        }
    }
    if Path::new("/sys").is_dir() {
        protect(Path::new("/sys"))?;
    }
    Ok(())
}

/// A file that can be written, or a directory in which there may be such.
fn is_switch(entry: &DirEntry) -> bool {
    let of_process = entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let Ok(stat) = entry.metadata() else { return false };
    let writable = stat.is_file() && stat.permissions().mode() & 0o222 != 0;
    !of_process && (stat.is_dir() || writable)
}

/// Covers it with itself, read-only; and with all that is mounted below.
fn protect(path: &Path) -> Result<(), StartError> {
    let shown = path.to_string_lossy();
    let failed = |errno| StartError::mount("read-only", &shown, errno);
    mount(Some(path), path, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE).map_err(failed)?;
    // What is mounted there later on the node goes below.
    mount(NONE, path, NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).map_err(failed)?;
    if detached::make_readonly_recursively(path).is_ok() {
        return Ok(());
    }
    // Kernels before 5.12: mount by mount.
    change::readonly_below(path).map_err(failed)
}
