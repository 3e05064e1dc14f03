//! plugstack.conf as Slurm reads it: lines `required|optional FILE [ARGUMENT...]` and
//! `include PATTERN`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use linux::bounded::CONFIGURATION;

use super::conf::SlurmConf;
use super::report::Report;
use crate::owner::{self, Unread};
use crate::shell::quoted;

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

/// Files read, and the plugins they name.
#[derive(Debug, Default)]
pub(crate) struct Plugstack {
    /// The first is Slurm's PlugStackConfig.
    pub(crate) files: Vec<PathBuf>,
    pub(crate) lines: Vec<Line>,
    /// Whether some of the files could not be read, or were not believed.
    pub(crate) unread: bool,
}

/// Follows the configuration from its first file, and reports what cannot be read in it.
pub(crate) fn read(conf: &SlurmConf, report: &mut Report) -> Plugstack {
    let mut found = Plugstack::default();
    let first = conf.plugstack();
    if conf.is_unread() {
        // It may name another.
        found.unread = true;
    } else if owner::real(&first).is_none() {
        report.error(
            "plugstack-missing",
            format!("{} does not exist: Slurm loads no plugin of SPANK", first.display()),
            format!(
                "echo {} > {}",
                quoted(format!("include {}/plugstack.conf.d/*.conf", conf.dir().display())),
                quoted(&first)
            ),
        );
        return found;
    }
    if owner::real(&first).is_some() {
        report.plugstack.get_or_insert_with(|| first.clone());
        found.file(&first, 0, report);
    }
    found
}

impl Plugstack {
    #[expect(clippy::too_many_lines, reason = "one look after the other at a file of lines")]
    fn file(&mut self, path: &Path, depth: usize, report: &mut Report) {
        if depth > DEEPEST {
            report.error(
                "plugstack-loop",
                format!("{} includes itself", path.display()),
                format!("sed -i '/^include/d' {}", quoted(path)),
            );
            return;
        }
        let bytes = match owner::read(path, CONFIGURATION) {
            Ok(bytes) => bytes,
            // Said with all other files that others can change.
            Err(Unread::Untrusted(_)) => {
                self.files.push(path.into());
                self.unread = true;
                return;
            }
            Err(Unread::File(error)) if error.kind() == ErrorKind::NotFound => {
                report.error(
                    "plugstack-dangling",
                    format!("{} is a link to a file that is gone", path.display()),
                    format!("rm {}", quoted(path)),
                );
                return;
            }
            Err(Unread::File(error)) => {
                self.unread = true;
                report.error(
                    "plugstack-unreadable",
                    format!("{} cannot be read: {error}", path.display()),
                    match error.kind() {
                        ErrorKind::PermissionDenied => format!("chmod a+r {}", quoted(path)),
                        _ => format!("ls -ld {}", quoted(path)),
                    },
                );
                return;
            }
        };
        self.files.push(path.into());
        for (index, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let (kind, argument) = (words.next(), words.next());
            match (kind, argument) {
                (None, _) => {}
                (Some("include"), Some(pattern)) => self.include(path, pattern, depth, report),
                (Some(kind @ ("required" | "optional")), Some(plugin)) => self.lines.push(Line {
                    file: path.into(),
                    number: index + 1,
                    required: kind == "required",
                    plugin: plugin.into(),
                    arguments: words.map(str::to_owned).collect(),
                }),
                _ => report.warning(
                    "plugstack-syntax",
                    format!(
                        "{}:{}: Slurm ignores this line: {:?} (it takes required, optional or \
                         include, and a path)",
                        path.display(),
                        index + 1,
                        line.trim()
                    ),
                    format!("sed -i '{}d' {}", index + 1, quoted(path)),
                ),
            }
        }
    }

    /// A pattern that matches nothing is no error of Slurm's.
    fn include(&mut self, from: &Path, pattern: &str, depth: usize, report: &mut Report) {
        let pattern = from.parent().unwrap_or(Path::new("/")).join(pattern);
        for path in owner::glob(&pattern) {
            self.file(&path, depth + 1, report);
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
        let mut report = Report::default();
        let conf = SlurmConf::at(temp.path().join("slurm.conf"));
        let stack = read(&conf, &mut report);
        let lines: Vec<String> = stack.lines.iter().map(Line::text).collect();
        assert_eq!(
            lines,
            ["required /p/spank_pyxis.so runtime=pyxis pyxis_path=/bin/pyxis", "optional x.so"]
        );
        assert_eq!(stack.lines[0].argument("pyxis_path"), Some("/bin/pyxis"));
        assert_eq!(stack.files.len(), 3);
        assert_eq!(report.findings.len(), 1);
        assert!(report.findings[0].text.contains("plugstack.conf:4: Slurm ignores"));
    }

    #[test]
    fn a_file_that_includes_itself_ends() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("plugstack.conf"), "include plugstack.conf\n").unwrap();
        let mut report = Report::default();
        read(&SlurmConf::at(temp.path().join("slurm.conf")), &mut report);
        assert!(report.has("plugstack-loop"));
    }
}
