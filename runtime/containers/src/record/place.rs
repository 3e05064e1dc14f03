//! Where containers may be: whoever is able to put something in their place has it run by who starts them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use linux::file_error::FileError;

use super::error::ContainerError;

/// What of a directory's mode lets others than its owner change it.
const OTHERS: u32 = 0o022;
/// And what of it lets everybody.
const OPEN: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// More links than this the kernel does not follow either.
const LINKS: usize = 40;

/// Who has said where containers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// The caller: whose containers are there, a colleague's perhaps, is the caller's concern.
    Caller,
    /// The site's files, or nobody. What others have put there is not the caller's.
    Site {
        /// The uid that stands for the node's root on the way there: not 0 where he has none.
        root: u32,
    },
}

impl NamedBy {
    /// Fails if somebody else has put `path`, or a directory or link on the way, into a directory where everybody
    /// can make something.
    pub(super) fn refuse_squatters(self, path: &Path) -> Result<(), ContainerError> {
        let NamedBy::Site { root } = self else { return Ok(()) };
        let failed = |error| FileError::new("look at", path, error);
        let mut way = std::path::absolute(path).map_err(failed)?;
        for _ in 0..LINKS {
            let part = match first_link(&way, path, root)? {
                None => return Ok(()),
                Some(link) => link,
            };
            let target = fs::read_link(&part).map_err(failed)?;
            let rest = way.strip_prefix(&part).unwrap_or(Path::new("")).to_owned();
            way = part.parent().unwrap_or(Path::new("/")).join(target).join(rest);
        }
        Err(failed(io::Error::from_raw_os_error(libc::ELOOP)).into())
    }

    /// Fails if somebody else has put the container there.
    pub(super) fn refuse_others(self, container: &Path) -> Result<(), ContainerError> {
        match self.is_others(container) {
            true => Err(ContainerError::squatted(container, container)),
            false => Ok(()),
        }
    }

    /// Whether a container is somebody else's, where others than the caller can make some. Those of one's own
    /// directory may belong to further ids of the caller's.
    pub(super) fn is_others(self, container: &Path) -> bool {
        // Of root's own place all the way was looked at.
        if self == NamedBy::Caller || is_root() {
            return false;
        }
        let holder = container.parent().map(fs::symlink_metadata);
        let is_own = |holder: fs::Metadata| is_ours(&holder) && holder.mode() & OTHERS == 0;
        !holder.is_some_and(|holder| holder.is_ok_and(is_own))
            && fs::symlink_metadata(container).is_ok_and(|stat| !is_ours(&stat))
    }
}

/// The first link on `way`, up to which it is looked at; `path` is what is told.
fn first_link(way: &Path, path: &Path, root: u32) -> Result<Option<PathBuf>, ContainerError> {
    // Without a slash at the end, behind which a link is followed.
    let way: PathBuf = way.components().collect();
    let mut parts: Vec<&Path> = way.ancestors().collect();
    parts.reverse();
    let mut is_open = false;
    for part in parts {
        let stat = match fs::symlink_metadata(part) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            stat => stat.map_err(|error| FileError::new("look at", path, error))?,
        };
        // Where root has no id, others may have none either: what is at the end is the caller's.
        let stands_for_root = part != way && stat.uid() == root;
        if is_open && !is_ours(&stat) && !stands_for_root {
            return Err(ContainerError::squatted(path, part));
        }
        if stat.is_symlink() {
            return Ok(Some(part.to_owned()));
        }
        is_open = stat.mode() & OPEN != 0;
    }
    Ok(None)
}

/// Root's, or the caller's.
fn is_ours(stat: &fs::Metadata) -> bool {
    [0, nix::unistd::geteuid().as_raw()].contains(&stat.uid())
}

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
