//! Whether the built-in runtime understands all that this node has of enroot's configuration. (Whether the
//! kernel lets it start containers, the doctor's `Attempt` tries.)

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::owner;
use crate::settings::Settings;

/// What of enroot's configuration would not do here what it does there.
pub fn not_understood(settings: &Settings) -> Vec<String> {
    // What enroot passes over is nothing to it, either.
    let remarks = settings.enroot.remarks.iter().filter(|remark| !remark.passed_over);
    let mut all: Vec<String> = remarks.map(ToString::to_string).collect();
    let folders = &settings.folders;
    for (name, suffix, read) in [
        ("mounts.d", ".fstab", &folders.mounts),
        ("environ.d", ".env", &folders.environ),
        ("hooks.d", ".sh", &folders.hooks),
    ] {
        let folder = settings.sysconf.join(name);
        let mut files = files(&folder, suffix);
        // A hook that nobody can execute is none.
        files.retain(|path| suffix != ".sh" || access(path, AccessFlags::X_OK).is_ok());
        if files.is_empty() {
            continue;
        }
        if !read.contains(&folder) {
            let words = format!("files of that folder are not used ({name} in pyxis.toml)");
            all.push(format!("{}: {words}", files[0].display()));
            continue;
        }
        let others = files.iter().find_map(|path| Some((path, owner::fault(path)?)));
        all.extend(others.map(|(path, why)| format!("{} is left out: {why}", path.display())));
    }
    all
}

/// What a shell would list.
fn files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name()).filter(|name| {
        let name = name.as_bytes();
        !name.starts_with(b".") && name.ends_with(suffix.as_bytes())
    });
    let mut files: Vec<PathBuf> = names.map(|name| folder.join(name)).collect();
    files.sort();
    files
}
