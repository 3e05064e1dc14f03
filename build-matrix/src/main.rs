//! `build-matrix`: one plugin per Slurm release, and the checks that they are what they should be.

use build_matrix::error::Error;
use build_matrix::report::Report;
use build_matrix::{bindings, build, diff, list, verify, workspace};
use clap::{Parser, Subcommand};
use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

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
    /// Write deb and rpm packages of everything. (By the crate packaging, which is compiled for it.)
    #[command(disable_help_flag = true)]
    Package(Packaging),
    /// Make folders of packages into repositories for apt and dnf. (As above.)
    #[command(disable_help_flag = true)]
    Repo(Packaging),
    /// Write the last results of build, verify, package and tests/run as an HTML page and as markdown. (As above.)
    #[command(disable_help_flag = true)]
    Report(Packaging),
    /// Check built plugins.
    Verify {
        /// Plugins to look at.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// Whatever follows, which is packaging's to understand.
#[derive(clap::Args)]
struct Packaging {
    #[arg(allow_hyphen_values = true, trailing_var_arg = true)]
    args: Vec<OsString>,
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
        Verb::Package(rest) => Err(packaging("package", &rest, report)),
        Verb::Repo(rest) => Err(packaging("repo", &rest, report)),
        Verb::Report(rest) => Err(packaging("report", &rest, report)),
        Verb::Verify { files } => verify::verify_files(report, &files),
    }
}

/// Becomes the program of the crate packaging, in its present state. Returns if it cannot.
///
/// A crate of its own: it needs a newer Rust and much that nobody who only wants the plugin should have to compile.
fn packaging(verb: &str, rest: &Packaging, report: &Report) -> Error {
    let root = match workspace::root() {
        Ok(root) => root,
        Err(error) => return error,
    };
    let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    command.args(["run", "--quiet", "--release", "--locked", "--package=packaging"]);
    command.arg("--manifest-path").arg(root.join("Cargo.toml")).arg("--").arg(verb);
    command.args(report.json().then_some("--json")).args(&rest.args);
    Error::Command { command: "cargo run --package=packaging".into(), why: Some(command.exec()) }
}
