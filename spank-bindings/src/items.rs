//! What the handle knows of the job, the step and the task: those items of `enum spank_item`
//! that the plugin asks for.

use crate::error::{SpankError, check};
use crate::{Spank, raw};
use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt;
use std::ptr;

/// The id of a step; some values name steps that are not numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub u32);

impl StepId {
    /// The batch script.
    pub const BATCH: StepId = StepId(0xffff_fffb);
    /// The step of processes Slurm did not start.
    pub const EXTERN: StepId = StepId(0xffff_fffc);
    /// The step that salloc starts with `use_interactive_step`.
    pub const INTERACTIVE: StepId = StepId(0xffff_fffa);
    /// A step that is not yet created.
    pub const PENDING: StepId = StepId(0xffff_fffd);
}

/// As a decimal number, the unnumbered ones too.
impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an error names.
macro_rules! call {
    ($item:ident) => {
        concat!("spank_get_item(", stringify!($item), ")")
    };
}

/// A method per item that Slurm writes through one pointer to a number.
macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $item:ident;)*) => {
        impl Spank<'_> {$(
            $(#[$doc])*
            pub fn $name(&self) -> Result<$type, SpankError> {
                let mut value: $type = 0;
                // SAFETY: the handle is valid; for this item Slurm writes one value of this type.
                let code = unsafe { raw::spank_get_item(self.raw, raw::$item, &raw mut value) };
                check(call!($item), code).map(|()| value)
            }
        )*}
    };
}

numbers! {
    /// The job's user.
    job_uid: u32 = S_JOB_UID;
    /// The job's primary group.
    job_gid: u32 = S_JOB_GID;
    /// The job.
    job_id: u32 = S_JOB_ID;
    /// Tasks of the step on this node.
    job_local_task_count: u32 = S_JOB_LOCAL_TASK_COUNT;
    /// Tasks of the step on all nodes.
    job_total_task_count: u32 = S_JOB_TOTAL_TASK_COUNT;
    /// The step's memory on this node, in MiB.
    step_alloc_mem: u64 = S_STEP_ALLOC_MEM;
}

impl Spank<'_> {
    /// The step.
    pub fn job_step_id(&self) -> Result<StepId, SpankError> {
        let mut id: u32 = 0;
        // SAFETY: the handle is valid; for this item Slurm writes one uint32_t.
        let code = unsafe { raw::spank_get_item(self.raw, raw::S_JOB_STEPID, &raw mut id) };
        check(call!(S_JOB_STEPID), code).map(|()| StepId(id))
    }

    /// The command and its arguments; empty where Slurm has none.
    pub fn job_argv(&self) -> Result<Vec<CString>, SpankError> {
        let (mut argc, mut argv): (c_int, *mut *mut c_char) = (0, ptr::null_mut());
        // SAFETY: the handle is valid; for this item Slurm writes an int and a pointer.
        let code =
            unsafe { raw::spank_get_item(self.raw, raw::S_JOB_ARGV, &raw mut argc, &raw mut argv) };
        check(call!(S_JOB_ARGV), code)?;
        let most = usize::try_from(argc).unwrap_or(0);
        // SAFETY: Slurm's array has `argc` elements.
        Ok(unsafe { strings(argv, most) })
    }

    /// The job's environment, `NAME=value`; only in slurmstepd.
    pub fn job_env(&self) -> Result<Vec<CString>, SpankError> {
        let mut env: *mut *mut c_char = ptr::null_mut();
        // SAFETY: the handle is valid; for this item Slurm writes one pointer.
        let code = unsafe { raw::spank_get_item(self.raw, raw::S_JOB_ENV, &raw mut env) };
        check(call!(S_JOB_ENV), code)?;
        // SAFETY: Slurm's environment ends with a null pointer.
        Ok(unsafe { strings(env, usize::MAX) })
    }

    /// The user's supplementary groups, as Slurm will set them for the tasks.
    pub fn job_supplementary_gids(&self) -> Result<Vec<u32>, SpankError> {
        let (mut gids, mut count): (*mut u32, c_int) = (ptr::null_mut(), 0);
        // SAFETY: the handle is valid; for this item Slurm writes a pointer and an int.
        let code = unsafe {
            raw::spank_get_item(
                self.raw,
                raw::S_JOB_SUPPLEMENTARY_GIDS,
                &raw mut gids,
                &raw mut count,
            )
        };
        check(call!(S_JOB_SUPPLEMENTARY_GIDS), code)?;
        match usize::try_from(count) {
            // SAFETY: Slurm's array has `count` elements and outlives the hook.
            Ok(n) if !gids.is_null() => Ok(unsafe { std::slice::from_raw_parts(gids, n) }.to_vec()),
            _ => Ok(Vec::new()),
        }
    }
}

/// # Safety
/// `p` is null or a C string that outlives `'a`.
unsafe fn text<'a>(p: *const c_char) -> Option<&'a CStr> {
    // SAFETY: the caller's promise.
    (!p.is_null()).then(|| unsafe { CStr::from_ptr(p) })
}

/// Copies up to `most` strings, up to a null pointer.
///
/// # Safety
/// `array` is null, or has `most` elements or ends with a null pointer before.
unsafe fn strings(array: *mut *mut c_char, most: usize) -> Vec<CString> {
    let mut copies = Vec::new();
    if array.is_null() {
        return copies;
    }
    while copies.len() < most {
        // SAFETY: no element before this one was null, and there are at most `most`.
        match unsafe { text(*array.add(copies.len())) } {
            Some(string) => copies.push(string.to_owned()),
            None => break,
        }
    }
    copies
}
