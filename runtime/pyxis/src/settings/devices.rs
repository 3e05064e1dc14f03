//! Which devices containers get, and where they are found.

use std::ffi::OsStr;
use std::path::PathBuf;

use containers::devices::Recipes;
use linux::environ::Environ;

use super::layers::Resolved;
use super::table::Id;
use super::variables as v;

/// Devices by the Container Device Interface.
#[derive(Clone, Debug)]
pub struct DeviceSettings {
    /// Folders of specifications.
    pub directories: Vec<PathBuf>,
    /// Devices for every container.
    pub names: Vec<String>,
    /// Whether `NVIDIA_VISIBLE_DEVICES` is heeded.
    pub nvidia: bool,
    /// Where a driver's files are.
    pub root: PathBuf,
    /// What containers get of fabrics.
    pub recipes: Recipes,
    /// Slurm numbers GPUs by their files, as 20.11 does.
    pub slurm_numbers_files: bool,
    /// Whether more is said.
    pub verbose: bool,
}

impl DeviceSettings {
    pub(super) fn of(resolved: &Resolved, host: &Environ, recipes: Recipes) -> DeviceSettings {
        DeviceSettings {
            directories: resolved.paths(Id::CdiDirectories),
            names: resolved.words(Id::CdiDevices),
            nvidia: resolved.is_on(Id::CdiNvidia),
            root: resolved.path(Id::CdiRoot).unwrap_or_else(|| "/".into()),
            recipes,
            slurm_numbers_files: host
                .get(OsStr::new(v::SLURM_RELEASE))
                .is_some_and(|release| release == "20.11"),
            verbose: resolved.is_on(Id::CdiVerbose),
        }
    }
}
