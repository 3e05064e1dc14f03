//! What Slurm has read from slurm.conf, where its interface for plugins does not say it.

use crate::TASK_PROLOG;
use std::ffi::{c_char, c_void};
use std::ptr;

unsafe extern "C" {
    /// C's, of `dlfcn.h`.
    fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
}

/// Whether slurm.conf has a `TaskProlog`; `false` in a program without Slurm's configuration.
pub fn has_task_prolog() -> bool {
    // SAFETY: null is RTLD_DEFAULT: what all of the program may use; the name is a C string.
    let conf = unsafe { dlsym(ptr::null_mut(), c"slurm_conf".as_ptr()) };
    // SAFETY: it is this release's slurm_conf_t, where a pointer is at that place in all micro releases (docs/releases.md);
    // it is not followed.
    !conf.is_null()
        && !unsafe { conf.byte_add(TASK_PROLOG).cast::<*const c_char>().read() }.is_null()
}
