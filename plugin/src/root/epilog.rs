//! `container_scope=job`: at the end of a job its containers go.

use super::child::output::some_of_path;
use super::child::{LIMIT, Patience};
use crate::config::{Config, Scope};
use crate::options::Unshare;
use crate::step::StepError;
use crate::step::backend::{self, Context};
use crate::step::image::Image;
use crate::step::job::{Credentials, Job, home_of};
use crate::step::plan::Plan;
use nix::unistd::getppid;
use spank_bindings::{Spank, StepId, log};
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

/// Removes every container named after the job, as its user.
pub(crate) fn remove_containers_of_job(
    spank: &Spank<'_>,
    config: &Config,
) -> Result<(), StepError> {
    if config.container_scope != Scope::Job {
        return Ok(());
    }
    let job = Job {
        user: Credentials { uid: spank.job_uid()?, gid: spank.job_gid()?, groups: Vec::new() },
        job_id: spank.job_id()?,
        step_id: StepId::BATCH,
        local_tasks: 0,
        total_tasks: 0,
        cwd: None,
        pinned: None,
        privileged: false,
    };
    let plan = Plan {
        name: String::new(),
        named: None,
        image: None::<Image>,
        digest: None,
        save: None,
        mounts: Vec::new(),
        env: Vec::new(),
        entrypoint: false,
        entrypoint_log: false,
        unshare: Unshare::default(),
        workdir: None,
        directory: config.runtime_path.clone(),
        squashfs: config.runtime_path.clone(),
    };
    let path = path_of_slurmd();
    let backend = backend::choose(config, &path);
    let environ = environ(job.user.uid, &path);
    // All of it together: the job is not over before.
    let (patience, cgroup) = (Patience::Until(Instant::now() + LIMIT), None);
    let context = Context { config, job: &job, plan: &plan, environ: &environ, patience, cgroup };
    let prefix = format!("pyxis_{}_", job.job_id);
    let of_job = |names: Vec<String>| {
        let ours = |name: &String| name.starts_with(&prefix) && !name.contains(char::is_whitespace);
        names.into_iter().filter(ours).collect::<Vec<_>>()
    };
    for name in of_job(backend.names(context)?) {
        log::verbose!("pyxis: epilog: removing container {name}");
        // Another node of a shared file system may be faster.
        let _ = backend.remove(context, &name);
    }
    match of_job(backend.names(context)?).first() {
        None => Ok(()),
        Some(name) => Err(StepError::NotRemoved(name.clone())),
    }
}

/// The PATH that steps have. Slurm gives the epilog's process another one, in which the runtime
/// may not be found, or be another; its parent is slurmd.
fn path_of_slurmd() -> OsString {
    let environ = some_of_path(&format!("/proc/{}/environ", getppid())).unwrap_or_default();
    let path = environ.split(|byte| *byte == 0).find_map(|line| line.strip_prefix(b"PATH="));
    path.map_or_else(backend::own_path, |path| OsStr::from_bytes(path).to_owned())
}

/// The epilog has hardly an environment; the user's containers are below the user's home.
fn environ(uid: u32, path: &OsStr) -> Vec<CString> {
    let home = home_of(uid).map(|home| [b"HOME=", home.as_bytes()].concat());
    [Some([b"PATH=", path.as_bytes()].concat()), home]
        .into_iter()
        .flatten()
        .filter_map(|variable| CString::new(variable).ok())
        .collect()
}
