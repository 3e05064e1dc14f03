//! Slurm's log: one call of the Slurm function per message, which is one line of it.
//!
//! ```
//! use spank_bindings::log;
//! let path = "/x.sqsh";
//! log::error!("pyxis: source path does not exist: {path}");
//! ```
//!
//! [`error()`] to [`debug()`] go where Slurm's own messages go: stderr of srun, sbatch and salloc,
//! the log of slurmd and slurmstepd. Nothing is put in front of a line.

use crate::raw;
use std::ffi::{CStr, CString, c_char};
use std::fmt;

/// Always logged; an error of srun on the user's terminal.
pub fn error(text: fmt::Arguments<'_>) {
    write(raw::slurm_error, text);
}

/// Logged by default.
pub fn info(text: fmt::Arguments<'_>) {
    write(raw::slurm_info, text);
}

/// Logged with `-v`, or `SlurmdDebug=verbose`.
pub fn verbose(text: fmt::Arguments<'_>) {
    write(raw::slurm_verbose, text);
}

/// Logged with `-vv`, or `SlurmdDebug=debug`.
pub fn debug(text: fmt::Arguments<'_>) {
    write(raw::slurm_debug, text);
}

/// Without Slurm's prefix; reaches the user's terminal, in hooks of a task too.
pub fn spank_log(text: fmt::Arguments<'_>) {
    write(raw::slurm_spank_log, text);
}

/// As [`spank_log()`], on a terminal in place of the line above: cursor up, clear the line.
pub fn spank_log_again(text: fmt::Arguments<'_>) {
    write_as(raw::slurm_spank_log, c"\x1b[A\x1b[2K%s", text);
}

type SlurmLog = unsafe extern "C" fn(*const c_char, ...);

/// One call for one message. Whatever a user, an image or a registry has put into it stays text of
/// that one line: here is the only way to Slurm's log and to the user's terminal.
fn write(slurm: SlurmLog, text: fmt::Arguments<'_>) {
    write_as(slurm, c"%s", text);
}

fn write_as(slurm: SlurmLog, format: &CStr, text: fmt::Arguments<'_>) {
    let text = text.to_string();
    let line = text.trim_end_matches('\n');
    if !line.is_empty() {
        // SAFETY: a constant format of the two above, that takes one C string.
        unsafe { slurm(format.as_ptr(), c_string(escape(line)).as_ptr()) };
    }
}

/// Control characters (C0, DEL and C1) as a programmer writes them: none ends a line, moves a
/// cursor or rings a bell. Bytes that are no UTF-8 were U+FFFD before they became text.
fn escape(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for letter in line.chars() {
        if letter.is_control() {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    out
}

/// Escaped text has no NUL.
fn c_string(line: String) -> CString {
    CString::new(line).unwrap_or_default()
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($arg:tt)*) => { $crate::log::error(::std::format_args!($($arg)*)) };
}
#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($arg:tt)*) => { $crate::log::info(::std::format_args!($($arg)*)) };
}
#[doc(hidden)]
#[macro_export]
macro_rules! __log_verbose {
    ($($arg:tt)*) => { $crate::log::verbose(::std::format_args!($($arg)*)) };
}
#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($arg:tt)*) => { $crate::log::debug(::std::format_args!($($arg)*)) };
}
#[doc(hidden)]
#[macro_export]
macro_rules! __log_spank_log {
    ($($arg:tt)*) => { $crate::log::spank_log(::std::format_args!($($arg)*)) };
}
pub use {
    __log_debug as debug, __log_error as error, __log_info as info, __log_spank_log as spank_log,
    __log_verbose as verbose,
};
