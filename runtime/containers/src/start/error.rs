//! Why a container does not start: the operation, the path, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::devices::DeviceError;
use crate::fstab::FstabError;
use crate::record::ContainerError;
use handover::namespaces::Namespace;
use linux::file_error::FileError;
use squashfs::image::ImageError;

/// Errors of [`super::start`].
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The image cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The named container cannot be used.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// A mount line is malformed.
    #[error(transparent)]
    Fstab(#[from] FstabError),
    /// A line of a mount list is malformed.
    #[error("{}: {source}", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// The line.
        source: FstabError,
    },
    /// No user namespace to be had.
    #[error("cannot create a user namespace: {source}{hint}")]
    UserNamespace {
        /// From the kernel.
        source: io::Error,
        /// What the administrator may have to change; may be empty.
        hint: String,
    },
    /// Another namespace failed.
    #[error("cannot create the {which} namespace: {source}")]
    Namespace {
        /// Its name in `/proc/PID/ns`.
        which: &'static str,
        /// From the kernel.
        source: io::Error,
    },
    /// A mount failed.
    #[error("cannot mount {what} at {}: {source}", target.display())]
    Mount {
        /// Source or file system.
        what: String,
        /// Path inside the container.
        target: PathBuf,
        /// From the kernel.
        source: io::Error,
    },
    /// The changes of a named container are on a file system that does not take them any more.
    #[error(
        "{0}; what was changed in a named container can be used on a local disk only: move it to one, and set \
         ENROOT_DATA_PATH, or data in [paths] of pyxis.toml, to its directory there"
    )]
    Layer(String),
    /// The source of a bind mount cannot be opened.
    #[error(transparent)]
    Source(FileError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The image is not served.
    #[error("cannot read {}: {log}", image.display())]
    Server {
        /// The image.
        image: PathBuf,
        /// What its server said, or the kernel's answer.
        log: String,
    },
    /// Neither FUSE nor extraction is possible.
    #[error(
        "cannot use {}: {reason}, and it cannot be extracted either: {extraction}; \
         make /dev/fuse accessible, or install squashfs-tools",
        image.display()
    )]
    NoWayToRead {
        /// The image.
        image: PathBuf,
        /// Why FUSE does not do.
        reason: String,
        /// Why unsquashfs does not do.
        extraction: String,
    },
    /// A device cannot be had.
    #[error(transparent)]
    Devices(#[from] DeviceError),
    /// A device node is not what it should be.
    #[error("cannot use device {}: {problem}", path.display())]
    Device {
        /// On the host.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A hook failed.
    #[error("hook {}: {problem}", path.display())]
    Hook {
        /// The hook.
        path: PathBuf,
        /// How it ended.
        problem: String,
    },
    /// A configuration script failed.
    #[error("configuration script {}: {problem}", path.display())]
    Conf {
        /// The script.
        path: PathBuf,
        /// How it ended.
        problem: String,
        /// The exit code that it chose.
        code: u8,
    },
    /// A helper process could not be made.
    #[error("cannot start a process: {0}")]
    Process(io::Error),
    /// The container is ready but could not be handed over.
    #[error("cannot hand the container over to the plugin: {0}")]
    Handover(io::Error),
}

impl StartError {
    pub(super) fn namespace(which: Namespace, source: impl Into<io::Error>) -> Self {
        StartError::Namespace { which: which.file(), source: source.into() }
    }

    /// What the command exits with: a configuration script may have a say in it.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Conf { code, .. } => *code,
            _ => 1,
        }
    }

    /// What cannot be read of a container's files while it is made is a damaged image: some
    /// servers find that out when they are asked, not when they begin.
    pub(super) fn of_image(self, image: Option<&Path>) -> Self {
        match (&self, image) {
            (StartError::File(FileError { source, .. }), Some(image))
                if source.raw_os_error() == Some(nix::libc::EIO) =>
            {
                StartError::Server { image: image.to_owned(), log: self.to_string() }
            }
            _ => self,
        }
    }

    pub(super) fn mount(what: impl Into<String>, target: &str, source: nix::Error) -> Self {
        StartError::Mount { what: what.into(), target: target.into(), source: source.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_read_is_the_images_fault() {
        let of = |errno, image| {
            let error = FileError::new("create", "/proc", io::Error::from_raw_os_error(errno));
            StartError::from(error).of_image(image).to_string()
        };
        let image = Path::new("broken.sqsh");
        let line = of(nix::libc::EIO, Some(image));
        assert!(line.starts_with("cannot read broken.sqsh: cannot create /proc: "));
        assert!(!of(nix::libc::EIO, None).contains("cannot read"));
        assert!(!of(nix::libc::ENOSPC, Some(image)).contains("cannot read"));
    }
}
