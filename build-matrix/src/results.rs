//! What the last runs found out, one file each below `target/results`: written by `build`, `verify`,
//! `package` and tests/run, read by `report`.

use crate::error::Error;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Where they are, below the root of the source tree.
const DIR: &str = "target/results";

/// Keeps `value` as the last result of that name.
///
/// # Errors
/// It cannot be written.
pub fn write(root: &Path, name: &str, value: &Value) -> Result<(), Error> {
    let dir = root.join(DIR);
    fs::create_dir_all(&dir).map_err(Error::io("make", &dir))?;
    let (file, new) = (dir.join(format!("{name}.json")), dir.join(format!(".{name}.new")));
    fs::write(&new, format!("{value:#}\n")).map_err(Error::io("write", &new))?;
    fs::rename(&new, &file).map_err(Error::io("write", &file))
}

/// Those whose name begins so, with the rest of it, by name.
///
/// # Errors
/// One cannot be read.
pub fn read(root: &Path, kind: &str) -> Result<Vec<(String, Value)>, Error> {
    let dir = root.join(DIR);
    let Ok(entries) = fs::read_dir(&dir) else { return Ok(Vec::new()) };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(kind).and_then(|rest| rest.strip_suffix(".json")) else {
            continue;
        };
        let text = fs::read_to_string(&file).map_err(Error::io("read", &file))?;
        let value = serde_json::from_str(&text)
            .map_err(|e| Error::Data { path: file.clone(), why: e.to_string() })?;
        found.push((rest.to_owned(), value));
    }
    Ok(found)
}
