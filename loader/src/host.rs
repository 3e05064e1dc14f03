//! The process this library was loaded into, and the dynamic linker.

use crate::text::{Path, Text, real_path};
use core::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use core::mem::{MaybeUninit, transmute};

/// What `handle` or a library it needs exports under that name, or NULL.
pub(crate) fn symbol(handle: *mut c_void, name: &CStr) -> *mut c_void {
    // SAFETY: the handle is RTLD_DEFAULT or one that dlopen gave; the name is a C string.
    unsafe { libc::dlsym(handle, name.as_ptr()) }
}

/// The API number of the Slurm that this process belongs to. All its programs export the
/// function, from libslurmfull or, where that is linked in, themselves.
pub(crate) fn api() -> Option<u32> {
    let found = symbol(libc::RTLD_DEFAULT, c"slurm_api_version");
    if found.is_null() {
        return None;
    }
    // SAFETY: `long slurm_api_version(void)` in slurm.h of every release.
    let function: extern "C" fn() -> c_long = unsafe { transmute(found) };
    u32::try_from(function() >> 16).ok()
}

/// Where the file of this library is, symbolic links resolved.
pub(crate) fn own_path() -> Option<Path> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    let here = (&raw const crate::plugin_version).cast();
    // SAFETY: `info` has room for what dladdr writes; all zeroes are a valid Dl_info.
    let info = unsafe {
        if libc::dladdr(here, info.as_mut_ptr()) == 0 {
            return None;
        }
        info.assume_init()
    };
    if info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr gives a C string that lives as long as this library is open.
    real_path(unsafe { CStr::from_ptr(info.dli_fname) })
}

/// Opens a library as Slurm opens plugins; `why` gets dlerror's text where that fails.
pub(crate) fn open(path: &Path, why: &mut Text<512>) -> Option<*mut c_void> {
    // SAFETY: a C string. The file was checked; its constructors are those of our own build.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) };
    if !handle.is_null() {
        return Some(handle);
    }
    // SAFETY: dlerror gives NULL or a C string that is valid until the next call of its kind.
    let error = unsafe { libc::dlerror() };
    if !error.is_null() {
        // SAFETY: see above.
        why.push(unsafe { CStr::from_ptr(error) }.to_bytes());
    }
    None
}

/// Closes what `open` opened.
pub(crate) fn close(handle: *mut c_void) {
    // SAFETY: a handle of dlopen; nothing of that library is in use.
    unsafe { libc::dlclose(handle) };
}

/// The number that an open plugin states as its version.
pub(crate) fn version(handle: *mut c_void) -> Option<u32> {
    let number = symbol(handle, c"plugin_version").cast::<c_uint>();
    // SAFETY: a plugin's `plugin_version` is an unsigned int.
    if number.is_null() { None } else { Some(unsafe { number.read() }) }
}

/// One line in Slurm's log, on the terminal of srun and its like; stderr where there is no Slurm.
pub(crate) fn error(line: &Text<2048>) {
    let found = symbol(libc::RTLD_DEFAULT, c"slurm_error");
    if found.is_null() {
        let words = [c"pyxis: ".to_bytes(), line.bytes(), b"\n"];
        let parts = words.map(|part| libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        });
        // SAFETY: three parts of live memory, only read. Nobody is told if that fails.
        unsafe { libc::writev(libc::STDERR_FILENO, parts.as_ptr(), parts.len() as c_int) };
        return;
    }
    // SAFETY: `void slurm_error(const char *, ...)` in every release.
    let function: unsafe extern "C" fn(*const c_char, ...) = unsafe { transmute(found) };
    // SAFETY: the format takes one C string.
    unsafe { function(c"pyxis: %s".as_ptr(), line.as_ptr()) };
}
