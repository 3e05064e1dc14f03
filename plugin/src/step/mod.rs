//! A containerized step on one node, from slurmstepd's first hook to the last task's end.

mod environ;
pub(crate) mod error;
pub(crate) mod image;
mod import_table;
mod importer;
mod join;
mod launch;
mod lock;
pub(crate) mod pin;
pub(crate) mod plan;
mod prolog;
pub(crate) mod runtime;
mod runtime_environ;
mod save;
mod saver;
mod shared;

use crate::config::Config;
use crate::options::Options;
use crate::root::broker::{self, Broker};
use crate::root::child::{Allowance, Caller, Patience};
use crate::root::job::Job;
use crate::root::oom::Offer;
use crate::root::runtime::{Runtime, own_path};
use crate::root::shared::Shared;
use crate::root::user::{Credentials, home_of};
use error::StepError;
use handover::Handover;
use nix::sys::prctl::set_dumpable;
use plan::Plan;
use runtime::context::Context;
use runtime_environ::runtime_environ;
use saver::Saver;
use spank_bindings::{Spank, StepId, log};
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The step's state; the tasks have copies of it.
pub(crate) struct Step {
    pub(crate) job: Job,
    /// The step's own, where slurmstepd has one before there are tasks.
    pub(crate) cgroup: Option<File>,
    pub(crate) shared: Shared,
    /// The store of all users, where nobody else can have put something in its place.
    pub(crate) store: Option<PathBuf>,
    pub(crate) broker: Option<Broker>,
    /// Slurm will run a prolog in each task.
    pub(crate) task_prolog: bool,
    /// How wide the terminal is that shows what tasks say, where srun has one.
    pub(crate) terminal: Option<CString>,
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
        let allowance = Allowance::new();
        let (user, patience) = (&self.job.user, Patience::Within(&allowance));
        let cgroup = self.cgroup.take();
        let caller = Caller { user, environ: &environ, patience, cgroup: cgroup.as_ref() };
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

    /// In a task, as the user: starts the container or waits for it, then moves inside, or does so when a prolog has run.
    pub(crate) fn enter(
        self,
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
                let allowance = Allowance::new();
                let (user, patience) = (&job.user, Patience::OfStep(&allowance));
                let caller = Caller { user, environ, patience, cgroup: None };
                let saver = Saver { job, shared: &self.shared, plan, runtime, caller };
                saver.stay_behind(container)?
            }
            None => container,
        };
        if self.task_prolog {
            self.shared.note_entered()?;
            return prolog::stay(spank, Box::new(move || self.join(&container)));
        }
        self.join(&container)?;
        self.shared.note_entered()
    }

    /// Moves inside.
    fn join(&self, container: &Handover) -> Result<(), StepError> {
        let workdir = self.planned.as_ref().and_then(|planned| planned.plan.workdir.as_deref());
        join::enter(container, workdir, !self.job.privileged)
    }

    /// The environment the runtime gets: the job's, slurmstepd's PATH, and the user's choices in
    /// enroot's variables.
    fn environ(
        &self,
        spank: &Spank<'_>,
        config: &Config,
        options: &Options,
    ) -> Result<Vec<CString>, StepError> {
        let Credentials { uid, gid, .. } = self.job.user;
        let (path, of_uid, of_gid) = (own_path(), uid.to_string(), gid.to_string());
        let home = match spank.getenv(c"HOME")? {
            Some(home) if !home.is_empty() => None,
            _ => home_of(uid),
        };
        let text = |text| Some(OsStr::new(text));
        let one_node = self.job.is_on_one_node();
        let terminal = self.terminal.as_ref().filter(|_| one_node);
        let said = |chosen: Option<bool>| text(if chosen? { "y" } else { "n" });
        let ours = [
            ("PATH", Some(&*path)),
            ("SLURM_JOB_UID", text(&of_uid)),
            ("SLURM_JOB_GID", text(&of_gid)),
            ("PYXIS_RUNTIME_PATH", Some(config.runtime_path.as_os_str())),
            ("PYXIS_VERSION", text(env!("CARGO_PKG_VERSION"))),
            // The numbers of GPUs mean another thing in each.
            ("PYXIS_SLURM_RELEASE", text(spank_bindings::RELEASE)),
            (
                broker::VARIABLE.to_str().unwrap_or_default(),
                self.store.as_deref().map(Path::as_os_str),
            ),
            // Nodes may have the user's home together.
            ("PYXIS_PER_NODE", said((!one_node).then_some(true))),
            ("PYXIS_TERMINAL", terminal.map(|width| OsStr::from_bytes(width.to_bytes()))),
            ("ENROOT_MOUNT_HOME", said(options.mount_home)),
            ("ENROOT_REMAP_ROOT", said(options.remap_root)),
            ("ENROOT_ROOTFS_WRITABLE", said(options.writable)),
            ("ENROOT_UNSHARE_NET", said(options.unshare.net.then_some(true))),
            ("ENROOT_UNSHARE_IPC", said(options.unshare.ipc.then_some(true))),
            ("ENROOT_UNSHARE_UTS", said(options.unshare.uts.then_some(true))),
            ("HOME", home.as_deref()),
        ];
        runtime_environ(spank.job_env()?, &ours)
    }
}
