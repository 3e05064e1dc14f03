//! The end of a step: what its last task leaves to be done.

use super::leftovers::{self, Mark};
use crate::config::Config;
use crate::step::backend::{Backend, Context};
use crate::step::{Planned, Step, StepError, conf, importer};
use spank_bindings::log;

impl Step {
    /// In slurmstepd, after each task's end.
    pub(crate) fn task_exited(&mut self, config: &Config) -> Result<(), StepError> {
        self.exited += 1;
        let Some(Planned { plan, backend, environ }) = &self.planned else { return Ok(()) };
        if self.exited < self.job.local_tasks {
            return Ok(());
        }
        // enroot leaves nothing that stands for its helpers. A container in use cannot be removed.
        let (ended, mounts) = self.shared.release();
        if !ended || plan.named.is_some() || self.shared.created() {
            leftovers::outstay(&Mark { job: &self.job, mounts }, &plan.name);
        }
        let context = Context { config, job: &self.job, plan, environ };
        let saved = match &plan.save {
            // Not of a step that was interrupted before it ran.
            Some(file) if self.shared.entered() == self.job.local_tasks => backend
                .export(context, &plan.name, file)
                .inspect(|()| {
                    log::spank_log!(
                        "pyxis: exported container {} to {}",
                        plan.name,
                        file.display()
                    );
                })
                .map_err(|_| StepError::NotSaved),
            _ => Ok(()),
        };
        self.clean_up(context, &**backend);
        saved
    }

    /// Removes what is not to stay. Whether the first task got that far is not known here when it
    /// was killed, hence what is not there is no error.
    fn clean_up(&self, context: Context<'_>, backend: &dyn Backend) {
        let Context { config, plan, .. } = context;
        if backend.name() == "enroot" {
            let _ = std::fs::remove_file(conf::path(plan));
        }
        if self.shared.fetched() {
            match &config.importer {
                Some(program) => importer::release(context, program),
                None => {
                    let _ = std::fs::remove_file(&plan.squashfs);
                }
            }
        }
        if self.shared.making() && plan.named.is_some() {
            // Killed in the middle of it: what has no name yet goes when the runtime looks around.
            let _ = backend.names(context);
        }
        if plan.named.is_none() && self.shared.created() {
            log::info!("pyxis: removing container filesystem: {}", plan.name);
            if backend.remove(context, &plan.name).is_err() {
                log::info!("pyxis: failed to remove container filesystem: {}", plan.name);
            }
        }
    }
}
