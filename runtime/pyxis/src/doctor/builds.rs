//! The builds beside a loader, and which of them it opens: by the rules of `loader/src/choose.rs`
//! and `build.rs`, which know what they do without a heap, in another's process.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use slurm_releases::stamp::Stamp;

use super::file::{Plugin, PluginFileError, look};
use crate::owner;
pub use crate::owner::Untrusted;

/// More builds than there will ever be releases.
const MOST: usize = 200;

/// One installed build.
#[derive(Debug)]
pub struct Build {
    /// Its directory's name, `24.11`.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// What it says of itself.
    pub stamp: Result<Stamp, PluginFileError>,
    /// Why it must not be used though it can be read.
    pub fault: Option<Untrusted>,
}

/// Whether others than root and `owner` could change what is at `path`.
pub(super) fn untrusted(path: &Path, owner: u32) -> Option<Untrusted> {
    let status = fs::metadata(path).ok()?;
    if status.uid() != 0 && status.uid() != owner {
        Some(Untrusted::Owner { path: path.into(), uid: status.uid() })
    } else if status.mode() & 0o022 != 0 {
        Some(Untrusted::Writable { path: path.into(), mode: status.mode() & 0o7777 })
    } else {
        None
    }
}

/// What the loader does in a Slurm with some API number.
#[derive(Debug)]
pub(super) enum Choice<'a> {
    Opens(&'a Build),
    Refuses(&'a Build, Untrusted),
    Nothing,
}

/// Where packages install builds, which a loader that has been copied elsewhere opens.
#[cfg(target_arch = "aarch64")]
pub(crate) const INSTALLED: [&str; 2] = ["/usr/lib/aarch64-linux-gnu/pyxis", "/usr/lib64/pyxis"];
#[cfg(not(target_arch = "aarch64"))]
pub(crate) const INSTALLED: [&str; 2] = ["/usr/lib/x86_64-linux-gnu/pyxis", "/usr/lib64/pyxis"];

/// The directory of builds of the loader at `path`, and those in it in the order of their names.
pub fn beside(path: &Path) -> (PathBuf, Vec<Build>) {
    let Some(real) = owner::real(path) else {
        return (path.parent().and_then(Path::parent).unwrap_or(path).join("pyxis"), Vec::new());
    };
    let owner = fs::metadata(&real).map_or(0, |status| status.uid());
    let directory = real.parent().and_then(Path::parent).unwrap_or(Path::new("/")).join("pyxis");
    let own = within(&directory, owner);
    if own.iter().all(|build| build.stamp.is_err()) {
        let installed =
            INSTALLED.iter().map(Path::new).filter(|place| owner::real(place).is_some());
        // The last that is there, where the loader finds none in the others.
        let mut last = None;
        for place in installed {
            let builds = within(place, 0);
            let found = builds.iter().any(|build| build.stamp.is_ok());
            if found || own.is_empty() {
                last = Some((place.to_path_buf(), builds));
            }
            if found {
                break;
            }
        }
        if let Some(found) = last {
            return found;
        }
    }
    (directory, own)
}

fn within(directory: &Path, owner: u32) -> Vec<Build> {
    let seen = owner::real(directory);
    let holder = seen.as_ref().and_then(|seen| untrusted(seen, owner));
    let mut names: Vec<String> = seen
        .and_then(|seen| fs::read_dir(seen).ok())
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .take(MOST)
        .collect();
    names.sort();
    let builds = names.into_iter().filter_map(|name| {
        let path = owner::real(&directory.join(&name).join("spank_pyxis.so"))?;
        let stamp = match look(&path) {
            Ok(Plugin::Build(stamp)) if stamp.plugin == "pyxis" => Ok(stamp),
            Ok(_) => Err(PluginFileError::NoPlugin),
            Err(error) => Err(error),
        };
        let parent = path.parent().and_then(|parent| untrusted(parent, owner));
        let fault = untrusted(&path, owner).or(parent).or(holder.clone());
        Some(Build { name, path, stamp, fault })
    });
    builds.collect()
}

/// What the loader beside these builds does in a Slurm of that API number: the last one counts.
pub(super) fn choose(builds: &[Build], api: u32) -> Choice<'_> {
    let fitting = || {
        let stamped = |build: &&Build| build.stamp.as_ref().is_ok_and(|stamp| stamp.api == api);
        builds.iter().rev().filter(stamped)
    };
    if let Some(build) = fitting().find(|build| build.fault.is_none()) {
        return Choice::Opens(build);
    }
    match fitting().next() {
        Some(build) => {
            build.fault.clone().map_or(Choice::Nothing, |why| Choice::Refuses(build, why))
        }
        None => Choice::Nothing,
    }
}
