//! Where the source tree is.

use crate::error::Error;
use nix::fcntl::{Flock, FlockArg};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The root of the source tree that the current directory is in.
///
/// # Errors
/// It is in none.
pub fn root() -> Result<PathBuf, Error> {
    let start = env::current_dir().map_err(Error::io("find", Path::new(".")))?;
    let root = start.ancestors().find(|dir| dir.join("slurm-releases/releases").is_dir());
    root.map(Path::to_path_buf).ok_or(Error::NoWorkspace { start })
}

/// Held while something is built: a second run in the tree would overwrite what the first has made
/// and not yet looked at. It waits, and says so.
///
/// # Errors
/// The file cannot be locked.
pub fn lock(root: &Path) -> Result<Flock<File>, Error> {
    let path = root.join("target/build-matrix.lock");
    fs::create_dir_all(root.join("target")).map_err(Error::io("make", &path))?;
    let file = File::create(&path).map_err(Error::io("make", &path))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .or_else(|(file, _)| {
            eprintln!("waiting for another build-matrix in {}", root.display());
            Flock::lock(file, FlockArg::LockExclusive)
        })
        .map_err(|(_, errno)| Error::io("lock", &path)(errno.into()))
}

/// A release as its data file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRelease {
    /// `24.11`
    pub name: String,
    /// Its latest micro release that is known, the 7 of `24.11.7`.
    pub micro: u32,
}

/// Releases as the data files name them, oldest first. Not from the table compiled into this
/// program: a file may have been added since.
///
/// # Errors
/// The directory cannot be read.
pub fn releases(root: &Path) -> Result<Vec<ListedRelease>, Error> {
    let dir = root.join("slurm-releases/releases");
    let mut known = Vec::new();
    for entry in fs::read_dir(&dir).map_err(Error::io("list", &dir))? {
        let path = entry.map_err(Error::io("list", &dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".toml").map(str::to_owned) else { continue };
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let micro = latest_micro(&text, &name).ok_or_else(|| Error::Data {
            path,
            why: format!("no line `latest = \"{name}.MICRO\"`"),
        })?;
        known.push(ListedRelease { name, micro });
    }
    // Two digits each: text order is their order.
    known.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(known)
}

fn latest_micro(text: &str, release: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.strip_prefix("latest = \""))?;
    line.strip_prefix(release)?.strip_prefix('.')?.strip_suffix('"')?.parse().ok()
}

/// The committed bindings of a release.
///
/// # Errors
/// They are not there.
pub fn bindings(root: &Path, release: &str) -> Result<Vec<u8>, Error> {
    let path = root.join("spank-bindings").join(slurm_releases::bindings_file(release));
    fs::read(&path).map_err(Error::io("read", &path))
}

/// The file of a program in the directories of `path`, a value of `PATH`.
pub fn find_in_path(path: &OsStr, program: &str) -> Option<PathBuf> {
    std::env::split_paths(path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// In hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
