//! What a container takes from the host's tree, looked at while the image's server starts.

use std::ffi::OsStr;
use std::path::Path;

use nix::sys::stat::stat;

use crate::fstab::Entry;
use crate::start::environment::fixes;
use crate::start::environment::site::Standard;
use crate::start::mounts::cgroups;
use crate::start::mounts::system;
use crate::start::plan::Plan;
use crate::start::process::identity::{Account, Identity};
use linux::environ::Environ;

/// The same, by what it becomes in the container.
pub(in crate::start) struct HostFacts {
    pub(in crate::start) environ: Environ,
    pub(in crate::start) account: Account,
    pub(in crate::start) timezone: Option<fixes::Timezone>,
    /// Of [`system::host_files`] those that there are.
    pub(in crate::start) files: Vec<&'static str>,
    /// Mounts that show the step's part of each hierarchy of cgroups.
    pub(in crate::start) cgroups: Vec<Entry>,
}

impl HostFacts {
    /// Looks on the host's tree, of which the stage may cover a part.
    pub(in crate::start) fn look(identity: &Identity, plan: &Plan) -> HostFacts {
        let environ = &plan.host.environ;
        let ours = |standard| !plan.site.replaces(standard);
        let cgroups = || cgroups::entries(environ.contains_key(OsStr::new("SLURM_STEP_ID")));
        HostFacts {
            account: account(identity, plan),
            timezone: ours(Standard::Localtime).then(fixes::Timezone::of_host).flatten(),
            files: system::host_files()
                .filter(|name| stat(&Path::new("/etc").join(name)).is_ok())
                .filter(|_| ours(Standard::Config))
                .collect(),
            cgroups: ours(Standard::Cgroups).then(cgroups).unwrap_or_default(),
            environ: environ.clone(),
        }
    }
}

fn account(identity: &Identity, plan: &Plan) -> Account {
    let mut account = identity.account();
    if let Some(slurm) = &plan.slurm {
        account.others = identity.others(&account, &slurm.users);
    }
    account
}
