//! The `pyxis` command.

mod cli;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Verb, start};

fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Start(args) => start::run(args),
        Verb::Version => {
            println!("{}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("pyxis: {error}");
        ExitCode::FAILURE
    })
}
