//! The `pyxis` command.

mod cli;

use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use clap::Parser;
use runtime::start::{Plan, StartError, start};

use cli::{Cli, StartArgs, Verb};

fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Start(args) => start_verb(args),
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

fn start_verb(args: StartArgs) -> Result<ExitCode, StartError> {
    let handover = args.handover;
    let command = args.command.clone();
    if let Some(fd) = handover {
        cli::keep_from_children(fd).map_err(StartError::Handover)?;
    }
    let container = start(Plan::try_from(args)?)?;
    if let Some(fd) = handover {
        // SAFETY: the caller passed this descriptor for us and nobody here closes it.
        container.hand_over(unsafe { BorrowedFd::borrow_raw(fd) })?;
        return Ok(ExitCode::SUCCESS);
    }
    let shell = container.environ.get(std::ffi::OsStr::new("SHELL")).cloned();
    let program = command.first().cloned().or(shell).unwrap_or_else(|| "/bin/sh".into());
    let error = std::process::Command::new(&program)
        .args(command.iter().skip(1))
        .env_clear()
        .envs(&container.environ)
        .current_dir(&container.cwd)
        .exec();
    eprintln!("pyxis: cannot execute {}: {error}", program.to_string_lossy());
    Ok(ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }))
}
