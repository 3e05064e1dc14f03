//! A step with a task prolog, whose tasks enter the container when Slurm executes their program, and not before.
//!
//! Slurm runs `TaskProlog` and `--task-prolog` in the task, after the last hook that a plugin has there, and calls execve when
//! they have ended. They are the host's, and so is the task until then: slurmstepd's call of execve leads here. That is the
//! task's own copy of slurmstepd, which is the user's by now and has one thread.

use super::error::StepError;
use super::import_table;
use nix::libc;
use spank_bindings::{Spank, log};
use std::ffi::{CStr, CString, c_char, c_int};
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Moves the task inside.
pub(super) type Enter = Box<dyn FnOnce() -> Result<(), StepError>>;

/// What a task has to do before its program.
struct Later {
    task: u32,
    enter: Enter,
    /// What Slurm was asked to run.
    command: Vec<CString>,
}

static LATER: AtomicPtr<Later> = AtomicPtr::new(ptr::null_mut());

unsafe extern "C" {
    /// C's: where `execvp` looks for PATH.
    static mut environ: *const *const c_char;
}

/// Leaves the task on the host until its program is executed.
pub(super) fn stay(spank: &Spank<'_>, enter: Enter) -> Result<(), StepError> {
    let later = Later { task: process::id(), enter, command: spank.job_argv()? };
    LATER.store(Box::into_raw(Box::new(later)), Ordering::Relaxed);
    // SAFETY: a function of that kind, in a .so that stays; a task has one thread.
    let led = unsafe { import_table::replace(c"execve", execute as *const _) };
    led.then_some(()).ok_or(StepError::TaskProlog)
}

/// What slurmstepd calls for execve. A prolog's process, which some releases execute by it as well, is not the task.
unsafe extern "C" fn execute(
    path: *const c_char,
    argv: *mut *const c_char,
    variables: *const *const c_char,
) -> c_int {
    let later = LATER.swap(ptr::null_mut(), Ordering::Relaxed);
    // SAFETY: null, or what `stay` has put there in this process or the one that it is a copy of; nobody else has it. The first argument is the program as it was found, which Slurm has put there itself.
    unsafe {
        if later.is_null() || (*later).task != process::id() {
            return libc::execve(path, argv, variables);
        }
        let Later { enter, command, .. } = *Box::from_raw(later);
        if let Err(error) = enter() {
            log::error!("pyxis: {error}");
            // The program is not to run on the host.
            libc::_exit(1);
        }
        *argv = path.add(place_of_word(&command, CStr::from_ptr(path).to_bytes()));
        environ = variables;
        libc::execvp(*argv, argv)
    }
}

/// Where in the path that Slurm has found on the host the word begins that was asked for.
fn place_of_word(command: &[CString], path: &[u8]) -> usize {
    if let [asked, rest @ ..] = command {
        // The latter with --bcast to a directory.
        match path.strip_suffix(asked.as_bytes()) {
            Some(before) if before.ends_with(b"/") => return before.len(),
            _ if path.starts_with(asked.as_bytes()) => return 0,
            _ => {}
        }
        // One of --multi-prog, whose list is the second.
        if let [list, ..] = rest {
            if !list.as_bytes().windows(path.len()).any(|one| one == path) {
                let name = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
                return if path[..name].ends_with(b"/./") { name - 2 } else { name };
            }
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_as_it_was_asked_for() {
        let asked = |command: &[&str], path: &str| {
            let command: Vec<CString> =
                command.iter().map(|one| CString::new(*one).unwrap()).collect();
            path[place_of_word(&command, path.as_bytes())..].to_owned()
        };
        assert_eq!(asked(&["sh", "/usr/bin/sh"], "/usr/bin/sh"), "sh");
        assert_eq!(asked(&["/usr/bin/sh"], "/usr/bin/sh"), "/usr/bin/sh");
        assert_eq!(asked(&["./x"], "/home/me/./x"), "./x");
        assert_eq!(asked(&["none"], "none"), "none");
        // --multi-prog
        let programs = "0 sh\n1 /usr/bin/own\n2 ./x\n";
        assert_eq!(asked(&["list", programs], "/usr/bin/sh"), "sh");
        assert_eq!(asked(&["list", programs], "/usr/bin/own"), "/usr/bin/own");
        assert_eq!(asked(&["list", programs], "/home/me/./x"), "./x");
        assert_eq!(asked(&["list", programs], "none"), "none");
        // --bcast to a directory
        assert_eq!(asked(&["/scratch/"], "/scratch/sent"), "/scratch/sent");
        assert_eq!(asked(&["/scratch/", "x"], "/scratch/sent"), "/scratch/sent");
    }
}
