//! Named containers: directories below the data path, the same as enroot's.
//!
//! A container made by enroot is a plain root filesystem. One made here holds
//!
//! | file | what |
//! |---|---|
//! | `container.toml` | identity, and what the image looked like: size, time, digest of its tables |
//! | `image.sqsh` | the image: a hard link where possible, else a copy |
//! | `upper`, `work` | what was changed in the container, as the kernel's overlay keeps it |
//! | `environ` | the environment it was last started with, for those who join it |
//! | `lock` | held while it is being made, started or joined |
//! | `used` | held by the process that serves the image, as long as the container runs |
//!
//! Names with a leading dot are being made (`.pyxis.create.NAME`) or removed (`.pyxis.trash.*`).

mod create;
mod error;
mod exec;
mod export;
mod hold;
mod metadata;
mod name;
mod place;
mod process;
mod remove;
mod running;
mod usage;

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

pub use error::ContainerError;
pub use exec::{Entered, Exec, ExecError};
pub use export::{Export, ExportError, default_output};
use linux::sys::Umask;
pub use metadata::Metadata;
pub use name::Name;
pub(crate) use remove::finish as finish_removal;
pub(crate) use running::label_mark;
pub use running::{Process, hand_over, hand_over_labelled};
pub(crate) use usage::{Claim, State};

/// Where containers live.
#[derive(Clone, Debug)]
pub struct DataPath(PathBuf);

/// A container that exists.
#[derive(Clone, Debug)]
pub struct Container {
    /// Its name.
    pub name: Name,
    /// Its directory.
    pub path: PathBuf,
    /// `None` for a plain root filesystem.
    pub layered: Option<Metadata>,
}

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
        remove::sweep(self);
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

impl Container {
    /// The image below the container's own changes.
    pub(crate) fn image(&self) -> PathBuf {
        self.path.join("image.sqsh")
    }

    /// The `source` that the container's root shows in `mountinfo`, for a root that is an overlay.
    pub(crate) fn mark(&self) -> String {
        match &self.layered {
            Some(metadata) => format!("pyxis-{}", metadata.id),
            None => fs::metadata(&self.path)
                .map_or_else(|_| "pyxis".to_owned(), |stat| directory_mark(stat.dev(), stat.ino())),
        }
    }

    fn environ_file(&self) -> PathBuf {
        self.path.join("environ")
    }
}

/// As [`Container::mark`], of a plain directory.
fn directory_mark(device: u64, inode: u64) -> String {
    format!("pyxis-{device:x}-{inode:x}")
}
