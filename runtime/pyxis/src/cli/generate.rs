//! `pyxis generate man|completions DIR`, for packages: from the definition that parses the
//! arguments, and the table of settings.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};
use linux::file_error::FileError;
use pyxis::settings::{FILE, Kind, SETTINGS};

use super::{Cli, CliError, Exit};

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    what: GeneratedKind,
    /// Where to; made if need be
    directory: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum GeneratedKind {
    /// pyxis.1, pyxis-VERB.1 and pyxis.toml.5
    Man,
    /// For bash, zsh and fish
    Completions,
}

impl GenerateArgs {
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        let failed = |source| FileError::new("write", &self.directory, source);
        fs::create_dir_all(&self.directory).map_err(failed)?;
        match self.what {
            GeneratedKind::Man => manual(&self.directory),
            GeneratedKind::Completions => completions(&self.directory),
        }
        .map_err(failed)?;
        Ok(Exit::SUCCESS)
    }
}

fn completions(directory: &Path) -> io::Result<()> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut Cli::command(), "pyxis", directory)?;
    }
    Ok(())
}

fn manual(directory: &Path) -> io::Result<()> {
    let mut command = Cli::command();
    command.build();
    // No date: the same sources give the same bytes.
    let render = |command: Command, name: &str| {
        let man = Man::new(command).title(name.to_uppercase()).date("").manual("pyxis");
        let mut text = Vec::new();
        man.render(&mut text)?;
        fs::write(directory.join(format!("{name}.1")), text)
    };
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = format!("pyxis-{}", verb.get_name());
        if verb.get_name() != "help" {
            render(
                verb.clone().display_name(name.clone()).version(env!("CARGO_PKG_VERSION")),
                &name,
            )?;
        }
    }
    render(command, "pyxis")?;
    fs::write(directory.join("pyxis.toml.5"), settings())
}

/// The manual page of the configuration file.
fn settings() -> String {
    let mut page = Roff::new();
    page.control("TH", ["PYXIS.TOML", "5"]);
    page.control("SH", ["NAME"]);
    page.text([roman("pyxis.toml - settings of the pyxis container runtime")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([
        italic(FILE),
        roman(
            " sets what neither the command line nor the environment sets. It need not exist. \
             What it does not set either, enroot's configuration may set: enroot.conf and \
             enroot.conf.d/*.conf in the directory that sysconf names, by enroot's rules. \
             In paths, %u stands for the user's uid, %g for the gid, %U for the name, %h for the \
             home directory and %% for a percent sign. ",
        ),
        bold("pyxis config"),
        roman(" shows what is in effect and where it comes from."),
    ]);
    let mut section = "";
    for setting in SETTINGS {
        if setting.section != section {
            section = setting.section;
            page.control("SH", [format!("[{section}]").as_str()]);
        }
        page.control("TP", []);
        page.text([bold(setting.key), roman(" = "), italic(form(setting.kind))]);
        page.text([roman(format!(
            "{} Default: {}. Environment: {}.",
            setting.about,
            setting.default_in_words(),
            setting.variable
        ))]);
    }
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("pyxis"), roman("(1)")]);
    page.render()
}

fn form(kind: Kind) -> &'static str {
    match kind {
        Kind::Path => "\"/path\"",
        Kind::Paths => "[\"/path\", ...]",
        Kind::Bool => "true or false",
        Kind::Number | Kind::Seconds => "number",
        Kind::Size => "\"200G\"",
        Kind::Text => "\"text\"",
        Kind::Policy => "\"always\"",
        Kind::Packing => "\"balanced\"",
        Kind::Words => "[\"word\", ...]",
        Kind::Hosts => "[\"host:port\", ...]",
        Kind::Mirrors => "{ \"host:port\" = [\"host:port/path\", ...] }",
    }
}
