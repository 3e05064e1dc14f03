//! The directory that all containers of a user, or of root, are in.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::container::Container;
use super::error::ContainerError;
use super::metadata::Metadata;
use super::name::Name;
use super::{place, trash};
use linux::file_error::FileError;
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
            place::refuse_others_places(&path)?;
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|error| FileError::new("create", &path, error))?;
        if place::is_root() {
            // Looked at again with what there is now, and used by the way that was looked at.
            place::refuse_others_places(&path)?;
            path =
                fs::canonicalize(&path).map_err(|error| FileError::new("look at", &path, error))?;
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
        forget_what_is_absent(&self.0);
        loop {
            let Some(directory) = opened_directory(&path) else {
                return Err(ContainerError::Absent { path });
            };
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
        let failed = |error| FileError::new("read", &self.0, error);
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

/// A name that was looked for in vain, and that another node has made since, is seen: NFS believes that it is absent until the
/// directory is opened.
pub(crate) fn forget_what_is_absent(directory: &Path) {
    let _ = File::open(directory);
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
        let found = DataPath(data.path().to_owned()).container(&Name::new("linked").unwrap());
        assert!(found.unwrap().layered.is_none());
    }
}
