//! A containerized step on one node, from slurmstepd's first hook to the last task's end.

mod environ;
pub(crate) mod error;
pub(crate) mod image;
mod importer;
mod join;
mod launch;
mod lock;
pub(crate) mod pin;
pub(crate) mod plan;
pub(crate) mod runtime;
mod runtime_environ;
mod save;
mod saver;
mod shared;

use crate::config::Config;
use crate::options::Options;
use crate::root::broker::{self, Broker};
use crate::root::child::{Caller, LIMIT, Patience};
use crate::root::job::Job;
use crate::root::oom::Offer;
use crate::root::runtime::{Runtime, own_path};
use crate::root::shared::Shared;
use crate::root::user::home_of;
use error::StepError;
use handover::Handover;
use nix::sys::prctl::set_dumpable;
use plan::Plan;
use runtime::context::Context;
use runtime_environ::runtime_environ;
use saver::Saver;
use spank_bindings::{Spank, StepId, log};
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Instant;

/// The step's state; the tasks have copies of it.
pub(crate) struct Step {
    pub(crate) job: Job,
    pub(crate) shared: Shared,
    /// The store of all users, where nobody else can have put something in its place.
    pub(crate) store: Option<PathBuf>,
    pub(crate) broker: Option<Broker>,
    pub(crate) planned: Option<Planned>,
    /// In a task.
    pub(crate) offer: Option<Offer>,
    pub(crate) exited: u32,
}

pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) runtime: Runtime,
    /// What the runtime may have been given in a file.
    pub(crate) configuration_file: Option<PathBuf>,
    /// The runtime's environment, for what is done after the tasks.
    pub(crate) environ: Vec<CString>,
}

impl Step {
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
        let environ = self.environ(spank, config, options)?;
        // What it runs, the user can stop.
        let (user, patience) = (&self.job.user, Patience::Until(Instant::now() + LIMIT));
        let caller = Caller { user, environ: &environ, patience, cgroup: None };
        let runtime = Runtime::choose(config, &own_path(), caller);
        log::verbose!("pyxis: container runtime: {}", runtime.command().name);
        if let Some(broker) = self.broker.take().filter(|_| runtime.has_store()) {
            broker.start(&runtime.command().program, &mut self.shared);
        }
        self.planned = Some(Planned {
            configuration_file: runtime.configuration_file(&plan),
            plan,
            runtime,
            environ,
        });
        Ok(())
    }

    /// In a task, as the user: starts the container or waits for it, then moves inside.
    pub(crate) fn enter(
        &self,
        spank: &Spank<'_>,
        config: &Config,
        options: &Options,
    ) -> Result<(), StepError> {
        let Planned { plan, runtime, environ, .. } =
            self.planned.as_ref().ok_or(StepError::NoContainer)?;
        let job = &self.job;
        // Nobody is to see what a task has until it is in the container, root's other processes
        // included. Who was root before is so already.
        let _ = set_dumpable(false);
        let check = |container: &Handover| container.check(job.user.uid, job.privileged);
        let container = self.shared.start_once(check, |channels| {
            // Read again: by now it has what an MPI plugin sets.
            let environ = self.environ(spank, config, options)?;
            let patience = Patience::OfUser;
            let caller = Caller { user: &job.user, environ: &environ, patience, cgroup: None };
            let (talkative, one_node) = (job.is_talkative(), job.is_on_one_node());
            let context = Context { config, plan, caller, talkative, one_node };
            launch::launch(context, runtime, &self.shared, channels)
        })?;
        // Not before: what the container is started by has it, too.
        if let Some(offer) = &self.offer {
            offer.raise();
        }
        join::check_unshared(&container, plan.unshare)?;
        environ::import(spank, &container, config.drop_env.as_os_str(), &plan.env)?;
        let container = match plan.save {
            Some(_) => {
                let (user, patience) = (&job.user, Patience::OfStep);
                let caller = Caller { user, environ, patience, cgroup: None };
                let saver = Saver { job, shared: &self.shared, plan, runtime, caller };
                saver.stay_behind(container)?
            }
            None => container,
        };
        join::enter(container, plan.workdir.as_deref())?;
        if !self.job.privileged {
            handover::seccomp::install().map_err(StepError::Seccomp)?;
        }
        self.shared.note_entered()
    }

    /// The environment the runtime gets: the job's, slurmstepd's PATH, and the user's choices in
    /// enroot's variables.
    fn environ(
        &self,
        spank: &Spank<'_>,
        config: &Config,
        options: &Options,
    ) -> Result<Vec<CString>, StepError> {
        let job = &self.job;
        let mut ours: Vec<(&str, OsString)> = vec![
            ("PATH", own_path()),
            ("SLURM_JOB_UID", job.user.uid.to_string().into()),
            ("SLURM_JOB_GID", job.user.gid.to_string().into()),
            ("PYXIS_RUNTIME_PATH", config.runtime_path.clone().into()),
            ("PYXIS_VERSION", env!("CARGO_PKG_VERSION").into()),
            // The numbers of GPUs mean another thing in each.
            ("PYXIS_SLURM_RELEASE", spank_bindings::RELEASE.into()),
        ];
        if let Some(store) = &self.store {
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
        if spank.getenv(c"HOME")?.is_none_or(|home| home.is_empty()) {
            ours.extend(home_of(job.user.uid).map(|home| ("HOME", home)));
        }
        runtime_environ(spank.job_env()?, ours)
    }
}
