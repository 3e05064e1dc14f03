//! The job's environment, and the tasks' command.

use crate::error::{ErrorKind, SpankError, check};
use crate::{Spank, raw};
use std::ffi::{CStr, CString, c_char, c_int};

/// First guess at a value's length, in bytes; doubled until the value fits.
const FIRST_LENGTH: usize = 1024;

type Getter =
    unsafe extern "C" fn(raw::spank_t, *const c_char, *mut c_char, c_int) -> raw::spank_err_t;

type Setter =
    unsafe extern "C" fn(raw::spank_t, *const c_char, *const c_char, c_int) -> raw::spank_err_t;

impl Spank<'_> {
    /// The value of `name` in the job's environment, of any length; only in slurmstepd.
    pub fn getenv(&self, name: &CStr) -> Result<Option<CString>, SpankError> {
        self.get("spank_getenv", raw::spank_getenv, name)
    }

    /// Sets `name` in the job's environment; false: it was there and `overwrite` is false.
    pub fn setenv(&self, name: &CStr, value: &CStr, overwrite: bool) -> Result<bool, SpankError> {
        self.set("spank_setenv", raw::spank_setenv, name, value, overwrite)
    }

    /// Removes `name` from the job's environment; it need not be there.
    pub fn unsetenv(&self, name: &CStr) -> Result<(), SpankError> {
        // SAFETY: the handle is valid and `name` a C string.
        gone("spank_unsetenv", unsafe { raw::spank_unsetenv(self.raw, name.as_ptr()) })
    }

    /// Puts `argv` in front of the task's command; only in task_init and task_init_privileged.
    #[cfg(slurm_ge_23_11)]
    pub fn prepend_task_argv(&self, argv: &[&CStr]) -> Result<(), SpankError> {
        let call = "spank_prepend_task_argv";
        let count =
            c_int::try_from(argv.len()).map_err(|_| SpankError::new(call, ErrorKind::BadArg))?;
        let mut pointers: Vec<*const c_char> = argv.iter().map(|a| a.as_ptr()).collect();
        // SAFETY: the handle is valid; Slurm copies the `count` strings.
        let code = unsafe { raw::spank_prepend_task_argv(self.raw, count, pointers.as_mut_ptr()) };
        check(call, code)
    }

    fn get(
        &self,
        call: &'static str,
        getter: Getter,
        name: &CStr,
    ) -> Result<Option<CString>, SpankError> {
        let mut buffer: Vec<u8> = vec![0; FIRST_LENGTH];
        loop {
            let length = c_int::try_from(buffer.len())
                .map_err(|_| SpankError::new(call, ErrorKind::NoSpace))?;
            // SAFETY: the handle is valid, `name` a C string, and Slurm writes at most `length`
            // bytes with the final NUL.
            let code = unsafe {
                getter(self.raw, name.as_ptr(), buffer.as_mut_ptr().cast::<c_char>(), length)
            };
            match check(call, code) {
                Ok(()) => {
                    let end = buffer.iter().position(|b| *b == 0).unwrap_or(buffer.len());
                    buffer.truncate(end);
                    // No NUL is left in it.
                    return Ok(CString::new(buffer).ok());
                }
                Err(e) if e.kind() == ErrorKind::EnvNoExist => return Ok(None),
                Err(e) if e.kind() == ErrorKind::NoSpace => {
                    let longer = buffer.len() * 2;
                    buffer.resize(longer, 0);
                }
                Err(e) => return Err(e),
            }
        }
    }

    fn set(
        &self,
        call: &'static str,
        setter: Setter,
        name: &CStr,
        value: &CStr,
        overwrite: bool,
    ) -> Result<bool, SpankError> {
        // SAFETY: the handle is valid, name and value are C strings, which Slurm copies.
        let code =
            unsafe { setter(self.raw, name.as_ptr(), value.as_ptr(), c_int::from(overwrite)) };
        match check(call, code) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::EnvExists => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// What was not there is as good as removed.
fn gone(call: &'static str, code: raw::spank_err_t) -> Result<(), SpankError> {
    match check(call, code) {
        Err(e) if e.kind() == ErrorKind::EnvNoExist => Ok(()),
        result => result,
    }
}
