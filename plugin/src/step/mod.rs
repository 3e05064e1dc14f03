//! A containerized step on one node, from slurmstepd's first hook to the last task's end.

pub(crate) mod backend;
mod broker;
mod child;
mod conf;
mod environ;
mod epilog;
mod error;
mod image;
mod importer;
mod job;
mod join;
mod launch;
mod leftovers;
mod lock;
pub(crate) mod pin;
mod plan;
mod running;
pub(crate) mod runtime_dir;
mod shared;
mod text;

pub(crate) use epilog::remove_containers_of_job;
pub(crate) use error::StepError;

use crate::config::Config;
use crate::options::Options;
use backend::{Backend, Context};
use job::{Job, runtime_environ};
use leftovers::Mark;
use plan::Plan;
use shared::Shared;
use spank_bindings::{Spank, StepId, log};
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

/// The step's state; the tasks have copies of it.
pub(crate) struct Step {
    job: Job,
    shared: Shared,
    planned: Option<Planned>,
    exited: u32,
}

struct Planned {
    plan: Plan,
    backend: Box<dyn Backend>,
    /// The runtime's environment, for what is done after the tasks.
    environ: Vec<CString>,
}

impl Step {
    /// As root, when a container is asked for.
    pub(crate) fn prepare(
        spank: &Spank<'_>,
        config: &Config,
        options: &Options,
    ) -> Result<Step, StepError> {
        let job = Job::read(spank)?;
        runtime_dir::create_for_user(&config.runtime_path, job.user.uid, job.user.gid)?;
        let mut shared = Shared::new()?;
        let backend = backend::choose(config, &backend::own_path());
        if backend.name() == "pyxis" {
            shared.broker = broker::start(config, options.image.as_ref(), backend.program());
        }
        Ok(Step { job, shared, planned: None, exited: 0 })
    }

    /// As the user, before the tasks are forked.
    pub(crate) fn plan(
        &mut self,
        spank: &Spank<'_>,
        config: &Config,
        options: &Options,
    ) -> Result<(), StepError> {
        let script = match self.job.step_id {
            StepId::BATCH => spank.job_argv()?.into_iter().next(),
            _ => None,
        };
        let script = script.map(|script| OsString::from_vec(script.into_bytes()));
        let plan = Plan::new(config, options, &self.job, script)?;
        let backend = backend::choose(config, &backend::own_path());
        log::verbose!("pyxis: container runtime: {}", backend.name());
        let environ = environ(spank, config, options, &self.job)?;
        self.planned = Some(Planned { plan, backend, environ });
        Ok(())
    }

    /// In a task, as the user: starts the container or waits for it, then moves inside.
    pub(crate) fn enter(
        &self,
        spank: &Spank<'_>,
        config: &Config,
        options: &Options,
    ) -> Result<(), StepError> {
        let Planned { plan, backend, .. } = self.planned.as_ref().ok_or(StepError::NoContainer)?;
        let container = self.shared.start_once(|socket| {
            // Read again: by now it has what an MPI plugin sets.
            let environ = environ(spank, config, options, &self.job)?;
            let context = Context { config, job: &self.job, plan, environ: &environ };
            launch::launch(context, &**backend, &self.shared, socket)
        })?;
        join::check_unshared(&container, plan.unshare)?;
        environ::import(spank, &container, &plan.env)?;
        join::enter(container, plan.workdir.as_deref())?;
        if !self.job.privileged {
            handover::seccomp::install().map_err(StepError::Seccomp)?;
        }
        self.shared.note_entered()
    }

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

/// The environment the runtime gets: the job's, slurmstepd's PATH, and the user's choices in
/// enroot's variables.
fn environ(
    spank: &Spank<'_>,
    config: &Config,
    options: &Options,
    job: &Job,
) -> Result<Vec<CString>, StepError> {
    let mut ours: Vec<(&str, OsString)> = vec![
        ("PATH", backend::own_path()),
        ("SLURM_JOB_UID", job.user.uid.to_string().into()),
        ("SLURM_JOB_GID", job.user.gid.to_string().into()),
        ("PYXIS_RUNTIME_PATH", config.runtime_path.clone().into()),
        ("PYXIS_VERSION", env!("CARGO_PKG_VERSION").into()),
    ];
    if let Some(store) = &config.shared_store {
        ours.push((broker::VARIABLE, store.clone().into()));
    }
    for (name, chosen) in [
        ("ENROOT_MOUNT_HOME", options.mount_home),
        ("ENROOT_REMAP_ROOT", options.remap_root),
        ("ENROOT_ROOTFS_WRITABLE", options.writable),
        ("ENROOT_UNSHARE_NET", options.unshare.net.then_some(true)),
        ("ENROOT_UNSHARE_IPC", options.unshare.ipc.then_some(true)),
        ("ENROOT_UNSHARE_UTS", options.unshare.uts.then_some(true)),
    ] {
        ours.extend(chosen.map(|yes| (name, if yes { "y" } else { "n" }.into())));
    }
    runtime_environ(spank.job_env()?, ours)
}
