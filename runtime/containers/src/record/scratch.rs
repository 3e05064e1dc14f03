//! Layers on disk, of containers that have no name and end with their step: for kernels whose tmpfs
//! cannot keep what an overlay notes of directories.
//!
//! Each is a directory of its user's own, `.pyxis.layer.RANDOM`, with `upper` and `work`, and with
//! `used`, which the image's server has locked for as long as the layer is mounted. At its end the
//! server deletes it. What a server that was killed leaves is free, and goes with the next sweep.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::place;
use super::removal::remove_tree;
use super::trash::{LAYER, discard_layer};
use super::usage::is_at;
use linux::sys::{FlockKind, flock};

/// Of a directory's mode: others can change what is in it, or only what is theirs.
const OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;
/// How often another name is tried, where a sweep was quicker than the lock.
const ATTEMPTS: usize = 10;

/// A layer that is not mounted yet.
pub(crate) struct ScratchLayer {
    /// Its directory.
    pub(crate) path: PathBuf,
    /// The directory's file system and inode.
    pub(crate) id: (u64, u64),
    /// Locked: the layer stays while this is open anywhere.
    pub(crate) used: File,
}

impl ScratchLayer {
    /// Makes an empty layer in the directory `place`.
    pub(crate) fn make(place: &Path) -> io::Result<ScratchLayer> {
        let place = trusted(place)?;
        for _ in 0..ATTEMPTS {
            let path = place.join(format!("{LAYER}{}", linux::hex::random::<8>()?));
            DirBuilder::new().mode(0o700).create(&path)?;
            match fill(&path) {
                Ok(Some(layer)) => return Ok(layer),
                Ok(None) => {}
                Err(error) => {
                    let _ = remove_tree(&path);
                    return Err(error);
                }
            }
        }
        Err(io::Error::other("somebody removes what is made there"))
    }

    /// Deletes a layer that is not to be used.
    pub(crate) fn discard(self) {
        let _ = remove_tree(&self.path);
    }
}

/// `None` if a sweep came between.
fn fill(path: &Path) -> io::Result<Option<ScratchLayer>> {
    let swept = |result: io::Result<File>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    };
    let used = path.join("used");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let Some(file) = swept(options.open(&used))? else { return Ok(None) };
    if !flock(&file, FlockKind::TryExclusive)? || !is_at(&file, &used) {
        return Ok(None);
    }
    // The root directory of the container: programs of any id inside may pass.
    ["upper", "work"]
        .iter()
        .try_for_each(|name| DirBuilder::new().mode(0o755).create(path.join(name)))?;
    let stat = path.symlink_metadata()?;
    let id = (stat.dev(), stat.ino());
    Ok(Some(ScratchLayer { path: path.to_owned(), id, used: file }))
}

/// Deletes the caller's layers that nobody uses, in each of these directories.
pub fn sweep_layers(places: &[PathBuf]) {
    places.iter().for_each(|place| sweep(place));
}

fn sweep(place: &Path) {
    let Ok(place) = trusted(place) else { return };
    let me = geteuid().as_raw();
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(LAYER.as_bytes()) {
            continue;
        }
        let path = entry.path();
        if path.symlink_metadata().is_ok_and(|stat| stat.is_dir() && stat.uid() == me) {
            discard_layer(&path);
        }
    }
}

/// The directory's real path, if nobody else can put anything in the place of what is the caller's
/// there.
pub(super) fn trusted(place: &Path) -> io::Result<PathBuf> {
    let path = fs::canonicalize(place)?;
    let stat = fs::metadata(&path)?;
    let owned = [0, geteuid().as_raw()].contains(&stat.uid());
    if !owned || (stat.mode() & OTHERS != 0 && stat.mode() & STICKY == 0) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others can change it"));
    }
    if place::is_root() {
        place::refuse_others_places(&path).map_err(|_| {
            io::Error::new(io::ErrorKind::PermissionDenied, "others than root can change the way")
        })?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn names(place: &Path) -> usize {
        fs::read_dir(place).unwrap().count()
    }

    #[test]
    fn a_layer_stays_while_it_is_used_and_goes_with_a_sweep() {
        let place = tempfile::tempdir().unwrap();
        let layer = ScratchLayer::make(place.path()).unwrap();
        sweep(place.path());
        assert!(layer.path.join("upper").is_dir());
        let held = layer.used.try_clone().unwrap();
        drop(layer);
        sweep(place.path());
        assert_eq!(names(place.path()), 1);
        drop(held);
        sweep(place.path());
        assert_eq!(names(place.path()), 0);
        // One that was begun, and one that is somebody's file or link.
        fs::create_dir(place.path().join(format!("{LAYER}begun"))).unwrap();
        symlink("/", place.path().join(format!("{LAYER}link"))).unwrap();
        sweep(place.path());
        assert_eq!(names(place.path()), 1);
        let layer = ScratchLayer::make(place.path()).unwrap();
        layer.discard();
        assert_eq!(names(place.path()), 1);
    }

    #[test]
    fn a_place_that_others_can_change_is_not_used() {
        let place = tempfile::tempdir().unwrap();
        let open = place.path().join("open");
        fs::create_dir(&open).unwrap();
        let mode = |mode| fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o777);
        assert_eq!(ScratchLayer::make(&open).err().unwrap().to_string(), "others can change it");
        fs::create_dir(open.join(format!("{LAYER}left"))).unwrap();
        sweep(&open);
        assert_eq!(names(&open), 1);
        mode(0o1777);
        sweep(&open);
        assert_eq!(names(&open), 0);
        ScratchLayer::make(&open).unwrap();
        assert!(ScratchLayer::make(&place.path().join("absent")).is_err());
    }
}
