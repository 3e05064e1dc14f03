//! What a site adds to every container, in enroot's folders: mounts, variables and hooks.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::start::error::StartError;
use linux::environ::{self, Environ};

/// Files of a site's and the user's folders, in the order in which they count.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// `*.fstab`
    pub mounts: Vec<PathBuf>,
    /// `*.env`
    pub environ: Vec<PathBuf>,
    /// `*.sh`, executable
    pub hooks: Vec<PathBuf>,
    /// With enroot's `common.sh`; `None` for our own.
    pub library: Option<PathBuf>,
    /// Where hooks see the container.
    pub runtime: PathBuf,
    /// Somebody has said so: it is made, or the start fails.
    pub runtime_is_wanted: bool,
}

/// Where the files of a [`Site`] are looked for, in the order in which they count.
#[derive(Clone, Copy, Debug)]
pub struct SiteFolders<'a> {
    /// Of `*.fstab`.
    pub mounts: &'a [PathBuf],
    /// Of `*.env`.
    pub environ: &'a [PathBuf],
    /// Of `*.sh`.
    pub hooks: &'a [PathBuf],
    /// See [`Site::library`].
    pub library: Option<&'a Path>,
    /// See [`Site::runtime`].
    pub runtime: &'a Path,
    /// See [`Site::runtime_is_wanted`].
    pub runtime_is_wanted: bool,
}

impl Site {
    /// The files in those folders.
    pub fn find(folders: SiteFolders<'_>) -> Site {
        let find = |folders: &[PathBuf], suffix: &str| {
            folders.iter().flat_map(|folder| files(folder, suffix)).collect()
        };
        let mut site = Site {
            mounts: find(folders.mounts, ".fstab"),
            environ: find(folders.environ, ".env"),
            hooks: find(folders.hooks, ".sh"),
            library: folders.library.map(Path::to_owned),
            runtime: folders.runtime.to_owned(),
            runtime_is_wanted: folders.runtime_is_wanted,
        };
        let executable =
            |path: &PathBuf| nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok();
        site.hooks.retain(executable);
        site
    }

    /// Whether it adds neither mounts nor variables.
    pub(in crate::start) fn is_empty(&self) -> bool {
        self.mounts.is_empty() && self.environ.is_empty()
    }

    /// All mount lines, with the host's variables filled in.
    pub(in crate::start) fn mount_lines(&self, host: &Environ) -> Result<Vec<u8>, StartError> {
        substituted(&self.mounts, host)
    }

    /// All lines of variables, with the host's filled in.
    pub(in crate::start) fn environ_lines(&self, host: &Environ) -> Result<Vec<u8>, StartError> {
        substituted(&self.environ, host)
    }
}

/// Sorted by name, without hidden ones, as a shell lists them.
fn files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.as_bytes();
            !name.starts_with(b".") && name.ends_with(suffix.as_bytes())
        })
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

fn substituted(files: &[PathBuf], host: &Environ) -> Result<Vec<u8>, StartError> {
    let mut text = Vec::new();
    for file in files {
        let lines = fs::read(file).map_err(|error| StartError::file("read", file, error))?;
        text.extend(environ::substitute(&lines, host));
        text.push(b'\n');
    }
    Ok(text)
}
