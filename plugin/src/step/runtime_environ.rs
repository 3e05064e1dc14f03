//! The variables of the job that the runtime's command gets.

use super::error::StepError;
use hygiene::unsecure::{is_among, is_unsecure};
use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;

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

/// The job's variables for the runtime, with those of `ours` over them that have a value.
pub(crate) fn runtime_environ(
    mut job: Vec<CString>,
    ours: &[(&str, Option<&OsStr>)],
) -> Result<Vec<CString>, StepError> {
    job.retain(|variable| {
        let bytes = variable.as_bytes();
        let Some(equals) = bytes.iter().position(|byte| *byte == b'=') else { return false };
        let name = &bytes[..equals];
        let is_ours =
            |(our, value): &(&str, Option<&OsStr>)| value.is_some() && our.as_bytes() == name;
        equals != 0 && !is_withheld(name) && !ours.iter().any(is_ours)
    });
    for (name, value) in ours {
        if let Some(value) = value {
            let variable = CString::new([name.as_bytes(), b"=", value.as_bytes()].concat());
            job.push(variable.map_err(|_| StepError::Process(io::ErrorKind::InvalidInput.into()))?);
        }
    }
    Ok(job)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

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
        let ours = [("PATH", Some("/bin".as_ref())), ("C", Some("1".as_ref())), ("A", None)];
        let expected = [c"A=1", c"SLURM_JOB_ID=4", c"B=x=y", c"PATH=/bin", c"C=1"];
        assert_eq!(runtime_environ(job, &ours).unwrap(), expected.map(CStr::to_owned));
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
}
