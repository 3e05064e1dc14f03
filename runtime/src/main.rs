//! The `pyxis` command.

mod cli;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use cli::Cli;

fn main() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    let as_enroot = Path::new(&name).file_name().is_some_and(|name| name == "enroot");
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        // clap's own code for a usage error is 2, enroot's is 1.
        std::process::exit(if as_enroot && error.use_stderr() { 1 } else { error.exit_code() })
    });
    cli.verb.run().unwrap_or_else(|error| {
        eprintln!("{} {error}", if as_enroot { "[ERROR]" } else { "pyxis:" });
        ExitCode::FAILURE
    })
}
