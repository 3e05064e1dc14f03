//! What people see: progress on a terminal, plain lines elsewhere, one JSON document for machines.

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::IsTerminal;
use std::time::Duration;

/// Where output goes.
#[derive(Debug)]
pub struct Report {
    /// The program, in front of errors.
    program: &'static str,
    json: bool,
}

impl Report {
    /// Of that program; with `json` one document and no lines.
    pub fn new(program: &'static str, json: bool) -> Report {
        Report { program, json }
    }

    /// Whether it is one document.
    pub fn json(&self) -> bool {
        self.json
    }

    /// A line for people.
    pub fn line(&self, text: impl std::fmt::Display) {
        if !self.json {
            println!("{text}");
        }
    }

    /// The document for machines.
    pub fn document(&self, value: &impl Serialize) {
        if self.json {
            let text = serde_json::to_string_pretty(value).expect("plain data");
            println!("{text}");
        }
    }

    /// One line, on stderr.
    pub fn error(&self, error: &dyn std::error::Error) {
        eprintln!("{}: {error}", self.program);
    }

    /// A bar of `steps` on a terminal, nothing elsewhere.
    pub fn progress(&self, steps: usize) -> Progress {
        if self.json || !std::io::stderr().is_terminal() {
            return Progress(None);
        }
        let bar = ProgressBar::new(steps as u64);
        let style = ProgressStyle::with_template("{spinner} {pos}/{len} {elapsed} {prefix} {msg}");
        bar.set_style(style.expect("a constant template"));
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress(Some(bar))
    }
}

/// A bar, or none.
#[derive(Debug)]
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// What is worked at.
    pub fn start(&self, what: &str) {
        if let Some(bar) = &self.0 {
            bar.set_prefix(what.to_owned());
            bar.set_message("");
        }
    }

    /// The latest word about it.
    pub fn message(&self, text: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(text.to_owned());
        }
    }

    /// One step done: its line stays above the bar.
    pub fn done(&self, report: &Report, line: impl std::fmt::Display) {
        match &self.0 {
            Some(bar) => {
                bar.suspend(|| report.line(line));
                bar.inc(1);
            }
            None => report.line(line),
        }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}
