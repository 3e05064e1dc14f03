//! The lines of plugstack.conf that are about pyxis: how many, how, and what each loads in which
//! Slurm.

use std::path::{Path, PathBuf};

use super::builds::{self, Build, Choice};
use super::file::{Plugin, PluginFileError, dotted, look};
use super::report::{LineSeen, Report};
use super::slurm::Slurm;
use crate::shell::quoted;
use crate::slurm::plugstack::{Line, Plugstack};

/// A line about pyxis.
#[derive(Debug)]
pub(super) struct PyxisLine {
    pub(super) line: Line,
    pub(super) path: PathBuf,
    pub(super) plugin: Result<Plugin, PluginFileError>,
}

impl PyxisLine {
    /// Whether it is this pyxis that it loads.
    pub(super) fn ours(&self) -> bool {
        matches!(self.plugin, Ok(Plugin::Loader | Plugin::Build(_)))
    }
}

/// Those that name pyxis, or a file that is one.
pub(super) fn of_pyxis(stack: &Plugstack, directories: &[PathBuf]) -> Vec<PyxisLine> {
    let lines = stack.lines.iter().map(|line| {
        let path = line.path(directories);
        let plugin = look(&path);
        PyxisLine { line: line.clone(), path, plugin }
    });
    lines
        .filter(|line| {
            let named = line
                .line
                .plugin
                .file_name()
                .is_some_and(|name| name.to_string_lossy().contains("pyxis"));
            named || line.ours() || matches!(line.plugin, Ok(Plugin::Original(_)))
        })
        .collect()
}

/// Checks them all.
pub(super) fn check(lines: &[PyxisLine], slurms: &[Slurm], stack: &Plugstack, report: &mut Report) {
    // Without a file, or one that is not believed, another check has found something.
    let first = stack.files.first().filter(|_| lines.is_empty() && !stack.unread);
    if let Some(first) = first {
        report.error(
            "line-missing",
            format!(
                "{} and what it includes have no line for pyxis: Slurm does not load it",
                first.display()
            ),
            format!("echo 'include {}' >> {}", shipped().display(), quoted(first)),
        );
    }
    if let [first, more @ ..] = lines {
        for line in more {
            report.error(
                "line-twice",
                format!(
                    "{} loads pyxis a second time, {} does so already",
                    line.line.place(),
                    first.line.place()
                ),
                format!("sed -i '{}d' {}", line.line.number, quoted(&line.line.file)),
            );
        }
    }
    for line in lines {
        one(line, slurms, report);
    }
}

/// The file with our line: the package's, or that of `make install`.
fn shipped() -> &'static Path {
    let places =
        ["/usr/share/pyxis/pyxis.conf", "/usr/local/share/pyxis/pyxis.conf"].map(Path::new);
    places.into_iter().find(|path| path.exists()).unwrap_or(places[0])
}

fn one(line: &PyxisLine, slurms: &[Slurm], report: &mut Report) {
    let place = line.line.place();
    if line.line.required {
        report.ok("line", format!("{place} says required"));
    } else {
        report.warning(
            "line-optional",
            format!("{place} says optional: a plugin that does not load would leave programs running on the host"),
            format!("sed -i '{}s/optional/required/' {}", line.line.number, quoted(&line.line.file)),
        );
    }
    let loads = match &line.plugin {
        Ok(Plugin::Loader) => through_loader(line, slurms, report),
        Ok(Plugin::Build(stamp)) => slurms
            .iter()
            .map(|slurm| {
                let fits = stamp.number >> 8 == slurm.number >> 8;
                if !fits {
                    let (version, path) = (slurm.version(), line.path.display());
                    report.error(
                        "build-other",
                        format!("{place}: {path} is for Slurm {}, installed is {version}, which refuses it", stamp.slurm),
                        format!("make SLURM={0} && make install, or the packages pyxis and pyxis-slurm{0}", slurm.release_name()),
                    );
                }
                (slurm.version(), if fits { path_and_version(&line.path, &stamp.version) } else { "refused".into() })
            })
            .collect(),
        Ok(Plugin::Original(number)) => {
            report.error(
                "line-original",
                format!("{place} loads the pyxis in C (for Slurm {}), not this one", dotted(*number)),
                format!("sed -i '{}d' {} (and remove nvslurm-plugin-pyxis)", line.line.number, quoted(&line.line.file)),
            );
            Vec::new()
        }
        Ok(Plugin::Other { kind, .. }) => {
            report.error(
                "line-file",
                format!("{place}: {} is no pyxis but a plugin of the kind {kind}", line.path.display()),
                "install the package pyxis again",
            );
            Vec::new()
        }
        Err(error) => {
            report.error(
                "line-file",
                format!("{place}: {} {error}", line.path.display()),
                match error {
                    PluginFileError::Read(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        "install the package pyxis (or make install), or correct the path".to_owned()
                    }
                    PluginFileError::Read(_) => format!("chmod a+r {}", quoted(&line.path)),
                    _ => "install the package pyxis (or make install) again".to_owned(),
                },
            );
            Vec::new()
        }
    };
    report.line(LineSeen { place, text: line.line.text(), loads });
}

fn path_and_version(path: &Path, version: &str) -> String {
    format!("{} (pyxis {version})", path.display())
}

/// What the loader opens in each Slurm.
fn through_loader(
    line: &PyxisLine,
    slurms: &[Slurm],
    report: &mut Report,
) -> Vec<(String, String)> {
    let (directory, found) = builds::beside(&line.path);
    let mut loads = Vec::new();
    for slurm in slurms {
        let Some(release) = slurm.release() else { continue };
        let outcome = match builds::choose(&found, release.api) {
            Choice::Opens(Build { path, stamp, .. }) => {
                let version = stamp.as_ref().map_or("?", |stamp| &stamp.version);
                report.ok("build", format!("Slurm {} opens {}", slurm.version(), path.display()));
                path_and_version(path, version)
            }
            Choice::Refuses(build, why) => {
                report.error(
                    "build-refused",
                    format!(
                        "Slurm {}: the loader refuses {}: {why}",
                        slurm.version(),
                        build.path.display()
                    ),
                    why.mend(),
                );
                format!("refused: {why}")
            }
            Choice::Nothing => {
                let names: Vec<&str> = found.iter().map(|build| build.name.as_str()).collect();
                let installed = if names.is_empty() { "none".into() } else { names.join(" ") };
                report.error(
                    "build-missing",
                    format!(
                        "no build for Slurm {} in {}; installed: {installed}",
                        release.name,
                        directory.display()
                    ),
                    format!(
                        "apt-get install pyxis-slurm{0}, or dnf install pyxis-slurm{0}",
                        release.name
                    ),
                );
                "no build".to_owned()
            }
        };
        loads.push((slurm.version(), outcome));
    }
    broken(&found, report);
    loads
}

/// Builds for other releases that would be refused when their turn comes.
fn broken(found: &[Build], report: &mut Report) {
    let version = env!("CARGO_PKG_VERSION");
    for build in found {
        match &build.stamp {
            Err(error) => report.warning(
                "build-broken",
                format!("{} {error}", build.path.display()),
                format!(
                    "install the package {} again",
                    quoted(format!("pyxis-slurm{}", build.name))
                ),
            ),
            Ok(stamp) if stamp.version != version => report.warning(
                "build-stale",
                format!(
                    "{} is of pyxis {}, this is {version}",
                    build.path.display(),
                    stamp.version
                ),
                format!("upgrade the package {}", quoted(format!("pyxis-slurm{}", stamp.slurm))),
            ),
            Ok(stamp) if stamp.slurm != build.name => report.warning(
                "build-misplaced",
                format!(
                    "{} is for Slurm {}, whatever its directory says",
                    build.path.display(),
                    stamp.slurm
                ),
                format!("rm -r {}", quoted(build.path.parent().unwrap_or(&build.path))),
            ),
            Ok(_) => {}
        }
    }
}
