//! Which Slurms are installed: programs, the libraries they are linked to and the release of the
//! plugins beside those, all read from files. (`srun --version` wants a configuration first, and a
//! daemon's word would be about the one that runs.)

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use slurm_releases::Release;

use super::file::{Plugin, dotted, look};
use super::report::{Report, SlurmSeen};
use crate::owner;
use crate::slurm::programs::{client_directories, library_of};

/// Programs that load plugins of SPANK.
const PROGRAMS: [&str; 5] = ["slurmd", "slurmstepd", "srun", "sbatch", "salloc"];
/// More files than are beside any Slurm's plugins.
const MOST: usize = 2000;

/// One installed Slurm.
#[derive(Debug, Clone)]
pub(super) struct Slurm {
    pub(super) programs: Vec<PathBuf>,
    /// Where its plugins are.
    pub(super) plugins: PathBuf,
    /// SLURM_VERSION_NUMBER of those plugins.
    pub(super) number: u32,
}

impl Slurm {
    pub(super) fn version(&self) -> String {
        dotted(self.number)
    }

    pub(super) fn release(&self) -> Option<&'static Release> {
        Release::of_number(self.number)
    }

    /// `24.11`, known or not.
    pub(super) fn release_name(&self) -> String {
        slurm_releases::header::release_name(self.number)
    }

    /// `/usr`, from `/usr/bin/srun`.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.programs.iter().filter_map(|program| Some(program.parent()?.parent()?.into()))
    }

    /// Whether a program is one of its own.
    pub(super) fn has(&self, program: &Path) -> bool {
        self.programs.iter().any(|own| owner::real(own).as_deref() == Some(program))
    }

    pub(super) fn program(&self, name: &str) -> Option<&PathBuf> {
        self.programs.iter().find(|program| program.file_name().is_some_and(|file| file == name))
    }
}

/// Finds them: in PATH, the usual places, below the prefixes named, and beside a running daemon.
pub(super) fn find(prefixes: &[PathBuf], running: &[PathBuf], report: &mut Report) -> Vec<Slurm> {
    let mut found: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    let mut seen = Vec::new();
    for directory in directories(prefixes, running) {
        for name in PROGRAMS {
            let program = directory.join(name);
            // Debian's are links to links.
            let Some(real) = owner::real(&program) else { continue };
            if seen.contains(&real) {
                continue;
            }
            if let Some(library) = believed(&program, report).then(|| library_of(&real)).flatten() {
                if believed(&library, report) {
                    found.entry(library).or_default().push(program);
                }
            }
            seen.push(real);
        }
    }
    let slurms: Vec<Slurm> = found
        .into_iter()
        .filter_map(|(plugins, programs)| {
            let number = release_of(&plugins, report)?;
            Some(Slurm { programs, plugins, number })
        })
        .collect();
    check(&slurms, report);
    slurms
}

#[expect(clippy::disallowed_methods, reason = "the doctor looks where Slurm would")]
fn directories(prefixes: &[PathBuf], running: &[PathBuf]) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = Vec::new();
    for prefix in prefixes {
        directories.extend([prefix.join("sbin"), prefix.join("bin")]);
    }
    directories.extend(running.iter().filter_map(|exe| exe.parent().map(Path::to_path_buf)));
    directories.extend(client_directories(env::var_os("PATH").as_deref()));
    directories
}

/// Root goes by no Slurm that a user could have put there.
fn believed(path: &Path, report: &mut Report) -> bool {
    match owner::fault(path).filter(|_| geteuid().is_root()) {
        None => true,
        Some(fault) => {
            report.error(
                "slurm-untrusted",
                format!(
                    "{}: {fault}: whoever that is can have Slurm's daemons do anything",
                    path.display()
                ),
                fault.mend(),
            );
            false
        }
    }
}

fn check(slurms: &[Slurm], report: &mut Report) {
    if slurms.is_empty() && !report.has("slurm-untrusted") {
        report.error(
            "slurm-missing",
            "no Slurm found: neither slurmd nor srun is in PATH or the usual places",
            "pyxis doctor --slurm /opt/slurm/24.11",
        );
    }
    let newest = slurm_releases::RELEASES.last();
    for slurm in slurms {
        report.slurm.push(SlurmSeen {
            version: slurm.version(),
            programs: slurm.programs.clone(),
            plugins: slurm.plugins.clone(),
        });
        if slurm.release().is_none() {
            let newest = newest.map_or("", |release| release.name);
            report.error(
                "slurm-unknown",
                format!(
                    "Slurm {} in {} is no release that this pyxis knows (the newest is {newest})",
                    slurm.version(),
                    slurm.plugins.display()
                ),
                "install a newer pyxis, or build from source: \
                 build-matrix build --slurm PREFIX",
            );
        }
    }
}

/// The release of the plugins in a directory; more than one is a fault.
fn release_of(directory: &Path, report: &mut Report) -> Option<u32> {
    let mut numbers: BTreeMap<u32, Vec<PathBuf>> = BTreeMap::new();
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).ok()?.flatten().take(MOST).map(|entry| entry.path()).collect();
    files.sort();
    for path in files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "so")) {
        match look(&path) {
            Ok(Plugin::Other { kind, number }) if kind != "spank" => {
                numbers.entry(number >> 8).or_default().push(path);
            }
            _ => {}
        }
    }
    let most = numbers.iter().max_by_key(|(_, files)| files.len()).map(|(number, _)| *number)?;
    for (number, files) in numbers.iter().filter(|(number, _)| **number != most) {
        report.error(
            "slurm-mixed",
            format!(
                "{} is of Slurm {}, the plugins beside it are of {}: an upgrade that did not end",
                files.first().map(|file| file.display().to_string()).unwrap_or_default(),
                slurm_releases::header::release_name(number << 8),
                slurm_releases::header::release_name(most << 8),
            ),
            "finish the upgrade: apt-get -f install, or dnf distro-sync 'slurm*'",
        );
    }
    let first = numbers.get(&most)?.first()?;
    match look(first) {
        Ok(Plugin::Other { number, .. }) => Some(number),
        _ => None,
    }
}
