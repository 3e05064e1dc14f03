//! What runs as root in slurmstepd and in the epilog: all of it, and nothing else.
//!
//! Whatever comes from a user is bounded, typed and timed here: no read without a limit, no wait
//! without a deadline (SAFETY.md, section 5).

pub(crate) mod broker;
pub(crate) mod cgroup;
pub(crate) mod child;
mod end;
mod epilog;
pub(crate) mod leftovers;
pub(crate) mod process;
mod release;
pub(crate) mod runtime_dir;
mod way;

pub(crate) use epilog::remove_containers_of_job;

use crate::config::Config;
use crate::options::Options;
use crate::step::job::Job;
use crate::step::shared::Shared;
use crate::step::{Step, StepError};
use broker::Broker;
use spank_bindings::Spank;

impl Step {
    /// As root, when a container is asked for.
    pub(crate) fn prepare(
        spank: &Spank<'_>,
        config: &Config,
        options: &Options,
    ) -> Result<Step, StepError> {
        let job = Job::read(spank)?;
        runtime_dir::create_for_user(&config.runtime_path, job.user.uid, job.user.gid)?;
        let shared = Shared::new()?;
        let store = config.shared_store.clone().filter(|store| broker::is_believed(store));
        let broker = store
            .as_deref()
            .and_then(|store| Broker::prepare(config, store, options.image.as_ref()));
        Ok(Step { job, shared, store, broker, planned: None, exited: 0 })
    }
}
