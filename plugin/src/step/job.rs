//! What slurmstepd knows of the job and its step.

use super::StepError;
use spank_bindings::{Spank, StepId};
use std::ffi::CStr;

/// Facts of the step on this node.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) step_id: StepId,
    /// Tasks of the step on this node.
    pub(crate) local_tasks: u32,
    /// `ENROOT_ALLOW_SUPERUSER` and uid 0: no user namespace, no filter.
    pub(crate) privileged: bool,
}

impl Job {
    pub(crate) fn read(spank: &Spank<'_>) -> Result<Job, StepError> {
        let uid = spank.job_uid()?;
        let allowed = spank.getenv(c"ENROOT_ALLOW_SUPERUSER")?;
        Ok(Job {
            uid,
            gid: spank.job_gid()?,
            step_id: spank.job_step_id()?,
            local_tasks: spank.job_local_task_count()?,
            privileged: uid == 0 && allowed.is_some_and(|value| is_yes(&value)),
        })
    }
}

/// enroot takes anything but a "no" for a yes.
fn is_yes(value: &CStr) -> bool {
    let value = value.to_bytes().to_ascii_lowercase();
    !matches!(value.as_slice(), b"" | b"n" | b"no" | b"f" | b"false")
}

/// Variables of the job that the runtime does not get: those of one task, the loader's, and where
/// enroot keeps its things, which is the site's to say.
const WITHHELD: [&[u8]; 19] = [
    b"PATH",
    b"LD_LIBRARY_PATH",
    b"LD_PRELOAD",
    b"SLURM_PROCID",
    b"SLURM_LOCALID",
    b"SLURM_TASK_PID",
    b"PMIX_RANK",
    b"PMI_FD",
    b"ENROOT_LIBRARY_PATH",
    b"ENROOT_SYSCONF_PATH",
    b"ENROOT_RUNTIME_PATH",
    b"ENROOT_CACHE_PATH",
    b"ENROOT_DATA_PATH",
    b"ENROOT_TEMP_PATH",
    b"ENROOT_ZSTD_OPTIONS",
    b"ENROOT_TRANSFER_RETRIES",
    b"ENROOT_CONNECT_TIMEOUT",
    b"ENROOT_MAX_CONNECTIONS",
    b"ENROOT_ALLOW_HTTP",
];

/// Whether the runtime gets this `NAME=VALUE` of the job.
pub(crate) fn for_runtime(variable: &CStr) -> bool {
    let bytes = variable.to_bytes();
    let name = bytes.iter().position(|byte| *byte == b'=').map(|equals| &bytes[..equals]);
    name.is_some_and(|name| !name.is_empty() && !WITHHELD.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_gets_the_jobs_variables_but_not_the_tasks() {
        for yes in [c"A=1", c"SLURM_JOB_ID=4", c"B=x=y", c"PATHS=/x"] {
            assert!(for_runtime(yes), "{yes:?}");
        }
        for no in [c"PATH=/x", c"SLURM_PROCID=3", c"broken", c"=z", c"ENROOT_DATA_PATH=/d"] {
            assert!(!for_runtime(no), "{no:?}");
        }
    }

    #[test]
    fn superuser_needs_a_yes() {
        for (value, yes) in
            [(c"y", true), (c"1", true), (c"No", false), (c"", false), (c"F", false)]
        {
            assert_eq!(is_yes(value), yes, "{value:?}");
        }
    }
}
