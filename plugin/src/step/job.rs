//! What slurmstepd knows of the job and its step.

use super::error::StepError;
use super::pin;
use crate::root::user::Credentials;
use hygiene::unsecure::{is_among, is_unsecure};
use spank_bindings::{Spank, StepId};
use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;

/// Facts of the step on this node.
pub(crate) struct Job {
    pub(crate) user: Credentials,
    pub(crate) job_id: u32,
    pub(crate) step_id: StepId,
    /// Tasks of the step on this node.
    pub(crate) local_tasks: u32,
    /// Tasks of the step on all nodes; 0 for a batch step.
    pub(crate) total_tasks: u32,
    /// The job's working directory, as its PWD says.
    pub(crate) cwd: Option<OsString>,
    /// What srun has found the image's tag to name.
    pub(crate) pinned: Option<CString>,
    /// `ENROOT_ALLOW_SUPERUSER` and uid 0: no user namespace, no filter.
    pub(crate) privileged: bool,
}

impl Job {
    pub(crate) fn read(spank: &Spank<'_>) -> Result<Job, StepError> {
        let user = Credentials {
            uid: spank.job_uid()?,
            gid: spank.job_gid()?,
            groups: spank.job_supplementary_gids()?,
        };
        let pinned = spank.getenv(pin::VARIABLE)?;
        if pinned.is_some() {
            spank.unsetenv(pin::VARIABLE)?;
        }
        let allowed = spank.getenv(c"ENROOT_ALLOW_SUPERUSER")?;
        Ok(Job {
            job_id: spank.job_id()?,
            step_id: spank.job_step_id()?,
            local_tasks: spank.job_local_task_count()?,
            total_tasks: spank.job_total_task_count()?,
            cwd: spank.getenv(c"PWD")?.map(|cwd| OsString::from_vec(cwd.into_bytes())),
            pinned,
            privileged: user.uid == 0 && allowed.is_some_and(|value| is_yes(&value)),
            user,
        })
    }

    /// Whether somebody may be watching: a single task, or the batch step.
    pub(crate) fn is_talkative(&self) -> bool {
        self.total_tasks <= 1
    }

    /// `JOBID.STEPID`, as in the names of unnamed containers.
    pub(crate) fn step_name(&self) -> String {
        format!("{}.{}", self.job_id, self.step_id)
    }
}

/// enroot takes anything but a "no" for a yes.
fn is_yes(value: &CStr) -> bool {
    let value = value.to_bytes().to_ascii_lowercase();
    !matches!(value.as_slice(), b"" | b"n" | b"no" | b"f" | b"false")
}

/// Variables of the job that the runtime does not get, beside those that steer what is executed
/// ([`is_unsecure`]): those of one task, and where enroot keeps its things, which is the site's to say.
const WITHHELD: &[u8] =
    b"PATH SLURM_PROCID SLURM_LOCALID SLURM_TASK_PID PMIX_RANK PMI_FD PMI_RANK \
    ENROOT_LIBRARY_PATH ENROOT_SYSCONF_PATH ENROOT_RUNTIME_PATH ENROOT_CACHE_PATH ENROOT_DATA_PATH \
    ENROOT_TEMP_PATH ENROOT_ZSTD_OPTIONS ENROOT_TRANSFER_RETRIES ENROOT_CONNECT_TIMEOUT \
    ENROOT_MAX_CONNECTIONS ENROOT_ALLOW_HTTP";

fn is_withheld(name: &[u8]) -> bool {
    is_among(WITHHELD, name) || is_unsecure(name)
}

/// The job's variables for the runtime, with `ours` over them.
pub(crate) fn runtime_environ(
    mut job: Vec<CString>,
    ours: Vec<(&str, OsString)>,
) -> Result<Vec<CString>, StepError> {
    let name_of = |variable: &CString| {
        let bytes = variable.as_bytes();
        bytes.iter().position(|byte| *byte == b'=').map(|equals| bytes[..equals].to_vec())
    };
    job.retain(|variable| {
        name_of(variable).is_some_and(|name| {
            !name.is_empty()
                && !is_withheld(&name)
                && !ours.iter().any(|(our, _)| our.as_bytes() == name)
        })
    });
    for (name, value) in ours {
        let variable = [name.as_bytes(), b"=", &value.into_vec()].concat();
        job.push(
            CString::new(variable)
                .map_err(|_| StepError::Process(io::ErrorKind::InvalidInput.into()))?,
        );
    }
    Ok(job)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_gets_the_jobs_variables_but_not_the_tasks() {
        let job = [
            "A=1",
            "PATH=/x",
            "SLURM_PROCID=3",
            "SLURM_JOB_ID=4",
            "B=x=y",
            "broken",
            "=z",
            "PMI_RANK=1",
            "C=0",
        ];
        let job = job.iter().map(|text| CString::new(*text).unwrap()).collect();
        let ours = vec![("PATH", "/bin".into()), ("C", "1".into())];
        let expected = [c"A=1", c"SLURM_JOB_ID=4", c"B=x=y", c"PATH=/bin", c"C=1"];
        assert_eq!(runtime_environ(job, ours).unwrap(), expected.map(CStr::to_owned));
    }

    #[test]
    fn nothing_steers_what_is_executed() {
        for name in
            ["LD_AUDIT", "GCONV_PATH", "GLIBC_TUNABLES", "BASH_ENV", "ENROOT_ALLOW_HTTP", "PATH"]
        {
            assert!(is_withheld(name.as_bytes()), "{name}");
        }
        for name in ["TMPDIR", "HOME", "SLURM_JOB_ID", "ENROOT_MOUNT_HOME"] {
            assert!(!is_withheld(name.as_bytes()), "{name}");
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
