//! `enroot-mount [--root DIR] [--pass NUM] FSTAB...`, which hooks call: the command under that
//! name.

use std::io::Read;
use std::path::PathBuf;

use super::Exit;

use clap::Parser;
use containers::start::enroot_mount;
use hygiene::console;

/// Carry out mount lines.
#[derive(Debug, Parser)]
#[command(name = "enroot-mount")]
struct Arguments {
    /// Directory that the targets are below
    #[arg(long, default_value = "/")]
    root: PathBuf,
    /// The last number of the lines to carry out
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pass: i32,
    /// Files of mount lines; - for standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

pub(crate) fn run() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            super::show(&error);
            return Exit(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    // It is in the container's user namespace, and its root is the host's.
    handover::namespaces::hide();
    let mut text = Vec::new();
    for file in &arguments.files {
        let read = match file.as_os_str().to_str() {
            Some("-") => std::io::stdin().read_to_end(&mut text).map(drop),
            _ => std::fs::read(file).map(|lines| text.extend(lines)),
        };
        if let Err(error) = read {
            let file = file.display();
            console::tell(format_args!("enroot-mount: failed to open: {file}: {error}"));
            return Exit::FAILURE;
        }
        text.push(b'\n');
    }
    match enroot_mount(&arguments.root, arguments.pass, &text) {
        Ok(()) => Exit::SUCCESS,
        Err(error) => {
            console::tell(format_args!("enroot-mount: {error}"));
            Exit::FAILURE
        }
    }
}
