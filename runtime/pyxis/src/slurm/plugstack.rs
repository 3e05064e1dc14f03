//! plugstack.conf as Slurm reads it: lines `required|optional FILE [ARGUMENT...]` and
//! `include PATTERN`.

use std::io;
use std::path::{Path, PathBuf};

use linux::bounded::CONFIGURATION;

use super::conf::SlurmConf;
use crate::owner::{self, Unread};

/// Deeper than any site includes.
const DEEPEST: usize = 16;

/// A line that names a plugin.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) file: PathBuf,
    pub(crate) number: usize,
    pub(crate) required: bool,
    /// As written: it may be relative to Slurm's own directories of plugins.
    pub(crate) plugin: PathBuf,
    pub(crate) arguments: Vec<String>,
}

impl Line {
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.number)
    }

    /// As a person would write it.
    pub(crate) fn text(&self) -> String {
        let kind = if self.required { "required" } else { "optional" };
        let mut words = vec![kind.to_owned(), self.plugin.display().to_string()];
        words.extend(self.arguments.iter().cloned());
        words.join(" ")
    }

    /// The value of an argument; the last one counts.
    pub(crate) fn argument(&self, key: &str) -> Option<&str> {
        let pairs = self.arguments.iter().rev().filter_map(|word| word.split_once('='));
        pairs.filter(|(name, _)| *name == key).map(|(_, value)| value).next()
    }

    /// The file that Slurm opens; relative names are looked up in the directories of plugins.
    pub(crate) fn path(&self, directories: &[PathBuf]) -> PathBuf {
        let candidates = directories.iter().map(|directory| directory.join(&self.plugin));
        let mut found = candidates.filter(|path| owner::real(path).is_some());
        // Joining an absolute path gives that path.
        found.next().unwrap_or_else(|| self.plugin.clone())
    }
}

/// What is wrong with a file of it.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The first one does not exist.
    Missing(PathBuf),
    /// It includes itself.
    Loop(PathBuf),
    /// It is a link to a file that is gone.
    Dangling(PathBuf),
    /// It cannot be read.
    Unreadable(PathBuf, io::Error),
    /// A line with bytes of another system's editor, which Slurm takes for a part of a word.
    Foreign(PathBuf, usize),
    /// A line that Slurm ignores.
    Line(PathBuf, usize, String),
}

/// Files read, and the plugins they name.
#[derive(Debug, Default)]
pub(crate) struct Plugstack {
    /// The first is Slurm's PlugStackConfig.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) lines: Vec<Line>,
    /// Whether some of the files could not be read, or were not believed.
    pub(crate) unread: bool,
    /// In the order of reading.
    pub(crate) faults: Vec<Fault>,
}

/// Follows the configuration from its first file.
pub(crate) fn read(conf: &SlurmConf) -> Plugstack {
    let mut found = Plugstack::default();
    let first = conf.plugstack();
    // It may name another.
    found.unread = conf.is_unread();
    if owner::real(&first).is_some() {
        found.file(&first, 0);
    } else if !found.unread {
        found.faults.push(Fault::Missing(first));
    }
    found
}

impl Plugstack {
    fn file(&mut self, path: &Path, depth: usize) {
        if depth > DEEPEST {
            return self.faults.push(Fault::Loop(path.into()));
        }
        let bytes = match owner::read(path, CONFIGURATION) {
            Ok(bytes) => bytes,
            // Said with all other files that others can change.
            Err(Unread::Untrusted(_)) => {
                self.files.push(path.into());
                self.unread = true;
                return;
            }
            Err(Unread::File(error)) if error.kind() == io::ErrorKind::NotFound => {
                return self.faults.push(Fault::Dangling(path.into()));
            }
            Err(Unread::File(error)) => {
                self.unread = true;
                return self.faults.push(Fault::Unreadable(path.into(), error));
            }
        };
        self.files.push(path.into());
        let text = String::from_utf8_lossy(&bytes);
        let foreign = |line: &str| line.starts_with('\u{feff}') || line.ends_with('\r');
        if let Some(at) = text.split('\n').position(foreign) {
            self.faults.push(Fault::Foreign(path.into(), at + 1));
        }
        for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            self.line(path, number, line, depth);
        }
    }

    fn line(&mut self, path: &Path, number: usize, line: &str, depth: usize) {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (None, _) => {}
            (Some("include"), Some(pattern)) => self.include(path, pattern, depth),
            (Some(kind @ ("required" | "optional")), Some(plugin)) => self.lines.push(Line {
                file: path.into(),
                number,
                required: kind == "required",
                plugin: plugin.into(),
                arguments: words.map(str::to_owned).collect(),
            }),
            _ => self.faults.push(Fault::Line(path.into(), number, line.trim().to_owned())),
        }
    }

    /// A pattern that matches nothing is no error of Slurm's. Once there is a loop, nothing more is followed: two of them
    /// multiply.
    fn include(&mut self, from: &Path, pattern: &str, depth: usize) {
        let pattern = from.parent().unwrap_or(Path::new("/")).join(pattern);
        for path in owner::glob(&pattern) {
            if !self.faults.iter().any(|fault| matches!(fault, Fault::Loop(_))) {
                self.file(&path, depth + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn includes_comments_and_arguments() {
        let temp = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| fs::write(temp.path().join(name), text).unwrap();
        fs::create_dir(temp.path().join("d")).unwrap();
        file("plugstack.conf", "# nothing\n\ninclude d/*.conf # ours\nnonsense\n");
        file("d/b.conf", "optional x.so\n");
        file("d/a.conf", "required /p/spank_pyxis.so runtime=pyxis pyxis_path=/bin/pyxis\n");
        file("d/c.txt", "required y.so\n");
        let conf = SlurmConf::at(temp.path().join("slurm.conf"));
        let stack = read(&conf);
        let lines: Vec<String> = stack.lines.iter().map(Line::text).collect();
        assert_eq!(
            lines,
            ["required /p/spank_pyxis.so runtime=pyxis pyxis_path=/bin/pyxis", "optional x.so"]
        );
        assert_eq!(stack.lines[0].argument("pyxis_path"), Some("/bin/pyxis"));
        assert_eq!(stack.files.len(), 3);
        let [Fault::Line(file, 4, text)] = &stack.faults[..] else { panic!("{:?}", stack.faults) };
        assert_eq!((file, text.as_str()), (&temp.path().join("plugstack.conf"), "nonsense"));
    }

    /// It is said once for a file, and what the lines were to say is known all the same.
    #[test]
    fn what_slurm_takes_for_a_part_of_a_word_is_seen() {
        let temp = tempfile::tempdir().unwrap();
        let conf = SlurmConf::at(temp.path().join("slurm.conf"));
        for (text, at) in [("\u{feff}required x.so a=1\n", 1), ("#\nrequired x.so a=1\r\n\r\n", 2)]
        {
            fs::write(temp.path().join("plugstack.conf"), text).unwrap();
            let stack = read(&conf);
            let [Fault::Foreign(_, line)] = stack.faults[..] else { panic!("{:?}", stack.faults) };
            assert_eq!((line, stack.lines[0].text().as_str()), (at, "required x.so a=1"));
        }
    }

    #[test]
    fn a_file_that_includes_itself_ends() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("plugstack.conf"), "include plugstack.conf\n").unwrap();
        let stack = read(&SlurmConf::at(temp.path().join("slurm.conf")));
        assert!(matches!(stack.faults[..], [Fault::Loop(_)]), "{:?}", stack.faults);
    }

    /// As two files of a folder do that include all that is in it.
    #[test]
    fn files_that_include_each_other_end_as_well() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("d")).unwrap();
        for name in ["plugstack.conf", "d/a.conf", "d/b.conf", "d/c.conf"] {
            let all = temp.path().join("d/*.conf").display().to_string();
            fs::write(temp.path().join(name), format!("include {all}\ninclude {all}\n")).unwrap();
        }
        let stack = read(&SlurmConf::at(temp.path().join("slurm.conf")));
        assert!(matches!(stack.faults[..], [Fault::Loop(_)]), "{:?}", stack.faults);
    }
}
