//! What a container goes by of the host: handed down by the command, read nowhere else.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use linux::environ::{Environ, find_in_path};
use squashfs::image::InUse;

/// The host as the command knows it.
#[derive(Clone, Debug)]
pub struct HostSide {
    /// The environment: the caller's, with what the site has set.
    pub environ: Environ,
    /// Whether the kernel's overlay may be used; a site says no where it misbehaves.
    pub overlay: bool,
    /// Directories in which changes may be kept that memory cannot keep, the best first.
    pub layers: Vec<PathBuf>,
    /// Where unpacked images are kept, on kernels that need them.
    pub unpacked: Option<PathBuf>,
    /// Is told of each image that is opened.
    pub in_use: InUse,
}

impl HostSide {
    /// A variable that is set to something.
    pub(crate) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.environ.get(OsStr::new(name)).map(|value| &**value).filter(|value| !value.is_empty())
    }

    /// The program `name` of `PATH`.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        find_in_path(self.variable("PATH")?, name, Path::is_file)
    }
}
