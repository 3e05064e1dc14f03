//! What a container takes from the host's tree, looked at while the image's server starts.

use std::ffi::OsStr;
use std::path::Path;

use nix::sys::stat::stat;

use super::identity::{Account, Identity};
use super::{cgroups, fixes, system};
use crate::fstab::Entry;
use linux::environ::Environ;

/// The same, by what it becomes in the container.
pub(super) struct HostFacts {
    pub(super) environ: Environ,
    pub(super) account: Account,
    pub(super) timezone: Option<fixes::Timezone>,
    /// Of [`system::host_files`] those that there are.
    pub(super) files: Vec<&'static str>,
    /// Mounts that show the step's part of each hierarchy of cgroups.
    pub(super) cgroups: Vec<Entry>,
}

impl HostFacts {
    /// Looks on the host's tree, of which the stage may cover a part.
    pub(super) fn look(identity: &Identity, environ: &Environ) -> HostFacts {
        HostFacts {
            account: identity.account(),
            timezone: fixes::Timezone::of_host(),
            files: system::host_files()
                .filter(|name| stat(&Path::new("/etc").join(name)).is_ok())
                .collect(),
            cgroups: cgroups::entries(environ.contains_key(OsStr::new("SLURM_STEP_ID"))),
            environ: environ.clone(),
        }
    }
}
