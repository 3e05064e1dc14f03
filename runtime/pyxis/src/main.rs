//! The `pyxis` command.

#![deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

mod cli;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use hygiene::console;

use cli::Cli;

fn main() -> ExitCode {
    let begun = Instant::now();
    if cli::called_as("enroot-mount") {
        return cli::mount::run();
    }
    // Images and layers are written by this process.
    linux::sys::survive_file_size_limit();
    let as_enroot = cli::as_enroot();
    if as_enroot && std::env::args_os().nth(1).is_some_and(|word| word == "--version") {
        let _ = console::print(cli::version::ENROOT);
        return ExitCode::SUCCESS;
    }
    let cli = cli::quickly().map_or_else(Cli::try_parse, Ok).unwrap_or_else(|error| {
        cli::show(&error);
        // clap's own code for a usage error is 2, enroot's is 1.
        std::process::exit(if as_enroot && error.use_stderr() { 1 } else { error.exit_code() })
    });
    cli.verb.run(begun).unwrap_or_else(|error| {
        console::tell(error.line());
        ExitCode::from(error.exit_code())
    })
}
