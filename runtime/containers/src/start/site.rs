//! What a site adds to every container, in enroot's folders: mounts, variables and hooks.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::StartError;
use linux::environ::{self, Environ};
use linux::home::home;

/// Files of a site's and the user's folders, in the order in which they count.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// `*.fstab`
    pub mounts: Vec<PathBuf>,
    /// `*.env`
    pub environ: Vec<PathBuf>,
    /// `*.sh`, executable
    pub hooks: Vec<PathBuf>,
}

impl Site {
    /// The files in the folders named by `PYXIS_MOUNTS_PATH`, `PYXIS_ENVIRON_PATH` and
    /// `PYXIS_HOOKS_PATH`, then in the user's: `mounts.d`, `environ.d` and `hooks.d` of
    /// `ENROOT_CONFIG_PATH` (by default `~/.config/enroot`).
    pub fn of_environment() -> Site {
        let variable = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
        let user = variable("ENROOT_CONFIG_PATH").map(PathBuf::from).or_else(|| {
            let base = variable("XDG_CONFIG_HOME").map(PathBuf::from);
            let base = base.or_else(|| Some(home()?.join(".config")));
            Some(base?.join("enroot"))
        });
        let find = |name, below: &str, suffix: &str| {
            let folders = variable(name).unwrap_or_default();
            std::env::split_paths(&folders)
                .filter(|folder| !folder.as_os_str().is_empty())
                .chain(user.iter().map(|user| user.join(below)))
                .flat_map(|folder| files(&folder, suffix))
                .collect()
        };
        let mut site = Site {
            mounts: find("PYXIS_MOUNTS_PATH", "mounts.d", ".fstab"),
            environ: find("PYXIS_ENVIRON_PATH", "environ.d", ".env"),
            hooks: find("PYXIS_HOOKS_PATH", "hooks.d", ".sh"),
        };
        let executable =
            |path: &PathBuf| nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok();
        site.hooks.retain(executable);
        site
    }

    /// Whether it adds neither mounts nor variables.
    pub(super) fn is_empty(&self) -> bool {
        self.mounts.is_empty() && self.environ.is_empty()
    }

    /// All mount lines, with the host's variables filled in.
    pub(super) fn mount_lines(&self, host: &Environ) -> Result<Vec<u8>, StartError> {
        substituted(&self.mounts, host)
    }

    /// All lines of variables, with the host's filled in.
    pub(super) fn environ_lines(&self, host: &Environ) -> Result<Vec<u8>, StartError> {
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
