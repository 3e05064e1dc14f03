//! Moving a task into the container.

use super::error::StepError;
use crate::options::Unshare;
use handover::namespaces::Namespace;
use handover::{Handover, Part};
use nix::errno::Errno;
use nix::unistd::{chdir, fchdir};
use std::env::current_dir;
use std::ffi::OsStr;
use std::path::PathBuf;

/// Joins the container's namespaces and goes to `workdir`, or where the container started. Nobody in
/// there can trace the task until its program is executed: root's tasks, which Slurm's change of uid
/// does not protect, as little as others.
pub(super) fn enter(
    container: &Handover,
    workdir: Option<&OsStr>,
    filtered: bool,
) -> Result<(), StepError> {
    for namespace in Namespace::ALL {
        if let Some(fd) = namespace.part().and_then(|part| container.get(part)) {
            let failed = |source| StepError::Join { namespace: namespace.title(), source };
            namespace.join(fd).map_err(failed)?;
        }
    }
    match (workdir, container.get(Part::Cwd)) {
        (Some(path), _) => {
            chdir(path).map_err(|source| StepError::Chdir { directory: path.into(), source })
        }
        (None, Some(fd)) => fchdir(fd)
            // A directory outside of the container has no path in here.
            .and_then(|()| match current_dir() {
                Ok(_) => Ok(()),
                Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or_default())),
            })
            .map_err(|source| StepError::Chdir {
                directory: PathBuf::from("container cwd"),
                source,
            }),
        (None, None) => Ok(()),
    }?;
    if filtered {
        handover::seccomp::install().map_err(StepError::Seccomp)?;
    }
    Ok(())
}

/// Namespaces that were asked for must be the container's own, also where it was running before.
pub(super) fn check_unshared(container: &Handover, asked: Unshare) -> Result<(), StepError> {
    for (asked, part, option, namespace) in [
        (asked.net, Part::Net, "net", "network"),
        (asked.ipc, Part::Ipc, "ipc", "IPC"),
        (asked.uts, Part::Uts, "uts", "UTS"),
    ] {
        if asked && container.get(part).is_none() {
            return Err(StepError::NotUnshared { option, namespace });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn namespaces_asked_for_are_the_containers_own() {
        let net = File::open("/proc/self/ns/net").unwrap();
        let container = Handover::new(vec![(Part::Net, net.into())]);
        let asked = |net, ipc, uts| Unshare { net, ipc, uts };
        check_unshared(&container, asked(true, false, false)).unwrap();
        let error = check_unshared(&container, asked(true, true, false)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--container-unshare=ipc requested but the container is not in a separate IPC namespace"
        );
        check_unshared(&container, asked(false, false, true)).unwrap_err();
    }

    #[test]
    fn a_missing_directory_is_reported_in_the_systems_words() {
        let container = Handover::new(Vec::new());
        let error = enter(&container, Some(OsStr::new("/nonexistent")), false).unwrap_err();
        assert_eq!(error.to_string(), "couldn't chdir to /nonexistent: No such file or directory");
    }
}
