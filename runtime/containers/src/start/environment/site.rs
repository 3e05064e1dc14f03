//! What a site and its users add to every container in enroot's folders: mounts, variables and hooks.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::fstab::Entry;
use crate::start::error::StartError;
use linux::environ::{self, Environ};

/// Stands in lists of mounts for the container's root, which has no path while they are read: nothing is called so.
const ROOTFS: &str = "/proc/self/enroot-rootfs";

/// What is in a site's and the user's folders, in the order in which it counts.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// Mount lists, but for those of enroot's that say what is done for every container.
    pub mounts: Vec<SiteFile>,
    /// Lists of variables.
    pub environ: Vec<SiteFile>,
    /// Hooks to be run.
    pub hooks: Vec<PathBuf>,
    /// How many of them may say which devices there are: those that enroot runs before its own for devices.
    pub before_devices: usize,
    /// Files of enroot's that the site has replaced by its own.
    pub replaced: Vec<Standard>,
    /// Hooks of enroot's that the site has switched off, by taking them away.
    pub taken_away: Vec<Standard>,
    /// Variables that enroot has for lists and hooks, where the environment has not.
    pub variables: Environ,
    /// With enroot's `common.sh`; `None` for our own.
    pub library: Option<PathBuf>,
    /// Where hooks see the container.
    pub runtime: PathBuf,
    /// Somebody has said so: it is made, or the start fails.
    pub runtime_is_wanted: bool,
    /// Nobody else can move it, or a directory above it, away while it is used by its path.
    pub runtime_is_closed: bool,
}

/// A file that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteFile {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub text: Vec<u8>,
}

/// A file that comes with enroot, whose work is done here without it. Where a site has a file of its
/// own under that name, the work is left to that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// The system's mounts.
    System,
    /// Files of the node's in `/etc`.
    Config,
    /// apt that runs as root.
    Aptfix,
    /// The step's cgroups.
    Cgroups,
    /// The least devices.
    Devices,
    /// The home directory.
    Home,
    /// The time zone.
    Localtime,
    /// The user's account.
    Shadow,
    /// GPUs of NVIDIA's.
    Nvidia,
    /// Host channel adapters of Mellanox's.
    Mellanox,
}

impl Standard {
    /// The name of the file, if it is one of them.
    pub fn named(name: &OsStr) -> Option<Standard> {
        Some(match name.as_bytes() {
            b"10-system.fstab" => Standard::System,
            b"20-config.fstab" => Standard::Config,
            b"10-aptfix.sh" => Standard::Aptfix,
            b"10-cgroups.sh" => Standard::Cgroups,
            b"10-devices.sh" => Standard::Devices,
            b"10-home.sh" => Standard::Home,
            b"10-localtime.sh" => Standard::Localtime,
            b"10-shadow.sh" => Standard::Shadow,
            // Until 2.0 it was the last one.
            b"98-nvidia.sh" | b"99-nvidia.sh" => Standard::Nvidia,
            b"99-mellanox.sh" => Standard::Mellanox,
            _ => return None,
        })
    }
}

impl Site {
    /// Whether the work of this file of enroot's is left to the site's own, or to nobody.
    pub fn replaces(&self, standard: Standard) -> bool {
        self.replaced.contains(&standard) || self.taken_away.contains(&standard)
    }

    /// All mounts, with the host's variables filled in.
    pub(in crate::start) fn mount_entries(&self, host: &Environ) -> Result<Vec<Entry>, StartError> {
        let mut entries = Vec::new();
        for (SiteFile { path, .. }, text) in
            self.filled(&self.mounts, host, [("ENROOT_ROOTFS", ROOTFS.into())])
        {
            let read = text.split(|byte| *byte == b'\n').filter_map(|line| {
                let entry = Entry::parse_of_site(OsStr::from_bytes(line)).transpose()?;
                let list = || path.clone();
                Some(entry.map_err(|source| StartError::List { path: list(), source }).map(inside))
            });
            for entry in read {
                entries.push(entry?);
            }
        }
        Ok(entries)
    }

    /// All lines of variables, with the host's filled in, and those of hooks.
    pub(in crate::start) fn environ_lines(
        &self,
        host: &Environ,
        of_hooks: impl IntoIterator<Item = (&'static str, OsString)>,
    ) -> Vec<u8> {
        let texts = self.filled(&self.environ, host, of_hooks);
        texts.map(|(_, text)| [&text[..], b"\n"].concat()).collect::<Vec<_>>().concat()
    }

    fn filled<'a>(
        &self,
        files: &'a [SiteFile],
        host: &Environ,
        others: impl IntoIterator<Item = (&'static str, OsString)>,
    ) -> impl Iterator<Item = (&'a SiteFile, Vec<u8>)> {
        let mut all = Environ::new();
        if !files.is_empty() {
            all.clone_from(&self.variables);
            all.extend(host.iter().map(|(name, value)| (name.clone(), value.clone())));
            all.extend(others.into_iter().map(|(name, value)| (name.into(), value)));
        }
        files.iter().map(move |file| (file, environ::substitute(&file.text, &all)))
    }
}

/// A mount of a list, with a source that is in the container where the list says so. A target is always there.
fn inside(mut entry: Entry) -> Entry {
    let below = |path: &OsStr| {
        let below = Path::new(path).strip_prefix(ROOTFS).ok()?;
        Some(Path::new("/").join(below).into_os_string())
    };
    if let Some(source) = below(&entry.source) {
        (entry.source, entry.inside) = (source, true);
    }
    if let Some(target) = below(&entry.target) {
        entry.target = target;
    }
    entry
}
