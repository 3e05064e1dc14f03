//! `container_scope=job`: at the end of a job its containers go.

use super::StepError;
use super::backend::{self, Context};
use super::image::Image;
use super::job::{Credentials, Job};
use super::plan::Plan;
use crate::config::{Config, Scope};
use crate::options::Unshare;
use nix::unistd::{Uid, User};
use spank_bindings::{Spank, StepId, log};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

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
    let backend = backend::choose(config);
    let environ = environ(job.user.uid);
    let context = Context { config, job: &job, plan: &plan, environ: &environ };
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

/// The epilog has hardly an environment; the user's containers are below the user's home.
fn environ(uid: u32) -> Vec<CString> {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
    let home = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.dir);
    let home = home.map(|home| [b"HOME=", home.as_os_str().as_bytes()].concat());
    [Some(format!("PATH={path}").into_bytes()), home]
        .into_iter()
        .flatten()
        .filter_map(|variable| CString::new(variable).ok())
        .collect()
}
