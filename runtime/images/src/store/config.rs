//! Where stores are and how large they may get.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use linux::file_error::FileError;

use super::StoreError;

/// Settings of the image store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The caller's store. A sticky directory that everybody can write to, like `/tmp`, gets a
    /// private directory for each user id in it.
    pub path: PathBuf,
    /// Where the caller's store is if somebody else has taken its place among everybody's.
    pub fallback: Option<PathBuf>,
    /// Stores of others whom the administrator trusts; only read.
    pub lower: Vec<PathBuf>,
    /// Bytes to keep; a fifth of the file system by default.
    pub max_bytes: Option<u64>,
    /// How long after its start on another node, on a shared file system without locks, an image
    /// counts as in use.
    pub lease: Duration,
    /// What was used so recently is never collected.
    pub grace: Duration,
    /// How long somebody else is waited for who makes what is wanted, and so much longer as it is
    /// large; then everybody makes their own.
    pub patience: Duration,
}

impl StoreConfig {
    /// A store at `path`, with defaults otherwise.
    pub fn new(path: PathBuf) -> StoreConfig {
        StoreConfig {
            path,
            fallback: None,
            lower: Vec::new(),
            max_bytes: None,
            lease: Duration::from_secs(7 * 86400),
            grace: Duration::from_secs(600),
            patience: Duration::from_secs(60),
        }
    }

    /// The directory that is the caller's own.
    pub(super) fn own_path(&self) -> Result<PathBuf, StoreError> {
        refuse_others_links(&self.path)?;
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.mode() & 0o1002 == 0o1002 => {
                let own = self.path.join(nix::unistd::geteuid().to_string());
                // Everybody can put something there: only a directory is what it seems to be.
                match fs::symlink_metadata(&own) {
                    Ok(found) if !found.is_dir() => {
                        Err(StoreError::Foreign { path: own, owner: found.uid() })
                    }
                    _ => Ok(own),
                }
            }
            Ok(metadata) if metadata.is_dir() => Ok(self.path.clone()),
            Ok(_) => {
                Err(FileError::new("use", &self.path, std::io::ErrorKind::NotADirectory).into())
            }
            Err(_) => Ok(self.path.clone()),
        }
    }
}

/// Refuses a path through a symbolic link that somebody else put where everybody can put something: it
/// leads to wherever they want our files to be made, and collected. (`fs.protected_symlinks` is
/// much the same, where it is on.) Of the store itself also where a group can, whose cache it is: the way to that
/// may be by a link of whoever is in charge of the group's files.
pub(super) fn refuse_others_links(path: &Path) -> Result<(), StoreError> {
    let own = nix::unistd::geteuid().as_raw();
    for place in path.ancestors() {
        let Ok(link) = fs::symlink_metadata(place) else { continue };
        let bits = if place == path { 0o022 } else { 0o002 };
        let others = link.is_symlink() && ![0, own].contains(&link.uid());
        if others && others_may_write_beside(place, bits) {
            return Err(StoreError::Foreign { path: place.to_owned(), owner: link.uid() });
        }
    }
    Ok(())
}

/// Whether everybody can put something beside this path.
pub(super) fn is_everybodys(path: &Path) -> bool {
    others_may_write_beside(path, 0o002)
}

/// The caller's own store beside one at `taken` that is somebody else's, where all or a group may make one.
pub(super) fn beside(taken: &Path, wanted: &Path) -> Option<PathBuf> {
    if taken != wanted || !others_may_write_beside(taken, 0o022) {
        return None;
    }
    let mut name = taken.file_name()?.to_owned();
    name.push(format!("-{}", nix::unistd::geteuid()));
    Some(taken.with_file_name(name))
}

fn others_may_write_beside(path: &Path, bits: u32) -> bool {
    let parent = path.parent().and_then(|parent| fs::metadata(parent).ok());
    parent.is_some_and(|parent| parent.mode() & bits != 0)
}
