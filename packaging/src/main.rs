//! Packages of everything for Debian's and Red Hat's kinds of distributions, repositories of them, and a report of what
//! was built and tested: `build-matrix package`, `repo` and `report`, which compile and run this program.

mod compile;
mod contents;
mod deb;
mod debug;
mod error;
mod facts;
mod kinds;
mod package;
mod page;
mod relations;
mod repo;
mod rpm;
mod sbom;
mod summary;
mod table;
mod unwinder;
mod verb;

use build_matrix::report::Report;
use clap::{Parser, Subcommand};
use error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// Packages, repositories of them, and a report: what `build-matrix` runs for its verbs of these names.
#[derive(Parser)]
#[command(version, bin_name = "build-matrix", arg_required_else_help = true)]
struct Cli {
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Write deb and rpm packages of everything.
    ///
    /// Without RELEASE: for all. Needs zig for the old glibc: `packaging/zig` fetches it.
    Package(verb::Request),
    /// Make folders of packages into repositories for apt and dnf.
    ///
    /// Needs apt-ftparchive (Debian's apt-utils) where there are debs, createrepo_c where there are
    /// rpms.
    Repo(repo::Repository),
    /// Write the last results of build, verify, package and tests/run as an HTML page and as markdown.
    Report {
        /// Where to put index.html and report.md.
        #[arg(long, value_name = "DIR", default_value = "target/report")]
        out: PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let report = Report::new("build-matrix", cli.json);
    match run(cli.verb, &report) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report.error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb, report: &Report) -> Result<(), Error> {
    match verb {
        Verb::Package(request) => verb::package(report, &request),
        Verb::Repo(request) => repo::repository(report, &request),
        Verb::Report { out } => summary::report(report, &out),
    }
}
