//! The task's environment: the container's variables over the job's.

use super::error::StepError;
use handover::{Handover, Part};
use spank_bindings::Spank;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

/// For each task of a PyTorch image, where its launcher would have set them.
const PYTORCH: [(&CStr, &CStr); 2] =
    [(c"SLURM_PROCID", c"RANK"), (c"SLURM_LOCALID", c"LOCAL_RANK")];

/// Where Slurm keeps the options that an allocation was made with.
const OF_ALLOCATION: &[u8] = b"SLURM_SPANK__SLURM_SPANK_OPTION_pyxis_";
/// The user's defaults of the options.
const DEFAULTS: &[u8] = b"PYXIS_CONTAINER_";

/// Sets the container's variables, without the job's that are to be `dropped`; those named in `kept` keep the job's value.
pub(super) fn import(
    spank: &Spank<'_>,
    container: &Handover,
    dropped: &OsStr,
    kept: &[OsString],
) -> Result<(), StepError> {
    let keeps = |name: &[u8]| kept.iter().any(|kept| kept.as_bytes() == name);
    for name in dropped.as_bytes().split(|byte| *byte == b',') {
        if !keeps(name) {
            unset(spank, name)?;
        }
    }
    let mut block = read(container).map_err(StepError::Environ)?;
    block.push(0);
    for variable in block.split_inclusive_mut(|byte| *byte == 0) {
        let Some(equals) = variable.iter().position(|byte| *byte == b'=') else { continue };
        let overwrite = !keeps(&variable[..equals]);
        variable[equals] = 0;
        let (name, value) = variable.split_at(equals + 1);
        // Each ends with its only NUL.
        if let (Ok(name), Ok(value)) =
            (CStr::from_bytes_with_nul(name), CStr::from_bytes_with_nul(value))
        {
            spank.setenv(name, value, overwrite)?;
        }
    }
    // By these a srun in the container would have its own step in a container like this one, unasked.
    for variable in spank.job_env()? {
        let variable = variable.to_bytes();
        let name = variable.split(|byte| *byte == b'=').next().unwrap_or_default();
        if name.starts_with(OF_ALLOCATION) || (name.starts_with(DEFAULTS) && !keeps(name)) {
            unset(spank, name)?;
        }
    }
    if spank.getenv(c"PYTORCH_VERSION")?.is_some() {
        for (from, to) in PYTORCH {
            if let Some(value) = spank.getenv(from)? {
                spank.setenv(to, &value, true)?;
            }
        }
    }
    Ok(())
}

fn unset(spank: &Spank<'_>, name: &[u8]) -> Result<(), StepError> {
    match CString::new(name) {
        Ok(name) => Ok(spank.unsetenv(&name)?),
        Err(_) => Ok(()),
    }
}

/// All tasks read the same open file, hence by position.
fn read(container: &Handover) -> io::Result<Vec<u8>> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let file = container.get(Part::Environ).ok_or_else(missing)?.try_clone()?;
    let file = File::from(file);
    let length = usize::try_from(file.metadata()?.len()).map_err(|_| missing())?;
    let mut block = vec![0; length];
    file.read_exact_at(&mut block, 0)?;
    Ok(block)
}
