//! `--container-save`: what can be known before the program starts, so that its work is not lost.

use super::error::StepError;
use handover::nodes::is_shared;
use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether it is to a registry, which is asked for itself.
pub(super) fn is_push(path: &Path) -> bool {
    path.as_os_str().as_bytes().starts_with(b"docker://")
}

/// Whether each of several nodes has a file of its own to save to, for what they have made is each node's own.
pub(super) fn check_apart(place: Option<&Path>) -> Result<(), StepError> {
    match place.filter(|place| is_push(place) || place.parent().is_some_and(is_shared)) {
        Some(place) => Err(StepError::SaveShared(place.to_owned())),
        None => Ok(()),
    }
}

/// Whether the step's container can be saved where it is to be, if at all. `image` is the file it is made of,
/// once that is there: less room than it takes will not do.
pub(super) fn check(place: Option<&Path>, image: Option<&Path>) -> Result<(), StepError> {
    let Some(path) = place.filter(|path| !is_push(path)) else { return Ok(()) };
    let size = image.and_then(|image| image.metadata().ok()).map_or(1, |image| image.len());
    let problem = |problem| StepError::SaveTo { path: path.to_owned(), problem };
    can_save(path, size).map_err(problem)
}

fn can_save(path: &Path, size: u64) -> Result<(), Errno> {
    match path.metadata() {
        Ok(found) if found.is_dir() => return Err(Errno::EISDIR),
        // A device, say, which would be replaced.
        Ok(found) if !found.is_file() => return Err(Errno::EEXIST),
        _ => {}
    }
    let Some(directory) = path.parent() else { return Err(Errno::EISDIR) };
    access(&directory.join("."), AccessFlags::W_OK | AccessFlags::X_OK)?;
    // Who cannot say has what it takes.
    let Ok(system) = statvfs(directory) else { return Ok(()) };
    let room = system.blocks_available().saturating_mul(system.fragment_size());
    if room < size { Err(Errno::ENOSPC) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_a_step_do_not_save_to_one_place() {
        assert!(check_apart(None).is_ok());
        assert!(check_apart(Some(Path::new("/proc/x.sqsh"))).is_ok());
        let error = check_apart(Some(Path::new("docker://reg.example#a:1"))).unwrap_err();
        assert!(error.to_string().contains("docker://reg.example#a:1: put %N"), "{error}");
    }

    #[test]
    fn a_place_where_nothing_can_be_saved_is_known_before() {
        let temp = tempfile::tempdir().unwrap();
        let directory = temp.path().join("save");
        std::fs::create_dir_all(directory.join("d")).unwrap();
        std::fs::write(directory.join("old.sqsh"), "").unwrap();
        let problem = |name: &str, size| can_save(&directory.join(name), size);
        for (name, size, expected) in [
            ("new.sqsh", 1, Ok(())),
            ("old.sqsh", 1, Ok(())),
            ("d", 1, Err(Errno::EISDIR)),
            ("d/..", 1, Err(Errno::EISDIR)),
            ("none/x.sqsh", 1, Err(Errno::ENOENT)),
            ("old.sqsh/x", 1, Err(Errno::ENOTDIR)),
            ("new.sqsh", u64::MAX, Err(Errno::ENOSPC)),
        ] {
            assert_eq!(problem(name, size), expected, "{name}");
        }
        assert!(can_save(Path::new("/proc/x.sqsh"), 1).is_err());
        assert_eq!(can_save(Path::new("/dev/null"), 1), Err(Errno::EEXIST));
    }
}
