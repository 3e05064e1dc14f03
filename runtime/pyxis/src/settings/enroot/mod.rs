//! enroot's own configuration, `enroot.conf` and `enroot.conf.d/*.conf`, by enroot's rules: what a
//! node was told for enroot holds for us.
//!
//! A line is a name and a value, which are separated by blanks or `=`; the value is what a shell makes
//! of it. Who says something first is heard, and the environment before all. A line that means
//! nothing is remarked upon, and counts for itself only.

mod effect;
mod expand;
mod line;
mod shell;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use linux::bounded;
use linux::environ::Environ;

use super::layers::{Layer, Origin};
use super::places::{self, ENROOT_CONF as FILE, place};
use super::table::SETTINGS;
use super::user::User;
use super::value::{Kind, is_yes};
use super::variables as v;
use crate::owner;

pub use effect::{Effect, effect_of};
use line::{Line, LineProblem};

/// More drop-ins than any node has.
const DROP_INS: usize = 1000;

/// What a node's configuration of enroot says.
#[derive(Clone, Debug, Default)]
pub struct EnrootConf {
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    /// What holds of them: `ENROOT_*`, `NVIDIA_*`, `MELLANOX_*`, proxies and certificates. What the
    /// environment says of the same is not looked at here.
    pub variables: BTreeMap<OsString, Assignment>,
    /// Lines and files that mean nothing.
    pub remarks: Vec<Remark>,
    /// The first line that only a shell understands.
    pub for_shell: Option<(PathBuf, usize)>,
}

/// The value that a file gives a variable, and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// As a shell has it.
    pub value: OsString,
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

/// What cannot be understood or believed; it counts for itself only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; `None` for the whole file.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: String,
    /// Whether enroot passes over it without a word.
    pub passed_over: bool,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// Whether what needs a shell is given to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// As the calling user.
    Run,
    /// The files are those of a node's image, whose programs nobody is to run.
    Never,
}

impl EnrootConf {
    /// Reads what is in the directory that `ENROOT_SYSCONF_PATH` names, if there is something; else
    /// in the one that the site's file or nobody names.
    pub(super) fn load(
        environ: &Environ,
        site: Option<PathBuf>,
        user: &User,
        shell: Shell,
    ) -> EnrootConf {
        let is_there = |path: &PathBuf| {
            let file = path.join(FILE);
            file.exists() || file.with_extension("conf.d").exists()
        };
        if let Some(named) = place(environ, v::SYSCONF_PATH).filter(is_there) {
            let whose =
                if named.starts_with("/etc") { Trusted::Roots } else { Trusted::CallersToo };
            return EnrootConf::of_directory(&named, whose, environ, user, shell);
        }
        let directory = site.or_else(|| places::sysconf(environ)).unwrap_or_default();
        EnrootConf::of_directory(&directory, Trusted::Roots, environ, user, shell)
    }

    /// Reads what is in that directory.
    fn of_directory(
        directory: &Path,
        whose: Trusted,
        environ: &Environ,
        user: &User,
        shell: Shell,
    ) -> EnrootConf {
        let mut conf = EnrootConf::default();
        let mut lines = Vec::new();
        let first = directory.join(FILE);
        let drop_ins = drop_ins(&first.with_extension("conf.d"));
        for path in [first].into_iter().chain(drop_ins) {
            match read(&path, whose) {
                Ok(None) => {}
                Ok(Some(text)) => {
                    conf.split(&text, &path, &mut lines);
                    conf.files.push(path);
                }
                Err(problem) => conf.remark(&path, None, problem),
            }
        }
        conf.evaluate(lines, environ, user, shell);
        conf
    }

    /// What the text of a file at `path` says without a shell.
    pub fn parse(text: &[u8], path: &Path, environ: &Environ, user: &User) -> EnrootConf {
        let mut conf = EnrootConf { files: vec![path.to_owned()], ..EnrootConf::default() };
        let mut lines = Vec::new();
        conf.split(text, path, &mut lines);
        conf.evaluate(lines, environ, user, Shell::Never);
        conf
    }

    fn split(&mut self, text: &[u8], path: &Path, lines: &mut Vec<(PathBuf, usize, Line)>) {
        for (number, line) in line::split(text) {
            match line {
                Ok(line) => lines.push((path.to_owned(), number, line)),
                Err(LineProblem { problem, passed_over }) => {
                    let (path, line) = (path.to_owned(), Some(number));
                    self.remarks.push(Remark { path, line, problem, passed_over });
                }
            }
        }
    }

    fn remark(&mut self, path: &Path, line: Option<usize>, problem: String) {
        self.remarks.push(Remark { path: path.to_owned(), line, problem, passed_over: false });
    }

    /// Takes the lines in order, by ourselves as far as that goes: one shell does all the others.
    fn evaluate(
        &mut self,
        lines: Vec<(PathBuf, usize, Line)>,
        environ: &Environ,
        user: &User,
        shell: Shell,
    ) {
        let mut known = environ.clone();
        let mut left = lines.into_iter().peekable();
        while let Some((path, number, line)) =
            left.next_if(|(_, _, line)| expand::expand(&line.value, &known, user).is_some())
        {
            let value = expand::expand(&line.value, &known, user).unwrap_or_default();
            self.say(&mut known, path, number, line.name, value);
        }
        let left: Vec<_> = left.collect();
        let Some((path, number, _)) = left.first() else { return };
        self.for_shell = Some((path.clone(), *number));
        let words = left.iter().map(|(_, _, line)| (line.name.as_str(), line.value.as_slice()));
        let answers = match shell {
            Shell::Run => shell::evaluate(words, &known, shell::PATIENCE),
            Shell::Never => left.iter().map(|_| Err("it is for a shell".to_owned())).collect(),
        };
        for ((path, number, line), answer) in left.into_iter().zip(answers) {
            let problem = match answer {
                Ok(shell::Answer { value, complaint }) => {
                    self.say(&mut known, path.clone(), number, line.name, value);
                    complaint
                }
                Err(problem) => problem,
            };
            if !problem.is_empty() {
                self.remark(&path, Some(number), problem);
            }
        }
    }

    /// What is said first holds, and nothing is said by saying nothing.
    fn say(
        &mut self,
        known: &mut Environ,
        path: PathBuf,
        line: usize,
        name: String,
        value: Vec<u8>,
    ) {
        let (name, value) = (OsString::from(name), OsString::from_vec(value));
        if value.is_empty() || self.variables.contains_key(&name) {
            return;
        }
        if known.get(&name).is_none_or(|known| known.is_empty()) {
            known.insert(name.clone(), value.clone());
        }
        self.variables.insert(name, Assignment { value, path, line });
    }

    /// What it says of the settings in the table. A value that a setting does not take is remarked
    /// upon, and not said.
    pub(super) fn layer(&mut self) -> Layer {
        let mut layer = Layer::default();
        for (at, setting) in SETTINGS.iter().enumerate() {
            let Some(said) = self.variables.get(OsStr::new(setting.variable)) else { continue };
            // As enroot has it: what is off is as if it were not set.
            if setting.kind != Kind::Bool && !is_yes(&said.value) {
                continue;
            }
            match setting.kind.read_text(&said.value) {
                Ok(value) => {
                    layer.set(at, value, Origin::File { path: said.path.clone(), line: said.line });
                }
                Err(problem) => {
                    let (path, line) = (said.path.clone(), said.line);
                    let problem = format!("{}: {problem}", setting.variable);
                    self.variables.remove(OsStr::new(setting.variable));
                    self.remark(&path, Some(line), problem);
                }
            }
        }
        layer
    }

    /// Adds to an environment what it does not say itself; returns the names.
    pub(super) fn complete(&self, environ: &mut Environ) -> BTreeSet<OsString> {
        let mut added = BTreeSet::new();
        for (name, said) in &self.variables {
            let value = environ.entry(name.clone()).or_default();
            if value.is_empty() {
                value.clone_from(&said.value);
                added.insert(name.clone());
            }
        }
        added
    }
}

/// The files of a drop-in directory, in the order in which a shell lists them.
fn drop_ins(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name()).filter(|name| {
        let name = name.as_bytes();
        name.ends_with(b".conf") && !name.starts_with(b".")
    });
    let mut names: Vec<OsString> = names.take(DROP_INS).collect();
    names.sort();
    names.into_iter().map(|name| directory.join(name)).collect()
}

/// Who may own a file that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trusted {
    Roots,
    /// Those of the caller as well, who has named the place.
    CallersToo,
}

/// The text of a file that nobody else can change, all the way; `None` if there is none.
fn read(path: &Path, whose: Trusted) -> Result<Option<Vec<u8>>, String> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("it is not believed: {error}")),
        Ok(_) => {}
    }
    let fault = match whose {
        Trusted::Roots => owner::roots(path),
        Trusted::CallersToo => owner::configured(path).into_iter().next(),
    };
    if let Some(fault) = fault {
        return Err(format!("it is not believed: {fault}"));
    }
    let text = bounded::read(path, bounded::CONFIGURATION);
    text.map(Some).map_err(|error| format!("it cannot be read: {error}"))
}

#[cfg(test)]
mod tests;
