//! The `pyxis` command.
//!
//! `main` is the one that C knows. std's own start asks for the main thread's stack, for which glibc
//! reads /proc/self/maps: with the rest of it a sixth of a millisecond, which each start of a container
//! would pay. What it does that matters here is done here.

#![cfg_attr(not(test), no_main)]
#![deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

mod cli;

use std::panic::catch_unwind;
use std::time::Instant;

use clap::Parser;
use hygiene::console;

use cli::{Cli, Exit};

/// What std ends a program with that has panicked; the panic's own lines are out already.
const PANICKED: Exit = Exit(101);

/// The start of the process. glibc has handed the arguments to std before.
#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn main() -> i32 {
    linux::sys::have_standard_files();
    linux::sys::ignore_closed_pipes();
    let Exit(code) = catch_unwind(run).unwrap_or(PANICKED);
    // Flushes standard output, which a mere return does not.
    std::process::exit(i32::from(code))
}

fn run() -> Exit {
    let begun = Instant::now();
    if cli::called_as("enroot-mount") {
        return cli::mount::run();
    }
    // It is root who runs it: nothing is read that would steer it.
    if cli::mount_image::is_asked_for() {
        return cli::mount_image::run();
    }
    if cli::as_caller::is_asked_for() {
        return cli::as_caller::run();
    }
    // Images and layers are written by this process.
    linux::sys::survive_file_size_limit();
    let as_enroot = cli::as_enroot();
    if as_enroot && std::env::args_os().nth(1).is_some_and(|word| word == "--version") {
        let _ = console::print(pyxis::as_enroot::VERSION);
        return Exit::SUCCESS;
    }
    let verb = cli::request::asked_for().unwrap_or_else(|| {
        let words = cli::words().unwrap_or_else(|usage| {
            let Exit(code) = usage.show();
            std::process::exit(i32::from(code))
        });
        let parsed = cli::quickly(&words).map_or_else(|| Cli::try_parse_from(&words), Ok);
        let cli = parsed.unwrap_or_else(|error| {
            cli::show(&error);
            // clap's own code for a usage error is 2, enroot's is 1.
            std::process::exit(if as_enroot && error.use_stderr() { 1 } else { error.exit_code() })
        });
        Ok(cli.verb)
    });
    verb.and_then(|verb| verb.run(begun)).unwrap_or_else(|error| {
        console::tell(error.line());
        Exit(error.exit_code())
    })
}
