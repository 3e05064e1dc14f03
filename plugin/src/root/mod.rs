//! All that runs as root in slurmd, slurmstepd and the epilog. Tasks, which are the user's, run commands and read what
//! others say by the same code; what they alone do is in `step/`.
//!
//! Whatever comes from a user is bounded, typed and timed here: no read without a limit, no wait
//! without a deadline (SAFETY.md, section 5).

pub(crate) mod broker;
mod cgroup;
pub(crate) mod child;
mod end;
mod epilog;
pub(crate) mod importer;
pub(crate) mod job;
pub(crate) mod leftovers;
pub(crate) mod oom;
mod process;
pub(crate) mod runtime;
mod runtime_dir;
pub(crate) mod shared;
pub(crate) mod text;
mod trusted_path;
pub(crate) mod user;

pub(crate) use end::task_exited;
pub(crate) use epilog::remove_containers_of_job;

use crate::config::Config;
use crate::options::Options;
use crate::step::Step;
use crate::step::error::StepError;
use broker::Broker;
use job::Job;
use oom::Offer;
use shared::Shared;
use spank_bindings::{Spank, log};
use std::fmt::Arguments;

/// Settles where the users' directories are, and says so if it is not where the administrator has them.
pub(crate) fn settle(config: &mut Config, say: fn(Arguments<'_>)) -> Result<(), StepError> {
    let (place, why) = runtime_dir::settle(&config.runtime_path)?;
    if let Some(why) = why {
        say(format_args!("pyxis: {}; {} is used instead", StepError::from(why), place.display()));
    }
    config.runtime_path = place;
    Ok(())
}

/// In slurmstepd, when a container is asked for.
pub(crate) fn prepare(
    spank: &Spank<'_>,
    config: &mut Config,
    options: &Options,
) -> Result<Step, StepError> {
    let job = Job::read(spank)?;
    // slurmd has said it once and for all.
    settle(config, log::verbose)?;
    runtime_dir::create_for_user(&config.runtime_path, job.user.uid, job.user.gid)?;
    let shared = Shared::new()?;
    let store = config.shared_store.clone().filter(|store| broker::is_believed(store));
    let broker =
        store.as_deref().and_then(|store| Broker::prepare(config, store, options.image.as_ref()));
    let task_prolog = job::has_task_prolog(spank)?;
    let terminal = job::told(spank, job::TERMINAL)?;
    let (planned, offer) = (None, None);
    let cgroup = cgroup::of_step(&job);
    Ok(Step {
        job,
        cgroup,
        shared,
        store,
        broker,
        task_prolog,
        terminal,
        planned,
        offer,
        exited: 0,
    })
}

/// In a task of a step with a container, before it becomes the user's.
pub(crate) fn prepare_task(spank: &Spank<'_>, step: &mut Step) {
    step.offer = Offer::prepare(spank);
}
