//! `container_scope=job`: at the end of a job its containers go.

use super::child::output::some_of_path;
use super::child::{Allowance, Caller, Patience};
use super::process;
use super::runtime::{Runtime, own_path};
use super::user::{Credentials, home_of};
use crate::config::{Config, Scope};
use crate::step::error::StepError;
use nix::sys::prctl::set_child_subreaper;
use nix::unistd::getppid;
use spank_bindings::{Spank, log};
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Removes every container named after the job, as its user.
pub(crate) fn remove_containers_of_job(
    spank: &Spank<'_>,
    config: &Config,
) -> Result<(), StepError> {
    if config.container_scope != Scope::Job {
        return Ok(());
    }
    // It is in none of the job's cgroups. What a user takes over of what runs here, and lets go of, is this process's to end.
    let _ = set_child_subreaper(true);
    let removed = remove_all(spank, config);
    end_children();
    removed
}

/// Kills users' processes among this process's children, and what these have left.
fn end_children() {
    let all = format!("/proc/self/task/{}/children", std::process::id());
    process::end_all(&|| some_of_path(&all).unwrap_or_default(), &|_| true);
}

fn remove_all(spank: &Spank<'_>, config: &Config) -> Result<(), StepError> {
    let user = Credentials { uid: spank.job_uid()?, gid: spank.job_gid()?, groups: Vec::new() };
    let job = spank.job_id()?;
    let path = path_of_slurmd();
    let environ = environ(user.uid, &path);
    // All of it together: the job is not over before.
    let allowance = Allowance::new();
    let patience = Patience::Within(&allowance);
    let caller = Caller { user: &user, environ: &environ, patience, cgroup: None };
    let runtime = Runtime::choose(config, &path, caller);
    let prefix = format!("pyxis_{job}_");
    let of_job = |names: Vec<String>| {
        let ours = |name: &String| name.starts_with(&prefix) && !name.contains(char::is_whitespace);
        names.into_iter().filter(ours).collect::<Vec<_>>()
    };
    for name in of_job(runtime.names(caller)?) {
        log::verbose!("pyxis: epilog: removing container {name}");
        // Another node of a shared file system may be faster.
        let _ = runtime.remove(caller, &name);
    }
    match of_job(runtime.names(caller)?).first() {
        None => Ok(()),
        Some(name) => Err(StepError::NotRemoved(name.clone())),
    }
}

/// The PATH that steps have. Slurm gives the epilog's process another one, in which the runtime
/// may not be found, or be another; its parent is slurmd.
fn path_of_slurmd() -> OsString {
    let environ = some_of_path(&format!("/proc/{}/environ", getppid())).unwrap_or_default();
    let path = environ.split(|byte| *byte == 0).find_map(|line| line.strip_prefix(b"PATH="));
    path.map_or_else(own_path, |path| OsStr::from_bytes(path).to_owned())
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
