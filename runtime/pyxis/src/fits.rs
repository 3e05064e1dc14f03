//! Whether the built-in runtime can take enroot's place on this node: it understands all that the
//! node has of enroot's configuration, and the kernel lets it start containers.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::doctor::first_failure;
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
        if read.contains(&folder) {
            continue;
        }
        let first = first_file(&folder, suffix).filter(|path| {
            // A hook that nobody can execute is none.
            name != "hooks.d" || access(path, AccessFlags::X_OK).is_ok()
        });
        all.extend(first.map(|path| {
            format!("{}: files of that folder are not used ({name} in pyxis.toml)", path.display())
        }));
    }
    all
}

/// What the node lacks, if anything. To be called in a process that does nothing else: it is another
/// one afterwards, in namespaces of its own.
pub fn lacking() -> Option<String> {
    first_failure().map(|(what, why)| format!("users cannot {what} on this node: {why}"))
}

/// The first of a folder that a shell would list.
fn first_file(folder: &Path, suffix: &str) -> Option<PathBuf> {
    let names = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name());
    let mut names: Vec<_> = names
        .filter(|name| {
            let name = name.as_bytes();
            !name.starts_with(b".") && name.ends_with(suffix.as_bytes())
        })
        .collect();
    names.sort();
    names.first().map(|name| folder.join(name))
}
