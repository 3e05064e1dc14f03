//! Why an image cannot be imported.

use std::path::{Path, PathBuf};

use linux::file_error::FileError;

use super::PolicyError;
use crate::digest::Digest;
use crate::layers::LayerError;
use crate::registry::{ManifestError, RegistryError};
use crate::squash::SquashError;
use crate::store::StoreError;
use crate::uri::UriError;

/// Errors of importing.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The URI is malformed.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// `PYXIS_PULL_POLICY` is none.
    #[error("PYXIS_PULL_POLICY: {0}")]
    Policy(#[from] PolicyError),
    /// The registry, or the way to it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The squashfs file cannot be written.
    #[error(transparent)]
    Squash(#[from] SquashError),
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The configuration cannot be used.
    #[error("the configuration {what} is malformed: {source}")]
    Config {
        /// Its digest, or the image that an engine calls so.
        what: String,
        /// From the parser.
        source: serde_json::Error,
    },
    /// A layer cannot be used.
    #[error("layer {what}: {source}")]
    Layer {
        /// Its digest, or the image that an engine calls so.
        what: String,
        /// What is wrong with it.
        source: LayerError,
    },
    /// The merged image cannot be written.
    #[error(transparent)]
    Merge(#[from] LayerError),
    /// The account that fills the store of all users has not got it.
    #[error("{origin} is not to be had for the shared image store: {why}")]
    NotShared {
        /// The image.
        origin: String,
        /// What the account's process says.
        why: String,
    },
    /// The content of a blob is what its digest says, but of another size than the manifest says.
    #[error("{from} has {actual} bytes for {digest}, and its manifest says {expected}")]
    Size {
        /// Where it was read.
        from: String,
        /// As asked for, and as read.
        digest: Digest,
        /// As the manifest says.
        expected: u64,
        /// As read.
        actual: u64,
    },
    /// The content of a blob is another than its digest says.
    #[error(
        "{from} has the digest {actual} where {expected} is expected: damaged or tampered with"
    )]
    Digest {
        /// Where it was read.
        from: String,
        /// As asked for.
        expected: Digest,
        /// As read.
        actual: Digest,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A layout has no such image.
    #[error("{}: {problem}", path.display())]
    Layout {
        /// The layout.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// docker or podman is not there: in enroot's words.
    #[error("Command not found: {0}")]
    NoEngine(String),
    /// docker or podman failed.
    #[error("{command}: {problem}")]
    Engine {
        /// The command.
        command: String,
        /// What it said.
        problem: String,
    },
    /// The output is there already.
    #[error("File already exists: {}", .0.display())]
    Exists(PathBuf),
    /// What is to be pushed cannot be read.
    #[error(transparent)]
    Image(#[from] squashfs::SquashfsError),
    /// Only registries and layouts have digests.
    #[error("{0} has no digest: only docker://, oci: and oci-archive: images have")]
    NoDigest(String),
    /// Not known to the store, and not to be fetched.
    #[error(
        "the image store on this node knows no image by the name {0}, and with the pull policy never no registry is \
         asked: pull it here first, or name its digest"
    )]
    NotStored(String),
    /// There is nothing of it that could be sent.
    #[error("the image store keeps nothing of {0}")]
    NotKept(String),
    /// The registry does not know any more what srun's host remembers.
    #[error(
        "{source}: the tag named it when it was looked up last, and is not looked up again with the pull policy \
         missing; PYXIS_PULL_POLICY=always does it"
    )]
    Outdated {
        /// From the registry.
        source: RegistryError,
    },
}

impl ImportError {
    /// What is wrong with a layout or an archive.
    pub(super) fn layout(path: &Path, problem: String) -> ImportError {
        ImportError::Layout { path: path.to_owned(), problem }
    }
}
