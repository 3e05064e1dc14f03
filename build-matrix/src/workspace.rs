//! Where the source tree is.

use crate::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The root of the source tree that the current directory is in.
pub(crate) fn root() -> Result<PathBuf, Error> {
    let start = env::current_dir().map_err(Error::io("find", Path::new(".")))?;
    let root = start.ancestors().find(|dir| dir.join("spank-bindings/releases").is_dir());
    root.map(Path::to_path_buf).ok_or(Error::NoWorkspace { start })
}

/// Releases as the data files name them, oldest first. Not from the table compiled into this
/// program: a file may have been added since.
pub(crate) fn releases(root: &Path) -> Result<Vec<String>, Error> {
    let dir = root.join("spank-bindings/releases");
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).map_err(Error::io("list", &dir))? {
        let name = entry.map_err(Error::io("list", &dir))?.file_name();
        names.extend(name.to_string_lossy().strip_suffix(".toml").map(str::to_owned));
    }
    // Two digits each: text order is their order.
    names.sort();
    Ok(names)
}

/// `slurm-24-11`
pub(crate) fn feature(release: &str) -> String {
    format!("slurm-{}", release.replace('.', "-"))
}
