//! A containerized step on one node, from slurmstepd's first hook to the last task's end.

mod builtin;
mod child;
mod environ;
mod error;
mod job;
mod join;
pub(crate) mod runtime_dir;
mod seccomp;
mod shared;

pub(crate) use error::StepError;

use crate::config::Config;
use crate::options::{Mount, Options};
use job::Job;
use shared::Shared;
use spank_bindings::{Spank, StepId};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// The step's state; the tasks have copies of it.
pub(crate) struct Step {
    job: Job,
    shared: Shared,
    exited: u32,
}

impl Step {
    /// As root, when a container is asked for.
    pub(crate) fn prepare(spank: &Spank<'_>, config: &Config) -> Result<Step, StepError> {
        let job = Job::read(spank)?;
        runtime_dir::create_for_user(&config.runtime_path, job.uid, job.gid)?;
        Ok(Step { job, shared: Shared::new()?, exited: 0 })
    }

    /// As the user, before the tasks are forked.
    pub(crate) fn plan(&self, spank: &Spank<'_>, options: &mut Options) -> Result<(), StepError> {
        if self.job.step_id == StepId::BATCH {
            let script = spank.job_argv()?.into_iter().next().ok_or(StepError::NoBatchScript)?;
            options.add_mount(Mount::readonly_file(OsString::from_vec(script.into_bytes())));
        }
        builtin::check(options)
    }

    /// In a task, as the user: starts the container or waits for it, then moves inside.
    pub(crate) fn enter(
        &self,
        spank: &Spank<'_>,
        config: &Config,
        options: &Options,
    ) -> Result<(), StepError> {
        let container = self
            .shared
            .start_once(|socket| builtin::start(spank, config, options, &self.job, socket))?;
        environ::import(spank, &container, &options.env)?;
        join::enter(container, options.workdir.as_deref())?;
        if !self.job.privileged {
            seccomp::install().map_err(StepError::Seccomp)?;
        }
        Ok(())
    }

    /// In slurmstepd, after each task's end.
    pub(crate) fn task_exited(&mut self) {
        self.exited += 1;
        if self.exited == self.job.local_tasks {
            self.shared.release();
        }
    }
}
