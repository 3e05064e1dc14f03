//! Arguments of the `pyxis` command, one file per verb. Its container verbs take enroot's, and
//! under the name `enroot` it words its errors like that.

mod account;
pub(crate) mod as_caller;
pub(crate) mod broker;
pub(crate) mod config;
pub(crate) mod create;
pub(crate) mod descriptor;
mod devices;
pub(crate) mod doctor;
pub(crate) mod enroot;
mod error;
pub(crate) mod exec;
pub(crate) mod export;
pub(crate) mod fits;
pub(crate) mod generate;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod list;
pub(crate) mod listing;
pub(crate) mod load;
pub(crate) mod mount;
pub(crate) mod mount_image;
mod nodes;
pub(crate) mod push;
pub(crate) mod remove;
pub(crate) mod request;
pub(crate) mod start;
mod timing;
mod tools;
pub(crate) mod version;
mod wording;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, FromArgMatches, Parser, Subcommand};
use hygiene::console;

use pyxis::settings::Settings;

pub(crate) use error::CliError;
pub(crate) use tools::{data_path, host, importer, store};
pub(crate) use words::{as_enroot, called_as, check_variables, words};

/// An unprivileged container runtime for HPC nodes.
#[derive(Debug, Parser)]
#[command(name = "pyxis", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create a container from a squashfs image
    Create(create::CreateArgs),
    /// Start a container, a squashfs image or a directory
    Start(start::StartArgs),
    /// Start the container that a configuration script names with #ENROOT_ROOTFS=
    Batch(start::BatchArgs),
    /// Run a command in a running container
    Exec(exec::ExecArgs),
    /// Make a squashfs image of a container
    Export(export::ExportArgs),
    /// List the containers
    List(list::ListArgs),
    /// Delete containers
    Remove(remove::RemoveArgs),
    /// Import an image from a registry, a local engine or an OCI layout
    Import(import::ImportArgs),
    /// Make a container of an image of a registry, a local engine or an OCI layout
    Load(load::LoadArgs),
    /// Of the plugin's requests alone
    #[command(skip)]
    Discard(PathBuf),
    /// Put an image file or a container into a registry
    Push(push::PushArgs),
    /// Print the digest of an image
    Digest(import::DigestArgs),
    /// Fetch an image into the image store and print its path
    Pull(images::PullArgs),
    /// Do a part of `pull --nodes` on a node, as a line on stdin says
    #[command(hide = true)]
    NodeTask,
    /// Fetch an image to the shared store, as the account that owns it
    #[command(hide = true)]
    Broker(broker::BrokerArgs),
    /// List the images in the image store
    Images(listing::ImagesArgs),
    /// Remove from the image store what is not wanted any more
    Gc(images::GcArgs),
    /// Show how large the image store is
    Du,
    /// Absent: a container is started from its image, no bundle is needed
    #[command(hide = true)]
    Bundle {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        _words: Vec<OsString>,
    },
    /// Print the effective settings and where each comes from
    #[command(alias = "info")]
    Config,
    /// Say whether the built-in runtime can take enroot's place on this node
    #[command(hide = true)]
    Fits,
    /// Find what is wrong with pyxis on this node
    Doctor(doctor::DoctorArgs),
    /// Write manual pages or completions
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
    /// Print the version, or what a plugin's file says of itself
    Version(version::VersionArgs),
}

/// What the process ends with. A type of ours, since `main` has to read the number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    pub(crate) const SUCCESS: Exit = Exit(0);
    pub(crate) const FAILURE: Exit = Exit(1);
}

impl Verb {
    /// Runs it, in a process that began then.
    pub(crate) fn run(self, begun: Instant) -> Result<Exit, CliError> {
        if let Verb::Version(args) = self {
            return args.run();
        }
        // Wrong settings are among what it finds.
        if let Verb::Doctor(args) = self {
            return args.run();
        }
        if let Verb::Generate(args) = self {
            return args.run();
        }
        if let Verb::Fits = self {
            return fits::run();
        }
        // A configuration script has settings of its own.
        let script = match &self {
            Verb::Start(args) => args.script_settings()?,
            Verb::Batch(args) => args.script_settings()?,
            _ => Vec::new(),
        };
        let settings = Settings::of_process(script)?;
        // None of them stops anything.
        for remark in &settings.enroot.remarks {
            console::tell(format_args!(
                "{} {remark}",
                if as_enroot() { "[WARN]" } else { "pyxis:" }
            ));
        }
        for fault in &settings.unbelieved {
            console::tell(format_args!(
                "pyxis: a store that the site's file names is not used: {fault}"
            ));
        }
        let timed = self.timed();
        timing::watch(&settings, timed, begun);
        let asked = matches!(&self, Verb::Start(args) if args.is_asked());
        let done = self.run_with(&settings);
        // What it says then is why the step fails.
        if done.is_ok() || !asked {
            timing::tell(timed.unwrap_or_default());
        }
        done
    }

    fn run_with(self, settings: &Settings) -> Result<Exit, CliError> {
        match self {
            Verb::Create(args) => args.run(settings),
            Verb::Start(args) => args.run(settings),
            Verb::Batch(args) => args.run(settings),
            Verb::Exec(args) => args.run(settings),
            Verb::Export(args) => args.run(settings),
            Verb::List(args) => args.run(settings),
            Verb::Remove(args) => args.run(settings),
            Verb::Discard(file) => remove::discard(&file),
            Verb::Import(args) => args.run(settings),
            Verb::Load(args) => args.run(settings),
            Verb::Push(args) => args.run(settings),
            Verb::Digest(args) => args.run(settings),
            Verb::Pull(args) => args.run(settings),
            Verb::NodeTask => images::node_task(settings),
            Verb::Broker(args) => broker::run(&args, settings),
            Verb::Images(args) => args.run(settings),
            Verb::Gc(args) => args.run(settings),
            Verb::Du => images::usage(settings),
            Verb::Config if as_enroot() => config::show_as_enroot(settings),
            Verb::Config => config::show(settings),
            Verb::Bundle { .. } => Err(CliError::NoBundle),
            Verb::Doctor(_) | Verb::Generate(_) | Verb::Version(_) | Verb::Fits => {
                Ok(Exit::SUCCESS)
            }
        }
    }
}

/// What clap has to say: its help is ours, its errors repeat the words that were given.
pub(crate) fn show(error: &clap::Error) {
    if error.use_stderr() {
        console::tell_lines(&error.render().to_string());
    } else {
        let _ = error.print();
    }
}

/// What containers are started with and the plugin's question, without the definitions of all other verbs:
/// they take longer than all of the parsing. `None` for everything else, and for what is wrong: the whole
/// definition words that.
pub(crate) fn quickly(words: &[OsString]) -> Option<Cli> {
    let [name, verb, rest @ ..] = words else { return None };
    if verb == "fits" && rest.is_empty() {
        return Some(Cli { verb: Verb::Fits });
    }
    if verb != "start" {
        return None;
    }
    let command = start::StartArgs::augment_args(clap::Command::new("start"));
    let matches = command.try_get_matches_from([name].into_iter().chain(rest)).ok()?;
    let args = start::StartArgs::from_arg_matches(&matches).ok()?;
    Some(Cli { verb: Verb::Start(args) })
}
