//! The end of a step: what its last task leaves to be done.

use super::cgroup;
use super::child::{Allowance, Caller, Patience};
use super::importer;
use super::leftovers::{self, StepIdentity};
use super::runtime::not_exported;
use super::shared::{SAVED, Shared};
use crate::config::Config;
use crate::step::error::StepError;
use crate::step::{Planned, Step};
use nix::unistd::getpid;
use spank_bindings::log;

/// In slurmstepd, after each task's end.
pub(crate) fn task_exited(step: &mut Step, config: &Config) -> Result<(), StepError> {
    step.exited += 1;
    let Step { job, shared, planned: Some(planned), exited, .. } = step else { return Ok(()) };
    if *exited < job.local_tasks {
        return Ok(());
    }
    let Planned { plan, runtime, environ, .. } = &*planned;
    // One for all that follows.
    let allowance = Allowance::new();
    // Their processes end before Slurm looks at what is left in the step's cgroups.
    shared.hang_up();
    // They would pass for helpers.
    cgroup::end_strays(job);
    // enroot leaves nothing that stands for its helpers. A container in use cannot be removed.
    let released = shared.release(&allowance);
    if !released.ended || plan.named.is_some() || shared.created() {
        let named = plan.named.is_some();
        let identity = StepIdentity::of(job, getpid(), runtime, &released, named);
        leftovers::end(&identity, &plan.name, &allowance);
    }
    // Not of a step that was interrupted before it ran.
    let save = plan.save.as_ref().filter(|_| shared.entered() == job.local_tasks);
    let work = save.is_some() || shared.fetched() || shared.making() || shared.created();
    let cgroup = work.then(|| cgroup::of_step(job)).flatten();
    let patience = Patience::OfStep(&allowance);
    let saving = Caller { user: &job.user, environ, patience, cgroup: cgroup.as_ref() };
    let caller = Caller { patience: Patience::Within(&allowance), ..saving };
    let saved = match (save, shared.saving()) {
        (None, _) | (_, SAVED) => Ok(()),
        // No task got that far.
        (Some(file), 0) => runtime.export(saving, &plan.name, file, &|_| {}),
        // It was killed with the task that waited for it.
        (Some(file), pid) => {
            log::error!("pyxis: {}", not_exported(&plan.name, file));
            runtime.remove_partial(caller, file, pid);
            Err(StepError::NotSaved)
        }
    };
    clean_up(planned, shared, config, caller);
    saved.map_err(|_| StepError::NotSaved)
}

/// Removes what is not to stay. Whether the first task got that far is not known here when it
/// was killed, hence what is not there is no error.
fn clean_up(planned: &Planned, shared: &Shared, config: &Config, caller: Caller<'_>) {
    let Planned { plan, runtime, configuration_file, .. } = planned;
    if let Some(file) = configuration_file {
        runtime.discard(caller, file);
    }
    if shared.fetched() {
        match &config.importer {
            Some(program) => importer::release(caller, program),
            None => runtime.discard(caller, &plan.squashfs),
        }
    }
    if shared.making() && plan.named.is_some() {
        // Killed in the middle of it: what has no name yet goes when the runtime looks around.
        let _ = runtime.names(caller);
    }
    if plan.named.is_none() && shared.created() {
        log::info!("pyxis: removing container filesystem: {}", plan.name);
        if runtime.remove(caller, &plan.name).is_err() {
            log::info!("pyxis: failed to remove container filesystem: {}", plan.name);
        }
    }
}
