//! `build-matrix`: one plugin per Slurm release, and the checks that they are what they should be.

mod bindings;
mod build;
mod cargo;
mod diff;
mod error;
mod headers;
mod interface;
mod list;
mod package;
mod page;
mod report;
mod results;
mod summary;
mod verify;
mod workspace;

use clap::{Parser, Subcommand};
use error::Error;
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;

/// Lists Slurm releases, makes and checks their bindings, builds and verifies the plugin for each.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List the supported releases.
    List,
    /// Make the committed bindings and the lists of cargo features from `slurm-releases/releases`.
    Bindings {
        /// Change nothing; fail if anything would change.
        #[arg(long)]
        check: bool,
    },
    /// Build and verify the plugin.
    ///
    /// Without RELEASE: for the Slurm whose spank.h is installed.
    Build {
        /// Releases such as 24.11, or `all`.
        #[arg(value_name = "RELEASE")]
        releases: Vec<String>,
        /// Take spank.h from here: an install prefix, a source tree or tarball, or an include
        /// directory.
        #[arg(long, value_name = "PATH")]
        slurm: Option<PathBuf>,
        /// Where to put RELEASE/spank_pyxis.so.
        #[arg(long, value_name = "DIR", default_value = "target/matrix")]
        out: PathBuf,
    },
    /// Show what differs between two plugin interfaces; fails if anything does.
    Diff {
        /// A release, or the place of a Slurm, as `build --slurm` takes it.
        a: String,
        /// Another.
        b: String,
    },
    /// Write deb and rpm packages of everything.
    ///
    /// Without RELEASE: for all. Needs zig for the old glibc: `packaging/zig` fetches it.
    Package(package::Request),
    /// Make folders of packages into repositories for apt and dnf.
    ///
    /// Needs apt-ftparchive (Debian's apt-utils) where there are debs, createrepo_c where there are
    /// rpms.
    Repo(package::Repository),
    /// Write the last results of build, verify, package and tests/run as an HTML page and as markdown.
    Report {
        /// Where to put index.html and report.md.
        #[arg(long, value_name = "DIR", default_value = "target/report")]
        out: PathBuf,
    },
    /// Check built plugins.
    Verify {
        /// Plugins to look at.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let report = Report::new(cli.json);
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
        Verb::List => {
            list::list(report);
            Ok(())
        }
        Verb::Bindings { check } => bindings::bindings(report, check),
        Verb::Build { releases, slurm, out } => {
            let targets = build::targets(&releases, slurm.as_deref())?;
            if slurm.is_some() {
                diff::announce(report, &targets)?;
            }
            build::build(report, &targets, &out)
        }
        Verb::Diff { a, b } => diff::diff(report, &a, &b),
        Verb::Package(request) => package::package(report, &request),
        Verb::Repo(request) => package::repository(report, &request),
        Verb::Report { out } => summary::report(report, &out),
        Verb::Verify { files } => verify::verify_files(report, &files),
    }
}
