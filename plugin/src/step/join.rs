//! Moving a task into the container.

use super::StepError;
use nix::sched::{CloneFlags, setns};
use nix::unistd::{chdir, fchdir};
use runtime::handover::{Handover, Part};
use std::ffi::OsStr;
use std::path::PathBuf;

/// In the order in which they can be joined: the user namespace gives the right to the others.
const NAMESPACES: [(Part, &str, CloneFlags); 6] = [
    (Part::User, "user", CloneFlags::CLONE_NEWUSER),
    (Part::Cgroup, "cgroup", CloneFlags::CLONE_NEWCGROUP),
    (Part::Mount, "mount", CloneFlags::CLONE_NEWNS),
    (Part::Ipc, "IPC", CloneFlags::CLONE_NEWIPC),
    (Part::Uts, "UTS", CloneFlags::CLONE_NEWUTS),
    (Part::Net, "network", CloneFlags::CLONE_NEWNET),
];

/// Joins the container's namespaces and goes to `workdir`, or where the container started.
pub(super) fn enter(container: Handover, workdir: Option<&OsStr>) -> Result<(), StepError> {
    for (part, namespace, kind) in NAMESPACES {
        if let Some(fd) = container.get(part) {
            setns(fd, kind).map_err(|source| StepError::Join { namespace, source })?;
        }
    }
    match (workdir, container.get(Part::Cwd)) {
        (Some(path), _) => {
            chdir(path).map_err(|source| StepError::Chdir { directory: path.into(), source })
        }
        (None, Some(fd)) => fchdir(fd).map_err(|source| StepError::Chdir {
            directory: PathBuf::from("container cwd"),
            source,
        }),
        (None, None) => Ok(()),
    }
}
