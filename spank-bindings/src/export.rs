//! What Slurm sees of a plugin: its names, its versions, its hooks, and no panic.
//!
//! A hook that fails returns -1: Slurm 20.11 takes only a negative value for a failure, newer ones
//! any value but 0 (`_do_call_stack` in plugstack.c and spank.c). It counts where plugstack.conf
//! says `required`. A refused option: any value but 0, in every release. In slurmd and in the processes of prolog and epilog
//! a failure is never returned: slurmd would end, or the node be drained.

use crate::{Args, Spank, raw};
use std::any::Any;
use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::fmt::Display;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null;
use std::sync::{Once, OnceLock};

/// What Slurm does when `init` of a required plugin fails in slurmstepd
/// (`slurm_spank_init_failure_mode`, since 25.05; before, the node is drained).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureMode {
    /// The node is drained.
    Node,
    /// The job fails and the node stays.
    Job,
}

impl FailureMode {
    /// The number Slurm reads.
    #[cfg(slurm_ge_25_05)]
    #[doc(hidden)]
    pub const fn code(self) -> c_int {
        match self {
            FailureMode::Node => raw::ESPANK_NODE_FAILURE as c_int,
            FailureMode::Job => raw::ESPANK_JOB_FAILURE as c_int,
        }
    }
}

/// The plugin's name, in front of the errors reported here.
static NAME: OnceLock<&'static str> = OnceLock::new();

/// Runs one hook for Slurm: 0, or -1 after one error line.
///
/// # Safety
///
/// The arguments are what Slurm gave to the hook.
#[doc(hidden)]
pub unsafe fn run_hook<E: Display>(
    plugin: &'static str,
    hook: &'static str,
    spank: raw::spank_t,
    ac: c_int,
    argv: *mut *mut c_char,
    run: impl Fn(&Spank<'_>, Args<'_>) -> Result<(), E>,
) -> c_int {
    let _ = NAME.set(plugin);
    guard(hook, &|| {
        // SAFETY: the caller's promise; neither outlives the hook.
        let (spank, args) = unsafe { (Spank::from_raw(spank), Args::from_raw(ac, argv)) };
        run(&spank, args).map_err(|error| error.to_string())
    })
}

/// Runs `f` for Slurm: an `Err` or a panic becomes one error line and -1. In slurmd, which would end, and in a job's epilog,
/// for which the node would be drained, the line is all: a plugin's fault costs steps, never the node. One copy of the code for
/// all hooks, hence no generics.
pub(crate) fn guard(what: &str, f: &dyn Fn() -> Result<(), String>) -> c_int {
    let message = match catch(f) {
        Ok(Ok(())) => return 0,
        Ok(Err(message)) => message,
        Err(panic) => format!("{what}: internal error: {panic}"),
    };
    let name = NAME.get().copied().unwrap_or("spank");
    // A message of several lines stays together as one entry of the log.
    crate::log::error(format_args!("{name}: {}", message.trim_ascii_end().replace('\n', "; ")));
    match crate::context() {
        crate::Context::Slurmd | crate::Context::JobScript => 0,
        _ => -1,
    }
}

/// Runs `f`; a panic in it becomes text with its place, and nothing is printed.
///
/// For code that runs outside of a hook, such as in a forked child.
///
/// # Errors
///
/// The panic's message and place.
pub fn catch<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    quiet_panics();
    GUARDED.set(GUARDED.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(f));
    GUARDED.set(GUARDED.get() - 1);
    result.map_err(|payload| {
        let place = PLACE.replace([0; PLACE_LENGTH]);
        let place = String::from_utf8_lossy(&place);
        let text = format!("{}{}", describe(&*payload), place.trim_end_matches('\0'));
        // Its destructor could panic again.
        std::mem::forget(payload);
        text
    })
}

/// Most bytes of " at FILE:LINE:COLUMN" that are kept.
const PLACE_LENGTH: usize = 160;

thread_local! {
    // Neither has a destructor: it would run whenever a thread of the host ends.
    /// How many `catch` are on the stack.
    static GUARDED: Cell<u32> = const { Cell::new(0) };
    /// Where the last panic below `catch` was, padded with NUL.
    static PLACE: Cell<[u8; PLACE_LENGTH]> = const { Cell::new([0; PLACE_LENGTH]) };
}

/// Panics below `catch` are recorded, not printed: stderr of slurmd is not ours.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if GUARDED.get() == 0 {
                return before(info);
            }
            let mut text = [0; PLACE_LENGTH];
            if let Some(location) = info.location() {
                // A place that is too long is cut.
                let _ = write!(&mut text[..], " at {location}");
            }
            PLACE.set(text);
        }));
    });
}

fn describe(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic")
}

/// A hook as Slurm calls it.
#[doc(hidden)]
pub type Hook = unsafe extern "C" fn(raw::spank_t, c_int, *mut *mut c_char) -> c_int;

/// What `dlsym` hands out for a hook that is not always wanted: the hook, or NULL, by which Slurm takes the plugin to have
/// none. A panic in `wanted` is not told from true: a hook too many costs time, one that is missing costs its work.
#[doc(hidden)]
pub fn offer(hook: Hook, wanted: fn() -> bool) -> *const c_void {
    let answer = Cell::new(true);
    // As `guard` has it: one copy of the code.
    let ask: &dyn Fn() -> Result<(), String> = &|| {
        answer.set(wanted());
        Ok(())
    };
    let _ = catch(ask);
    if answer.get() { hook as *const c_void } else { null() }
}

/// `1.2.3` as `1 << 16 | 2 << 8 | 3`, the form of `spank_plugin_version`; a suffix is left out.
#[doc(hidden)]
pub const fn version_number(version: &str) -> u32 {
    let bytes = version.as_bytes();
    let (mut parts, mut part, mut i) = ([0u32; 3], 0, 0);
    while i < bytes.len() && part < 3 {
        match bytes[i] {
            digit @ b'0'..=b'9' => parts[part] = parts[part] * 10 + (digit - b'0') as u32,
            b'.' => part += 1,
            _ => break,
        }
        i += 1;
    }
    parts[0] << 16 | parts[1] << 8 | parts[2]
}

/// Exports a plugin: its name, its versions, its stamp, and only the hooks given.
///
/// ```
/// use spank_bindings::{Args, FailureMode, Spank, log};
///
/// fn init(_spank: &Spank<'_>, args: Args<'_>) -> Result<(), String> {
///     log::debug!("example: {args:?}");
///     Ok(())
/// }
///
/// spank_bindings::export_plugin! {
///     name: "example",
///     version: "0.1.0",
///     failure_mode: FailureMode::Job, // may be left out; before 25.05 it says nothing
///     hooks: { init => init }
/// }
/// # fn main() {}
/// ```
///
/// A hook is `fn(&Spank<'_>, Args<'_>) -> Result<(), E>` with `E: Display`. An `Err` or a panic is
/// reported as one error line, and Slurm is told that the hook failed.
///
/// `job_epilog => hook where wanted` offers the hook only where `wanted`, a `fn() -> bool`, says so when Slurm looks it up:
/// its being there costs time for every job, whatever it does. It is an *indirect function* (`STT_GNU_IFUNC`).
#[macro_export]
macro_rules! export_plugin {
    (
        name: $name:literal,
        version: $version:expr,
        $(failure_mode: $mode:expr,)?
        hooks: { $($hook:ident => $run:path $(where $wanted:path)?),* $(,)? }
        $(,)?
    ) => {
        #[allow(missing_docs, non_upper_case_globals, unreachable_pub)]
        const _: () = {
            const NAME: &[&str] = &[$name, "\0"];
            #[unsafe(no_mangle)]
            pub static plugin_name: [u8; $crate::stamp::length(NAME)] = $crate::stamp::join(NAME);
            #[unsafe(no_mangle)]
            pub static plugin_type: [u8; 6] = *b"spank\0";
            // 20.11's SPANK_PLUGIN gives the plugin's own version here and Slurm does not look;
            // the release's number serves the loader in every release.
            #[unsafe(no_mangle)]
            pub static plugin_version: ::core::ffi::c_uint = $crate::SLURM_VERSION_NUMBER;

            const STAMP: &[&str] = &$crate::stamp::parts($name, $version);
            #[unsafe(no_mangle)]
            #[unsafe(link_section = ".pyxis.stamp")]
            pub static pyxis_stamp: [u8; $crate::stamp::length(STAMP)] =
                $crate::stamp::join(STAMP);

            $crate::__spank_plugin_version!($version);
            $($crate::__spank_failure_mode!($mode);)?
            $($crate::__spank_hook!($name, $hook, $run $(, $wanted)?);)*
        };
    };
}

#[cfg(slurm_ge_21_08)]
#[doc(hidden)]
#[macro_export]
macro_rules! __spank_plugin_version {
    ($version:expr) => {
        #[unsafe(no_mangle)]
        pub static spank_plugin_version: ::core::ffi::c_uint =
            $crate::export::version_number($version);
    };
}

#[cfg(not(slurm_ge_21_08))]
#[doc(hidden)]
#[macro_export]
macro_rules! __spank_plugin_version {
    ($version:expr) => {};
}

#[cfg(slurm_ge_25_05)]
#[doc(hidden)]
#[macro_export]
macro_rules! __spank_failure_mode {
    ($mode:expr) => {
        #[unsafe(no_mangle)]
        pub static slurm_spank_init_failure_mode: ::core::ffi::c_int =
            $crate::FailureMode::code($mode);
    };
}

#[cfg(not(slurm_ge_25_05))]
#[doc(hidden)]
#[macro_export]
macro_rules! __spank_failure_mode {
    ($mode:expr) => {
        const _: $crate::FailureMode = $mode;
    };
}

#[doc(hidden)]
#[macro_export]
#[rustfmt::skip]
macro_rules! __spank_hook {
    ($n:literal, init, $f:path) => { $crate::__spank_export!($n, slurm_spank_init, $f); };
    ($n:literal, job_prolog, $f:path) => { $crate::__spank_export!($n, slurm_spank_job_prolog, $f); };
    ($n:literal, init_post_opt, $f:path) => { $crate::__spank_export!($n, slurm_spank_init_post_opt, $f); };
    ($n:literal, local_user_init, $f:path) => { $crate::__spank_export!($n, slurm_spank_local_user_init, $f); };
    ($n:literal, user_init, $f:path) => { $crate::__spank_export!($n, slurm_spank_user_init, $f); };
    ($n:literal, task_init_privileged, $f:path) => { $crate::__spank_export!($n, slurm_spank_task_init_privileged, $f); };
    ($n:literal, task_init, $f:path) => { $crate::__spank_export!($n, slurm_spank_task_init, $f); };
    ($n:literal, task_post_fork, $f:path) => { $crate::__spank_export!($n, slurm_spank_task_post_fork, $f); };
    ($n:literal, task_exit, $f:path) => { $crate::__spank_export!($n, slurm_spank_task_exit, $f); };
    ($n:literal, job_epilog, $f:path, $w:path) => { $crate::__spank_offer!($n, slurm_spank_job_epilog, $f, $w); };
    ($n:literal, job_prolog, $f:path, $w:path) => { $crate::__spank_offer!($n, slurm_spank_job_prolog, $f, $w); };
    ($n:literal, job_epilog, $f:path) => { $crate::__spank_export!($n, slurm_spank_job_epilog, $f); };
    ($n:literal, slurmd_exit, $f:path) => { $crate::__spank_export!($n, slurm_spank_slurmd_exit, $f); };
    ($n:literal, exit, $f:path) => { $crate::__spank_export!($n, slurm_spank_exit, $f); };
    ($n:literal, $other:ident, $f:path, $w:path) => {
        compile_error!(concat!("`", stringify!($other), "` cannot be left out: only job_prolog and job_epilog are looked up for each job"));
    };
    ($n:literal, $other:ident, $f:path) => {
        compile_error!(concat!("SPANK has no hook `", stringify!($other), "`"));
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __spank_export {
    ($name:literal, $symbol:ident, $run:path) => {
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $symbol(
            spank: $crate::raw::spank_t,
            ac: ::core::ffi::c_int,
            argv: *mut *mut ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            // SAFETY: only Slurm calls this, with its own handle and arguments.
            unsafe { $crate::export::run_hook($name, stringify!($symbol), spank, ac, argv, $run) }
        }
        // The release has this hook, and with this type.
        const _: unsafe extern "C" fn(
            $crate::raw::spank_t,
            ::core::ffi::c_int,
            *mut *mut ::core::ffi::c_char,
        ) -> ::core::ffi::c_int = $crate::raw::$symbol;
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __spank_offer {
    ($name:literal, $symbol:ident, $run:path, $wanted:path) => {
        // Of one module, so that both parts of the symbol are in one object file.
        mod $symbol {
            #[allow(unused_imports)]
            use super::*;

            unsafe extern "C" fn hook(
                spank: $crate::raw::spank_t,
                ac: ::core::ffi::c_int,
                argv: *mut *mut ::core::ffi::c_char,
            ) -> ::core::ffi::c_int {
                // SAFETY: only Slurm calls this, with its own handle and arguments.
                unsafe {
                    $crate::export::run_hook($name, stringify!($symbol), spank, ac, argv, $run)
                }
            }
            /// Called by `dlsym`, which hands out what this returns.
            #[unsafe(no_mangle)]
            pub extern "C" fn $symbol() -> *const ::core::ffi::c_void {
                $crate::export::offer(hook, $wanted)
            }
            ::core::arch::global_asm!(concat!(
                ".type ",
                stringify!($symbol),
                ", %gnu_indirect_function"
            ));
            // The release has this hook, and with this type.
            const _: $crate::export::Hook = $crate::raw::$symbol;
        }
    };
}
