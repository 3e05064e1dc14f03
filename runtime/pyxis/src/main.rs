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
    let cli = cli::quickly().map_or_else(Cli::try_parse, Ok).unwrap_or_else(|error| {
        cli::show(&error);
        // clap's own code for a usage error is 2, enroot's is 1.
        std::process::exit(if as_enroot && error.use_stderr() { 1 } else { error.exit_code() })
    });
    cli.verb.run(begun).unwrap_or_else(|error| {
        console::tell(format_args!("{} {error}", if as_enroot { "[ERROR]" } else { "pyxis:" }));
        ExitCode::from(error.exit_code())
    })
}
