//! Why a named container cannot be made, found or removed.

use std::path::{Path, PathBuf};

use linux::file_error::FileError;
use squashfs::image::ImageError;

/// Errors of [`super`].
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The name cannot be a container's.
    #[error("Invalid argument: {name:?}: a container's name {problem}")]
    Name {
        /// As given.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Neither `ENROOT_DATA_PATH` nor a home directory says where containers live.
    #[error("no place for containers: set ENROOT_DATA_PATH, XDG_DATA_HOME or HOME")]
    NoDataPath,
    /// The directory for containers cannot be made.
    #[error(
        "{0}; another place for containers: data in [paths] of pyxis.toml, or ENROOT_DATA_PATH"
    )]
    NoDirectory(FileError),
    /// Root's containers would be where others can change them.
    #[error(
        "root's containers are not looked for in {}: others than root can change {}; \
         set ENROOT_DATA_PATH to a directory of root's own",
        path.display(),
        part.display()
    )]
    OthersPlace {
        /// Where they would be.
        path: PathBuf,
        /// What is not root's alone, on the way there.
        part: PathBuf,
    },
    /// Somebody else has put something there first, or could exchange it.
    #[error(
        "containers in {} are not used: {} is somebody else's, in a directory where others can make something; have it \
         removed, or set ENROOT_DATA_PATH to a directory of your own",
        path.display(),
        part.display()
    )]
    Squatted {
        /// Where containers are looked for.
        path: PathBuf,
        /// What is not the caller's or root's, on the way there or in it.
        part: PathBuf,
    },
    /// No such container.
    #[error("No such file or directory: {}", path.display())]
    Absent {
        /// Where it would be.
        path: PathBuf,
    },
    /// The name is taken.
    #[error("File already exists: {}{}", path.display(), shared_by_nodes(node.as_deref()))]
    Exists {
        /// Where it is.
        path: PathBuf,
        /// The other node that it was made on.
        node: Option<String>,
    },
    /// The image cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The container's own files are not what this version wrote.
    #[error(
        "container {} is damaged ({problem}); `pyxis remove` it and create it again",
        path.display()
    )]
    Damaged {
        /// The container.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The image was overwritten below the container.
    #[error(
        "the image of container {} was changed in place after the container was made; \
         `pyxis remove` it and create it again",
        path.display()
    )]
    ImageChanged {
        /// The container.
        path: PathBuf,
    },
    /// In use where it cannot be reached.
    #[error(
        "container {} is in use by a process that cannot be seen from here \
         (another node, or another user namespace)",
        path.display()
    )]
    Busy {
        /// The container.
        path: PathBuf,
    },
    /// The container could not be unpacked.
    #[error("cannot extract {}: {problem}", image.display())]
    Extract {
        /// The image.
        image: PathBuf,
        /// What unsquashfs said.
        problem: String,
    },
}

impl ContainerError {
    pub(super) fn squatted(path: &Path, part: &Path) -> ContainerError {
        ContainerError::Squatted { path: path.to_owned(), part: part.to_owned() }
    }

    /// Whether there is a container, and another node has made it.
    pub(super) fn is_of_another_node(&self) -> bool {
        matches!(self, ContainerError::Exists { node: Some(_), .. })
    }
}

/// What to do about containers of other nodes at the place of this one's.
fn shared_by_nodes(node: Option<&str>) -> String {
    node.map_or_else(String::new, |node| {
        format!(
            " (made on {node}, which has the same place for containers: set ENROOT_DATA_PATH, or data in [paths] of pyxis.toml, to one \
             that each node has for itself, or per_node there)"
        )
    })
}
