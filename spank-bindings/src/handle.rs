//! The handle that Slurm gives to each hook, and the hook's arguments.

use crate::raw;
use std::ffi::{CStr, c_char, c_int};
use std::fmt;
use std::marker::PhantomData;

/// Slurm's handle, valid while the hook it was given to runs.
///
/// Neither Send nor Sync: Slurm reads and changes its job without a lock.
pub struct Spank<'a> {
    pub(crate) raw: raw::spank_t,
    lifetime: PhantomData<&'a raw::spank_handle>,
}

impl Spank<'_> {
    /// Takes what Slurm gave to a hook.
    ///
    /// # Safety
    ///
    /// `raw` is the handle Slurm gave to the hook that is running, and `Spank` does not outlive it.
    pub unsafe fn from_raw(raw: raw::spank_t) -> Self {
        Spank { raw, lifetime: PhantomData }
    }
}

impl fmt::Debug for Spank<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spank").field(&self.raw).finish()
    }
}

/// Which program has loaded the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// srun
    Local,
    /// slurmstepd
    Remote,
    /// sbatch or salloc
    Allocator,
    /// slurmd
    Slurmd,
    /// The prolog or epilog of a job.
    JobScript,
    /// Slurm does not say: no plugin stack is loaded.
    Error,
}

/// Which program has loaded the plugin.
pub fn context() -> Context {
    // SAFETY: takes nothing and reads a global that Slurm sets before it calls any hook.
    match unsafe { raw::spank_context() } {
        raw::S_CTX_LOCAL => Context::Local,
        raw::S_CTX_REMOTE => Context::Remote,
        raw::S_CTX_ALLOCATOR => Context::Allocator,
        raw::S_CTX_SLURMD => Context::Slurmd,
        raw::S_CTX_JOB_SCRIPT => Context::JobScript,
        _ => Context::Error,
    }
}

/// The arguments of the plugin's line in plugstack.conf.
#[derive(Clone, Copy)]
pub struct Args<'a>(&'a [*mut c_char]);

impl<'a> Args<'a> {
    /// Takes what Slurm gave to a hook; a null `argv` is empty.
    ///
    /// # Safety
    ///
    /// `argv` is null or holds `ac` pointers to C strings, all unchanged during `'a`.
    pub unsafe fn from_raw(ac: c_int, argv: *mut *mut c_char) -> Self {
        let count = usize::try_from(ac).unwrap_or(0);
        if count == 0 || argv.is_null() {
            return Args(&[]);
        }
        // SAFETY: the caller's promise.
        Args(unsafe { std::slice::from_raw_parts(argv, count) })
    }

    /// Each in turn.
    pub fn iter(&self) -> impl Iterator<Item = &'a CStr> + use<'a> {
        // SAFETY: each pointer is a C string that lives for 'a (from_raw).
        self.0.iter().filter(|p| !p.is_null()).map(|p| unsafe { CStr::from_ptr(*p) })
    }
}

impl fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
