//! The end of a step: what its last task leaves to be done.

use super::cgroup;
use super::child::{LIMIT, Patience};
use super::leftovers::{self, Mark};
use crate::config::Config;
use crate::step::backend::{Backend, Context};
use crate::step::{Planned, Step, StepError, conf, importer};
use spank_bindings::log;
use std::path::Path;
use std::time::Instant;

impl Step {
    /// In slurmstepd, after each task's end.
    pub(crate) fn task_exited(&mut self, config: &Config) -> Result<(), StepError> {
        self.exited += 1;
        let Some(Planned { plan, backend, environ }) = &self.planned else { return Ok(()) };
        if self.exited < self.job.local_tasks {
            return Ok(());
        }
        // Its process ends before Slurm looks at what is left in the step's cgroups.
        self.shared.broker = None;
        // enroot leaves nothing that stands for its helpers. A container in use cannot be removed.
        let (ended, mounts) = self.shared.release();
        let (job, shared) = (&self.job, &self.shared);
        if !ended || plan.named.is_some() || shared.created() {
            leftovers::outstay(&Mark { job, mounts }, &plan.name);
        }
        // Not of a step that was interrupted before it ran.
        let save = plan.save.as_ref().filter(|_| shared.entered() == job.local_tasks);
        let work = save.is_some() || shared.fetched() || shared.making() || shared.created();
        let cgroup = work.then(|| cgroup::freezer(job)).flatten();
        let (patience, cgroup) = (Patience::OfStep, cgroup.as_ref());
        let context = Context { config, job, plan, environ, patience, cgroup };
        let saved = match save {
            Some(file) => backend
                .export(context, &plan.name, file)
                .inspect(|()| {
                    log::spank_log!(
                        "pyxis: exported container {} to {}",
                        plan.name,
                        file.display()
                    );
                })
                .map_err(|_| StepError::NotSaved),
            None => Ok(()),
        };
        // All of it together.
        let patience = Patience::Until(Instant::now() + LIMIT);
        self.clean_up(Context { patience, ..context }, &**backend);
        saved
    }

    /// Removes what is not to stay. Whether the first task got that far is not known here when it
    /// was killed, hence what is not there is no error.
    fn clean_up(&self, context: Context<'_>, backend: &dyn Backend) {
        let Context { config, plan, .. } = context;
        if backend.name() == "enroot" {
            remove_file(context, &conf::path(plan));
        }
        if self.shared.fetched() {
            match &config.importer {
                Some(program) => importer::release(context, program),
                None => {
                    remove_file(context, &plan.squashfs);
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

/// Removes a file in the user's directory, as the user: by now a file system of the user's may be
/// mounted there.
fn remove_file(context: Context<'_>, file: &Path) {
    let arguments = vec!["-f".into(), "--".into(), file.into()];
    let _ = context.command(Path::new("rm"), arguments, [None; 2]).run();
}
