//! What tests/run is: `runner run [SUITE...]` runs test suites and adds them up; without SUITE, all of them, as continuous
//! integration does. The last line is "N passed, N failed". A suite that did not run, or counted nothing, is a failure.
//!
//! `runner lint RULES` holds the sources of tests to the rules of CONTRIBUTING.md.

mod bodies;
mod cluster;
mod command;
mod disk;
mod failures;
mod lint;
mod machines;
mod quick;
mod report;
mod run;
mod schedule;
mod shared;
mod signals;
mod steps;
mod suite;
mod tally;

use std::path::Path;
use std::process::{Command, ExitCode};

use nix::unistd::geteuid;

use disk::Disk;
use shared::Shared;
use suite::Suite;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let known = |name: &str| lint::LINTS.iter().find(|lint| lint.name == name);
    match words[..] {
        ["run", "--help" | "-h", ..] => help(),
        ["run", ..] => run_suites(&arguments[1..]),
        ["lint", name] if known(name).is_some() => {
            lint_result(known(name).map_or_else(|| Ok(vec![]), |lint| (lint.check)(Path::new("."))))
        }
        _ => {
            let lints: Vec<&str> = lint::LINTS.iter().map(|lint| lint.name).collect();
            eprintln!("usage: runner run [SUITE...] | lint {}", lints.join("|"));
            ExitCode::from(2)
        }
    }
}

fn lint_result(found: Result<Vec<String>, String>) -> ExitCode {
    let faults = found.unwrap_or_else(|error| vec![error]);
    for fault in &faults {
        eprintln!("{fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn help() -> ExitCode {
    let names = |only_named: bool| {
        let suites = suite::SUITES.iter().filter(|suite| suite.only_named == only_named);
        suites.map(|suite| suite.name).collect::<Vec<_>>().join(" ")
    };
    println!(
        "Runs test suites and adds them up: tests/run [SUITE...]; without SUITE, all of them, as continuous integration does."
    );
    println!(
        "The last line is \"N passed, N failed\". A suite that did not run, or counted nothing, is a failure."
    );
    println!();
    println!(
        "PYXIS_TEST_LANES=N runs N suites at a time that share nothing: two, or one on one processor, unless it says so."
    );
    println!("PYXIS_TEST_PATIENCE=N gives each suite N times its time.");
    println!(
        "SUT=reference runs the bats suites against another implementation, named by PYXIS_PLUGSTACK=\"required /path/x.so\"."
    );
    println!("suites: {}; and if named: {}", names(false), names(true));
    ExitCode::SUCCESS
}

/// A number that a variable says, if it is set.
fn number(name: &str) -> Result<Option<f64>, String> {
    let Ok(text) = std::env::var(name) else { return Ok(None) };
    match text.parse::<f64>() {
        Ok(number) if (0.001..=1000.0).contains(&number) => Ok(Some(number)),
        _ => Err(format!("{name}: '{text}' is no number from 0.001 to 1000")),
    }
}

fn run_suites(names: &[String]) -> ExitCode {
    let prepared = suite::wanted(names).and_then(|suites| {
        Ok((suites, number("PYXIS_TEST_LANES")?, number("PYXIS_TEST_PATIENCE")?))
    });
    let (suites, lanes, patience) = match prepared {
        Ok(prepared) => prepared,
        Err(message) => {
            eprintln!("run: {message}");
            return ExitCode::from(2);
        }
    };
    let lanes = lanes.map_or_else(default_lanes, |lanes| lanes.ceil() as usize);
    let logs = Path::new("target/check").to_owned();
    let _ = std::fs::remove_dir_all(&logs);
    if let Err(error) = std::fs::create_dir_all(&logs) {
        eprintln!("run: {}: {error}", logs.display());
        return ExitCode::from(2);
    }
    // Asked for once, at the terminal.
    if suites.iter().any(|suite| suite.needs_root) && !geteuid().is_root() {
        let asked = Command::new("sudo").arg("-v").status();
        if !asked.is_ok_and(|status| status.success()) {
            eprintln!("run: some of these suites need root, by sudo");
            return ExitCode::from(2);
        }
    }
    let shared = Shared::new(logs, patience.unwrap_or(1.0));
    if let Err(error) = signals::catch() {
        eprintln!("run: signals: {error}");
        return ExitCode::from(2);
    }
    let disk = Disk::watch(Path::new("target"));
    if names.is_empty() {
        disk.iter().filter_map(Disk::warning).for_each(|line| say(&line));
    }
    if wants_roots(&suites) {
        shared.begin_roots();
    }
    let tell = |outcome: &report::Outcome| {
        for line in outcome.lines(&shared.log_of(outcome.suite)) {
            say(&line);
        }
        if let Err(error) = outcome.keep(Path::new("target/results")) {
            eprintln!("run: target/results: {error}");
        }
    };
    let count = suites.len();
    let outcomes = schedule::all(&shared, suites, lanes, &tell);
    shared.end_cluster();
    shared.wait_for_roots();
    disk.iter().flat_map(Disk::lines).chain(report::summary(&outcomes)).for_each(|line| say(&line));
    if let Some(signal) = shared.signal() {
        return ExitCode::from(u8::try_from(128 + signal).unwrap_or(1));
    }
    let well = outcomes.len() == count && outcomes.iter().all(|outcome| outcome.failed == 0);
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A line at once, whoever reads it: a reader that has gone is no reason to stop.
fn say(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Suites wait more than they work, but on one processor.
fn default_lanes() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(2))
}

fn wants_roots(suites: &[&Suite]) -> bool {
    suites.len() > 1
        && suites
            .iter()
            .any(|suite| ["releases", "upgrade", "packages", "roots"].contains(&suite.name))
}
