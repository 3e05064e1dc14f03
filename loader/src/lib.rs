//! `spank_pyxis.so` as Slurm loads it: opens the build of pyxis for the running Slurm and steps
//! aside.
//!
//! When Slurm opens this library its constructor asks the process for its API number, finds the
//! build stamped with it under `../pyxis/*/`, or where packages put it, checks and opens it, and takes over its
//! `plugin_version`, which Slurm compares next. Without a sound build that number stays 0 and no
//! hook is there: every release refuses the plugin, those that compare no versions as well.
//!
//! The hooks are *indirect functions* (`STT_GNU_IFUNC`): when Slurm looks one up, `dlsym` calls the
//! function of that name here and hands out what it returns, the build's own hook or NULL. So calls
//! pass through nothing, and a hook the build lacks is one Slurm does not see: no epilog, no fork.
//!
//! Nothing here allocates or panics; in the profile `loader` the linker proves the latter
//! ([`mod@panic`]; SAFETY.md).

#![no_std]

mod build;
mod choose;
mod elf;
mod host;
mod panic;
mod releases;
mod text;

use core::ffi::{CStr, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};

/// The name Slurm's messages use.
#[unsafe(no_mangle)]
pub static plugin_name: [u8; 6] = *b"pyxis\0";
/// The kind of plugin.
#[unsafe(no_mangle)]
pub static plugin_type: [u8; 6] = *b"spank\0";
/// What Slurm compares with its own version: the build's, once that is open.
#[unsafe(no_mangle)]
pub static plugin_version: AtomicU32 = AtomicU32::new(0);

macro_rules! forward {
    ($($index:literal $symbol:ident)*) => {
        /// What Slurm looks up in a plugin beside its name, type and version.
        const SYMBOLS: &[&CStr] = &[$(
            match CStr::from_bytes_with_nul(concat!(stringify!($symbol), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => c"",
            },
        )*];
        $(
            /// Called by `dlsym`, which hands out what this returns.
            #[unsafe(no_mangle)]
            pub extern "C" fn $symbol() -> *mut c_void {
                const { assert!($index < SYMBOLS.len()) };
                FOUND[$index].load(Relaxed)
            }
            core::arch::global_asm!(concat!(
                ".type ", stringify!($symbol), ", %gnu_indirect_function"
            ));
        )*
    };
}

forward! {
    0 slurm_spank_init
    1 slurm_spank_job_prolog
    2 slurm_spank_init_post_opt
    3 slurm_spank_local_user_init
    4 slurm_spank_user_init
    5 slurm_spank_task_init_privileged
    6 slurm_spank_task_init
    7 slurm_spank_task_post_fork
    8 slurm_spank_task_exit
    9 slurm_spank_job_epilog
    10 slurm_spank_slurmd_exit
    11 slurm_spank_exit
    12 slurm_spank_init_failure_mode
    13 spank_options
    14 spank_plugin_version
}

/// The same in the open build; NULL where it has none.
static FOUND: [AtomicPtr<c_void>; SYMBOLS.len()] =
    [const { AtomicPtr::new(null_mut()) }; SYMBOLS.len()];

/// Runs in `dlopen`, before Slurm looks anything up.
extern "C" fn constructor() {
    let Some((handle, number)) = choose::open() else { return };
    for (found, symbol) in FOUND.iter().zip(SYMBOLS) {
        found.store(host::symbol(handle, symbol), Relaxed);
    }
    plugin_version.store(number, Relaxed);
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;
