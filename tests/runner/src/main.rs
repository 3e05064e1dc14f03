//! What `tests/run` is made of. `runner lint RULES` holds the sources of tests to the rules of CONTRIBUTING.md.

mod lint;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let found = match words[..] {
        ["lint", "bats"] => lint::bats::check(Path::new(".")),
        ["lint", "rust"] => lint::rust::check(Path::new(".")),
        ["lint", "sizes"] => lint::sizes::check(Path::new(".")),
        ["lint", "claims"] => lint::claims::check(Path::new(".")),
        _ => Err("usage: runner lint bats|claims|rust|sizes".into()),
    };
    match found {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in &faults {
                eprintln!("{fault}");
            }
            ExitCode::FAILURE
        }
        Err(message) => {
            eprintln!("runner: {message}");
            ExitCode::from(2)
        }
    }
}
