//! The builds beside a loader, and which of them it opens: by the rules of `loader/src/choose.rs`
//! and `build.rs`, which know what they do without a heap, in another's process.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use slurm_releases::stamp::Stamp;

use super::file::{FileError, Plugin, look};

/// One installed build.
#[derive(Debug)]
pub struct Build {
    /// Its directory's name, `24.11`.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// What it says of itself.
    pub stamp: Result<Stamp, FileError>,
    /// Why it must not be used though it can be read.
    pub fault: Option<Untrusted>,
}

/// Why a file is not opened by programs that run as root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Somebody else than root owns it.
    #[error("{} belongs to uid {uid}, not to root", path.display())]
    Owner {
        /// File or directory.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// Its mode lets others write.
    #[error("{} can be written by others than its owner (mode {mode:o})", path.display())]
    Writable {
        /// File or directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

impl Untrusted {
    /// The command that mends it.
    pub fn mend(&self) -> String {
        match self {
            Untrusted::Owner { path, .. } => format!("chown root:root {}", path.display()),
            Untrusted::Writable { path, .. } => format!("chmod go-w {}", path.display()),
        }
    }
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

/// The directory of builds of the loader at `path`, and those in it in the order of their names.
pub fn beside(path: &Path) -> (PathBuf, Vec<Build>) {
    let real = path.canonicalize().unwrap_or_else(|_| path.into());
    let owner = fs::metadata(&real).map_or(0, |status| status.uid());
    let directory = real.parent().and_then(Path::parent).unwrap_or(Path::new("/")).join("pyxis");
    let holder = untrusted(&directory, owner);
    let mut names: Vec<String> = fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    let builds = names.into_iter().filter_map(|name| {
        let path = directory.join(&name).join("spank_pyxis.so").canonicalize().ok()?;
        let stamp = match look(&path) {
            Ok(Plugin::Build(stamp)) if stamp.plugin == "pyxis" => Ok(stamp),
            Ok(_) => Err(FileError::NoPlugin),
            Err(error) => Err(error),
        };
        let parent = path.parent().and_then(|parent| untrusted(parent, owner));
        let fault = untrusted(&path, owner).or(parent).or(holder.clone());
        Some(Build { name, path, stamp, fault })
    });
    let builds = builds.collect();
    (directory, builds)
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
