//! Removing containers: renamed out of sight first, then deleted. A running container keeps its
//! files until it ends, when its image's server deletes them. What a crash leaves, a server that was
//! killed or had no time, or squashfuse, which deletes nothing, goes with the next sweep.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use super::error::ContainerError;
use super::removal::{remove_tree, remove_tree_until};
use super::running;
use super::usage::is_at;
use linux::file_error::FileError;
use linux::sys::{FlockKind, flock};

/// Prefix of containers being made.
pub(crate) const UNFINISHED: &str = ".pyxis.create.";
/// Prefix of containers being removed.
const TRASH: &str = ".pyxis.trash.";
/// Prefix of layers on disk that end with their containers.
pub(super) const LAYER: &str = ".pyxis.layer.";
/// How long the end of a container may take for it: a step waits for its image's server.
const LAST_MOMENT: Duration = Duration::from_millis(200);
/// The same, of what nobody would come back for. A step waits for ten seconds.
const LAST_MOMENT_OF_LAYER: Duration = Duration::from_secs(5);

/// Takes a container out of sight and deletes it if it is not in use.
pub(crate) fn to_trash(data: &Path, place: &Path) -> Result<(), ContainerError> {
    let trash = hidden_away(data, place)?;
    discard(&trash);
    Ok(())
}

/// Renames a container, so that nobody finds it any more.
pub(crate) fn hidden_away(data: &Path, place: &Path) -> Result<std::path::PathBuf, ContainerError> {
    for attempt in 0u32.. {
        let mut name = OsString::from(format!("{TRASH}{}.{attempt}.", std::process::id()));
        name.push(place.file_name().unwrap_or(OsStr::new("container")));
        let trash = data.join(name);
        match fs::rename(place, &trash) {
            Ok(()) => return Ok(trash),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ContainerError::Absent { path: place.to_owned() });
            }
            // Left by an earlier process with our number.
            Err(_) if trash.symlink_metadata().is_ok() => {}
            Err(error) => return Err(FileError::new("remove", place, error).into()),
        }
    }
    unreachable!("four billion leftovers")
}

/// Deletes what is out of sight, unless a container still runs on it.
pub(crate) fn discard(trash: &Path) -> bool {
    match open_existing(&trash.join("used")) {
        Ok(used) if !matches!(flock(&used, FlockKind::TryExclusive), Ok(true)) => return false,
        // An extracted one has nobody to hold a lock, and is its programs' root as it is.
        Err(_) if running::is_a_root(trash) => return false,
        _ => {}
    }
    let _ = remove_tree(trash);
    true
}

/// Deletes the container that `used` is of if it was removed while it ran, or the layer that ends
/// with it: for its image's server, which has it locked to the last.
pub(crate) fn finish(used: &File) {
    let Ok(path) = fs::read_link(format!("/proc/self/fd/{}", used.as_raw_fd())) else { return };
    let Some(container) = path.parent() else { return };
    let name = container.file_name().unwrap_or_default().as_bytes();
    let patience = if name.starts_with(TRASH.as_bytes()) {
        LAST_MOMENT
    } else if name.starts_with(LAYER.as_bytes()) {
        LAST_MOMENT_OF_LAYER
    } else {
        return;
    };
    let _ = remove_layer(container, Some(Instant::now() + patience));
}

/// Deletes a directory whose lock says whose it is: that last, so that what is left has it.
fn remove_layer(directory: &Path, end: Option<Instant>) -> io::Result<()> {
    ["upper", "work"].iter().try_for_each(|part| remove_tree_until(&directory.join(part), end))?;
    remove_tree_until(directory, end)
}

/// Deletes what crashes and containers removed while running have left.
pub(crate) fn sweep(data: &Path) {
    let Ok(entries) = fs::read_dir(data) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        // A container may be a link, and is one in the trash. All else is made as a directory: what a link leads to is
        // somebody's.
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if name.as_bytes().starts_with(TRASH.as_bytes()) {
            discard(&entry.path());
        } else if is_directory && name.as_bytes().starts_with(UNFINISHED.as_bytes()) {
            discard_unless_locked(&entry.path(), "lock");
        } else if is_directory && name.as_bytes().starts_with(LAYER.as_bytes()) {
            discard_layer(&entry.path());
        }
    }
}

/// Deletes a layer on disk that nobody uses.
pub(crate) fn discard_layer(layer: &Path) {
    discard_unless_locked(layer, "used");
}

fn discard_unless_locked(directory: &Path, lock: &str) {
    let lock = directory.join(lock);
    match open_existing(&lock) {
        // Its maker has it locked; without a maker it is ours to clear.
        Ok(file) => {
            if matches!(flock(&file, FlockKind::TryExclusive), Ok(true)) && is_at(&file, &lock) {
                let _ = remove_layer(directory, None);
                // NFS keeps a directory until what was open in it is closed.
                drop(file);
                let _ = fs::remove_dir(directory);
            }
        }
        // Just begun, or left before it could be locked: empty, or rmdir refuses.
        Err(_) => drop(fs::remove_dir(directory)),
    }
}

fn open_existing(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Lets the owner read everything and write to all directories: some images rely on root's
/// capabilities for that.
pub(crate) fn make_accessible(path: &Path) -> io::Result<()> {
    let stat = path.symlink_metadata()?;
    if stat.is_symlink() {
        return Ok(());
    }
    let mode = stat.mode() & 0o7777;
    let wanted = if stat.is_dir() {
        mode | 0o700
    } else {
        mode | 0o400 | if mode & 0o111 != 0 { 0o100 } else { 0 }
    };
    if mode != wanted {
        fs::set_permissions(path, Permissions::from_mode(wanted))?;
    }
    if stat.is_dir() {
        for entry in fs::read_dir(path)? {
            make_accessible(&entry?.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_with_a_sweep_where_a_link_leads() {
        let (data, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let names = ["lock", "used", "upper/result", "work/result"];
        for name in names {
            let path = theirs.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        for prefix in [UNFINISHED, LAYER, TRASH] {
            let link = data.path().join(format!("{prefix}1.0.link"));
            std::os::unix::fs::symlink(theirs.path(), link).unwrap();
            fs::create_dir(data.path().join(format!("{prefix}1.0.own"))).unwrap();
        }
        sweep(data.path());
        assert!(names.iter().all(|name| theirs.path().join(name).exists()));
        let left = fs::read_dir(data.path()).unwrap().flatten();
        let mut left: Vec<_> = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, [UNFINISHED, LAYER].map(|prefix| format!("{prefix}1.0.link")));
    }
}
