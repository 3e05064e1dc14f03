//! The directory that all containers of a user, or of root, are in.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::container::Container;
use super::error::ContainerError;
use super::metadata::Metadata;
use super::name::Name;
use super::{place, trash};
use linux::sys::Umask;

/// Where containers live.
#[derive(Clone, Debug)]
pub struct DataPath(PathBuf);

impl DataPath {
    /// A data path, made if need be. Root's is one that nobody else can change.
    ///
    /// # Errors
    /// [`ContainerError::File`].
    pub fn open(path: impl Into<PathBuf>) -> Result<DataPath, ContainerError> {
        let mut path = path.into();
        let _umask = Umask::ours();
        if place::is_root() {
            place::check_way(&path)?;
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|error| ContainerError::file("create", &path, error))?;
        if place::is_root() {
            // Looked at again with what there is now, and used by the way that was looked at.
            place::check_way(&path)?;
            path = fs::canonicalize(&path)
                .map_err(|error| ContainerError::file("look at", &path, error))?;
        }
        Ok(DataPath(path))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the container of this name is, or would be.
    pub fn place(&self, name: &Name) -> PathBuf {
        self.0.join(name.as_os_str())
    }

    /// The container called `name`.
    ///
    /// # Errors
    /// [`ContainerError::Absent`] and others.
    pub fn container(&self, name: &Name) -> Result<Container, ContainerError> {
        let path = self.place(name);
        if !path.is_dir() {
            return Err(ContainerError::Absent { path });
        }
        let layered = Metadata::read(&path)?;
        Ok(Container { name: name.clone(), path, layered })
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
        let failed = |error| ContainerError::file("read", &self.0, error);
        trash::sweep(&self.0);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Ok(name) = Name::new(entry.file_name()) {
                if entry.path().is_dir() {
                    names.push(name);
                }
            }
        }
        names.sort();
        Ok(names)
    }
}
