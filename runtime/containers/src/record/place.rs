//! Where root's containers may be: root starts what is in there, so that nobody else may be able to put
//! something in its place.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use linux::file_error::FileError;

use super::error::ContainerError;

/// What of a directory's mode lets others than its owner change it.
const OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Fails if others than root can change `path` or a directory above it, as far as they exist.
pub(super) fn refuse_others_places(path: &Path) -> Result<(), ContainerError> {
    let failed = |error| FileError::new("look at", path, error);
    let path = std::path::absolute(path).map_err(failed)?;
    let there = path.ancestors().find_map(|part| match fs::canonicalize(part) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => Some(found),
    });
    let there = there.unwrap_or_else(|| Ok(PathBuf::from("/"))).map_err(failed)?;
    for part in there.ancestors() {
        let stat = fs::symlink_metadata(part).map_err(failed)?;
        if !is_roots(&stat) {
            return Err(ContainerError::OthersPlace { path, part: part.to_owned() });
        }
    }
    Ok(())
}

/// In a sticky directory, what is root's stays root's.
fn is_roots(stat: &fs::Metadata) -> bool {
    stat.uid() == 0 && (stat.mode() & OTHERS == 0 || stat.mode() & STICKY != 0)
}

/// Whether this process is root of the node, and not of a user namespace only.
pub(super) fn is_root() -> bool {
    let all = |map: String| map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    nix::unistd::geteuid().is_root() && fs::read_to_string("/proc/self/uid_map").is_ok_and(all)
}
