//! `container_scope=job`: at the end of a job its containers go.

use super::child::output::some_of_path;
use super::child::{Allowance, Caller, Patience};
use super::process;
use super::runtime::{Runtime, own_path};
use super::user::{Credentials, home_of};
use crate::config::{Config, Scope};
use crate::options::components::number;
use crate::step::error::StepError;
use nix::sys::prctl::set_child_subreaper;
use nix::unistd::getppid;
use spank_bindings::{Spank, log};
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// How long what is left has to end.
const GRACE: Duration = Duration::from_secs(1);
const SLICE: Duration = Duration::from_millis(20);

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
    let _ = spank.job_uid().map(end_children_of);
    removed
}

/// Kills the user's among this process's children, and what these have left.
fn end_children_of(user: u32) {
    let begun = Instant::now();
    let mut found = true;
    while found && begun.elapsed() < GRACE {
        found = false;
        let all = format!("/proc/self/task/{}/children", std::process::id());
        let all = some_of_path(&all).unwrap_or_default();
        for pid in all.split(|byte| *byte == b' ').filter_map(number) {
            let Some(child) = process::descriptor(pid as i32) else { continue };
            // Those that have ended stay in the list.
            if process::is_of(pid as i32, user) && !process::ends_within(&child, Duration::ZERO) {
                process::kill(&child);
                found = true;
                process::ends_within(&child, SLICE);
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As what a user has taken over and made a process of its own.
    #[test]
    fn what_is_left_of_children_ends() {
        set_child_subreaper(true).unwrap();
        let script = "setsid sleep 60 > /dev/null 2>&1 & echo $!";
        let output = std::process::Command::new("sh").args(["-c", script]).output().unwrap();
        let pid = String::from_utf8(output.stdout).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        assert!(std::path::Path::new(&stat).exists());
        end_children_of(nix::unistd::geteuid().as_raw());
        let state = std::fs::read_to_string(stat);
        assert!(state.is_err() || state.unwrap().contains(") Z "));
    }
}
