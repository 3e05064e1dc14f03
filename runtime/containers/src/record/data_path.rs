//! The directory that all containers of a user, or of root, are in.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::container::Container;
use super::error::ContainerError;
use super::fresh::forget_names;
use super::metadata::Metadata;
use super::name::Name;
use super::place::{self, NamedBy};
use super::trash;
use handover::nodes::{is_shared, node};
use linux::file_error::FileError;
use linux::sys::Umask;

/// Where containers live.
///
/// Nodes may have the place together: a home, say. Where each is to have containers of its own there, those that
/// another node has made are not seen, and what cannot be kept apart otherwise is in [`OF_NODES`].
#[derive(Clone, Debug)]
pub struct DataPath {
    path: PathBuf,
    per_node: bool,
    named: NamedBy,
}

/// The directory of containers that one node has for itself in a place of several: a directory for each, by its name.
const OF_NODES: &str = ".nodes";

impl DataPath {
    /// A data path, made if need be, where each node has containers of its own or not. Root's is one that
    /// nobody else can change; a user's, unless the user has named it, is one that nobody else has made.
    ///
    /// # Errors
    /// [`ContainerError::File`], and of a place that is somebody else's.
    pub fn open(
        path: impl Into<PathBuf>,
        per_node: bool,
        named: NamedBy,
    ) -> Result<DataPath, ContainerError> {
        let mut path = path.into();
        let _umask = Umask::ours();
        if place::is_root() {
            place::refuse_others_places(&path)?;
        } else {
            named.refuse_squatters(&path)?;
        }
        make(&path).map_err(|error| match error {
            ContainerError::File(error) => ContainerError::NoDirectory(error),
            error => error,
        })?;
        if place::is_root() {
            // Looked at again with what there is now, and used by the way that was looked at.
            place::refuse_others_places(&path)?;
            path =
                fs::canonicalize(&path).map_err(|error| FileError::new("look at", &path, error))?;
        } else {
            // Others may have been quicker.
            named.refuse_squatters(&path)?;
        }
        Ok(DataPath { path, per_node, named })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// This node's own directory in it, whether it is there or not.
    pub(crate) fn of_this_node(&self) -> PathBuf {
        self.path.join(OF_NODES).join(node())
    }

    /// Where the container of this name is, or would be.
    pub fn place(&self, name: &Name) -> PathBuf {
        self.holder(name).join(name.as_os_str())
    }

    /// The directory in which it is, or would be. What this node has for itself comes first.
    fn holder(&self, name: &Name) -> PathBuf {
        let own = self.of_this_node();
        let common = self.path.join(name.as_os_str());
        let is_others = || match common.symlink_metadata() {
            Ok(_) => ContainerError::exists(common.clone()).is_of_another_node(),
            // Who comes first cannot be told from who comes at the same time.
            Err(_) => is_shared(&self.path),
        };
        let has_own = own.join(name.as_os_str()).symlink_metadata().is_ok();
        if has_own || self.per_node && is_others() { own } else { self.path.clone() }
    }

    /// The directory to make that container in: the second time, another node has been quicker.
    pub(crate) fn holder_for_new(&self, name: &Name) -> Result<PathBuf, ContainerError> {
        let holder = self.holder(name);
        if holder != self.path {
            make(&holder)?;
        }
        Ok(holder)
    }

    /// What this node has for itself goes with the last container in it.
    pub(crate) fn tidy(&self) {
        let own = self.of_this_node();
        let _ = own.parent().map(|all| fs::remove_dir(&own).and_then(|()| fs::remove_dir(all)));
    }

    /// Whether another try makes a container that could not be made: for each node is to have one, and this was
    /// another one's.
    pub(crate) fn keeps_apart(&self, error: &ContainerError) -> bool {
        self.per_node && error.is_of_another_node()
    }

    /// The container called `name`.
    ///
    /// # Errors
    /// [`ContainerError::Absent`] and others.
    pub fn container(&self, name: &Name) -> Result<Container, ContainerError> {
        forget_names(&self.path);
        let path = self.place(name);
        loop {
            let Some(directory) = opened_directory(&path) else {
                return Err(ContainerError::Absent { path });
            };
            self.named.refuse_others(&path)?;
            if let Some(layered) = described(&directory, &path)? {
                return Ok(Container { name: name.clone(), path, layered });
            }
        }
    }

    /// As [`DataPath::container`], but a damaged one is found too.
    ///
    /// # Errors
    /// [`ContainerError::Absent`] and others.
    pub fn find_to_remove(&self, name: &Name) -> Result<Container, ContainerError> {
        match self.container(name) {
            Err(ContainerError::Damaged { path, .. }) => {
                Ok(Container { name: name.clone(), path, layered: None })
            }
            result => result,
        }
    }

    /// The names of all containers, sorted. What was left half made or half removed goes meanwhile.
    ///
    /// # Errors
    /// [`ContainerError::File`].
    pub fn names(&self) -> Result<Vec<Name>, ContainerError> {
        let mut names = names_in(&self.path)?;
        let own = self.of_this_node();
        if own.is_dir() {
            names.extend(names_in(&own)?);
        }
        if self.per_node {
            names.retain(|name| self.place(name).is_dir());
        }
        names.retain(|name| !self.named.is_others(&self.place(name)));
        names.sort();
        names.dedup();
        Ok(names)
    }
}

fn names_in(directory: &Path) -> Result<Vec<Name>, ContainerError> {
    let failed = |error| FileError::new("read", directory, error);
    trash::sweep(directory);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = Name::new(entry.file_name()) {
            if entry.path().is_dir() {
                names.push(name);
            }
        }
    }
    Ok(names)
}

/// Makes a directory for containers, and those above it.
pub(crate) fn make(path: &Path) -> Result<(), ContainerError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| FileError::new("create", path, error).into())
}

fn opened_directory(path: &Path) -> Option<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_PATH).open(path).ok()
}

/// What the container at `path` says of itself, in the inner option; `None` if `path` no longer
/// leads to `directory`. One that was renamed away has no description either, and is no plain root
/// filesystem for that.
fn described(directory: &File, path: &Path) -> Result<Option<Option<Metadata>>, ContainerError> {
    let layered = Metadata::read(path)?;
    let id = |stat: &fs::Metadata| (stat.dev(), stat.ino());
    let stays =
        || matches!((path.metadata(), directory.metadata()), (Ok(a), Ok(b)) if id(&a) == id(&b));
    Ok((layered.is_some() || stays()).then_some(layered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_was_renamed_away_is_no_plain_directory() {
        let data = tempfile::tempdir().unwrap();
        let (place, trash) = (data.path().join("a"), data.path().join("b"));
        fs::create_dir(&place).unwrap();
        let opened = opened_directory(&place).unwrap();
        let plain = || matches!(described(&opened, &place), Ok(Some(None)));
        assert!(plain());
        fs::rename(&place, trash).unwrap();
        assert!(!plain());
        fs::create_dir(&place).unwrap();
        assert!(!plain());
    }

    #[test]
    fn a_container_may_be_a_link_to_a_directory() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", data.path().join("linked")).unwrap();
        let place = DataPath::open(data.path(), false, NamedBy::Site { root: 0 }).unwrap();
        let found = place.container(&Name::new("linked").unwrap());
        assert!(found.unwrap().layered.is_none());
    }
}
