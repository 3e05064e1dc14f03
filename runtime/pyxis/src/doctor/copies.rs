//! Copies of pyxis that no line loads: left by `make install`, an older package or the pyxis in C.

use std::path::{Path, PathBuf};

use super::file::{Plugin, look};
use super::lines::PyxisLine;
use super::packages::Package;
use super::report::Report;
use super::slurm::Slurm;
use crate::owner;
use crate::shell::quoted;

/// Where copies of the plugin have been seen.
const PATTERNS: [&str; 11] = [
    "/usr/lib/slurm*/spank_pyxis.so",
    "/usr/lib64/slurm*/spank_pyxis.so",
    "/usr/lib/*/slurm*/spank_pyxis.so",
    "/usr/local/lib*/slurm/spank_pyxis.so",
    "/usr/local/lib/*/slurm*/spank_pyxis.so",
    "/opt/slurm/lib*/slurm/spank_pyxis.so",
    "/opt/slurm/*/lib*/slurm/spank_pyxis.so",
    "/opt/pyxis/spank_pyxis.so",
    "/opt/aws/pcs/scheduler/*/lib*/slurm/spank_pyxis.so",
    "/cm/shared/apps/slurm/*/lib*/slurm/spank_pyxis.so",
    "/cm/local/apps/slurm/*/lib*/slurm/spank_pyxis.so",
];

/// Those that there are, in the usual places.
pub(super) fn usual() -> impl Iterator<Item = PathBuf> {
    PATTERNS.iter().flat_map(|pattern| owner::glob(Path::new(pattern)))
}

/// Reports them.
pub(super) fn check(lines: &[PyxisLine], slurms: &[Slurm], report: &mut Report) {
    let beside = slurms.iter().map(|slurm| slurm.plugins.join("spank_pyxis.so"));
    let mut found: Vec<PathBuf> =
        usual().chain(beside).filter_map(|path| owner::real(&path)).collect();
    found.sort();
    found.dedup();
    let used: Vec<PathBuf> = lines.iter().filter_map(|line| owner::real(&line.path)).collect();
    let unused: Vec<PathBuf> = found.into_iter().filter(|path| !used.contains(path)).collect();
    for path in &unused {
        let what = match look(path) {
            Ok(Plugin::Original(_)) => {
                report.warning(
                    "copy-original",
                    format!(
                        "{} is the pyxis in C; no line loads it, but an old configuration may",
                        path.display()
                    ),
                    removal(path, Package::of(path).as_ref()),
                );
                continue;
            }
            // With no line there is another fault, and this is what the line should load.
            Ok(Plugin::Build(_) | Plugin::Loader) if !lines.iter().any(PyxisLine::ours) => continue,
            Ok(Plugin::Build(stamp)) => {
                format!("pyxis {} for Slurm {}", stamp.version, stamp.slurm)
            }
            Ok(Plugin::Loader) => "a loader of pyxis".to_owned(),
            _ => "no plugin of pyxis".to_owned(),
        };
        let package = Package::of(path);
        let whose = package.as_ref().map(|package| format!(", of package {}", package.name));
        report.warning(
            "copy-unused",
            format!("{} is {what}{} that no line loads", path.display(), whose.unwrap_or_default()),
            mend(path, package.as_ref(), lines),
        );
    }
    if unused.is_empty() {
        report.ok("copy", "no copy of the plugin but what is loaded");
    }
}

/// The package has the command as well, which the line may want: its plugin takes the other's place, and
/// follows upgrades there. What no package has installed is removed.
fn mend(path: &Path, package: Option<&Package>, lines: &[PyxisLine]) -> String {
    let ours = lines.iter().find(|line| line.ours());
    match (ours, package) {
        (Some(line), Some(package)) if matches!(look(path), Ok(Plugin::Loader)) => {
            // A plugin that a package has brought is not to be written over.
            match Package::of(&line.path) {
                None => format!("ln -sf {} {}", quoted(path), quoted(&line.path)),
                Some(_) => package.removal(),
            }
        }
        _ => removal(path, package),
    }
}

fn removal(path: &Path, package: Option<&Package>) -> String {
    package.map_or_else(|| format!("rm {}", quoted(path)), Package::removal)
}
