//! Slurm's commands for containers, where the site wants them there: which they are, and what they read.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use containers::start::SlurmCommands;
use linux::environ::Environ;
use linux::path::normalized;

use crate::doctor::builds::INSTALLED;
use crate::owner;
use crate::settings::variables;
use crate::slurm::conf::SlurmConf;
use crate::slurm::plugstack;
use crate::slurm::programs::{client_directories, library_of};

/// What a user runs.
const COMMANDS: [&str; 18] = [
    "srun", "sbatch", "salloc", "sattach", "sbcast", "scancel", "scontrol", "squeue", "sinfo",
    "sacct", "sacctmgr", "sstat", "sprio", "sshare", "sreport", "sdiag", "strigger", "scrontab",
];
/// Directories of configuration that have much else in them: only Slurm's files are taken from there.
const SHARED: [&str; 5] = ["/", "/etc", "/usr/etc", "/usr/local/etc", "/opt/etc"];
const CONFIGURATION: [&str; 10] = [
    "slurm.conf",
    "plugstack.conf",
    "plugstack.conf.d",
    "topology.conf",
    "topology.yaml",
    "gres.conf",
    "cgroup.conf",
    "acct_gather.conf",
    "job_container.conf",
    "cli_filter.lua",
];
/// Where munged listens, as libmunge is compiled.
const MUNGE: [&str; 2] = ["/run/munge", "/var/run/munge"];
/// Where slurmd keeps what it gets of slurmctld, and slurmd or sackd listens for who wants a credential.
const RUN: &str = "/run/slurm";
const OF_RUN: [&str; 2] = ["conf", "sack.socket"];

/// There is none to be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "slurm_commands is set ([container] in {file}, or {}), and there is no {missing} in PATH or the usual places of this node",
    variables::SLURM_COMMANDS,
    file = crate::settings::FILE
)]
pub struct NoCommands {
    missing: &'static str,
}

/// Finds them, with these variables.
///
/// # Errors
/// [`NoCommands`].
pub fn find(host: &Environ) -> Result<SlurmCommands, NoCommands> {
    let variable = |name: &str| host.get(OsStr::new(name)).filter(|value| !value.is_empty());
    let release = variable(variables::SLURM_RELEASE).and_then(|release| release.to_str());
    let directory = directory(variable("PATH").map(|path| &**path), release);
    let directory = directory.ok_or(NoCommands { missing: COMMANDS[0] })?;
    let named = COMMANDS.iter().map(|name| directory.join(name));
    let programs: Vec<(PathBuf, PathBuf)> =
        named.filter_map(|at| owner::real(&at).map(|real| (at, real))).collect();
    let library = programs.first().and_then(|(_, real)| library_of(real));
    let of_environment = variable("SLURM_CONF").map(PathBuf::from);
    let prefix = directory.parent().map(Path::to_owned);
    let conf = SlurmConf::find(of_environment.as_deref(), None, prefix.as_slice());
    let conf = conf.filter(|conf| !conf.files.is_empty());
    let conf = conf.ok_or(NoCommands { missing: "slurm.conf" })?;
    let mut places = Places::default();
    places.add_configuration(&conf);
    let plugins: Vec<PathBuf> = conf.plugin_dirs().chain(library.clone()).collect();
    places.add_plugstack(&conf, &plugins);
    plugins.iter().for_each(|directory| places.add(directory));
    match conf.munge_socket() {
        Some(socket) => places.add(socket.parent().unwrap_or(&socket)),
        None => MUNGE.iter().for_each(|place| places.add(Path::new(place))),
    }
    if OF_RUN.iter().any(|name| Path::new(RUN).join(name).exists()) {
        places.add(Path::new(RUN));
        OF_RUN.iter().for_each(|name| places.add(&Path::new(RUN).join(name)));
    }
    Ok(SlurmCommands {
        programs,
        libraries: library.into_iter().collect(),
        places: places.0,
        users: conf.users().map(str::to_owned).collect(),
        configuration: of_environment,
        as_caller: std::env::current_exe().ok(),
    })
}

/// Where this node's Slurm has them: of several the one of the release that runs.
fn directory(path: Option<&OsStr>, release: Option<&str>) -> Option<PathBuf> {
    let has = |directory: &PathBuf| owner::real(&directory.join(COMMANDS[0])).is_some();
    let found: Vec<PathBuf> = client_directories(path).into_iter().filter(has).collect();
    let of_release = |directory: &&PathBuf| {
        release.is_some_and(|release| directory.to_string_lossy().contains(release))
    };
    found.iter().find(of_release).or(found.first()).cloned()
}

/// What is mounted where it is on the node, each once.
#[derive(Default)]
struct Places(Vec<PathBuf>);

impl Places {
    /// What is there, unless a directory above has it; and what a link in that leads to, which is nobody's otherwise.
    fn add(&mut self, path: &Path) {
        if !path.exists() {
            return;
        }
        let Some(known) = self.0.iter().find(|known| path.starts_with(known)) else {
            // It would hide what is below it.
            let all = std::mem::take(&mut self.0).into_iter();
            let (below, others): (Vec<_>, Vec<_>) = all.partition(|known| known.starts_with(path));
            self.0 = others;
            self.0.push(path.to_owned());
            return below.iter().for_each(|path| self.add(path));
        };
        if let Some(target) = first_link(known, path) {
            self.add(&target);
        }
    }

    fn add_configuration(&mut self, conf: &SlurmConf) {
        let directory = conf.dir();
        if !SHARED.iter().any(|shared| directory == Path::new(shared)) {
            self.add(directory);
        }
        CONFIGURATION.iter().for_each(|name| self.add(&directory.join(name)));
        conf.files.iter().for_each(|file| self.add(file));
    }

    /// Files of plugstack.conf, the plugins that they name, and the builds that our loader opens.
    fn add_plugstack(&mut self, conf: &SlurmConf, directories: &[PathBuf]) {
        let stack = plugstack::read(conf);
        stack.files.iter().for_each(|file| self.add(file));
        for line in &stack.lines {
            let plugin = line.path(directories);
            self.add(&plugin);
            if plugin.file_name() == Some(OsStr::new("spank_pyxis.so")) {
                let beside = plugin.parent().and_then(Path::parent).map(|lib| lib.join("pyxis"));
                beside.iter().for_each(|builds| self.add(builds));
                // For one that is a link, or a copy.
                INSTALLED.iter().for_each(|builds| self.add(Path::new(builds)));
            }
        }
    }
}

/// Where the first link below `known` leads on the way to `path`, with the rest of that.
fn first_link(known: &Path, path: &Path) -> Option<PathBuf> {
    let mut at = known.to_owned();
    let mut rest = path.strip_prefix(known).ok()?.components();
    while let Some(part) = rest.next() {
        let to = fs::read_link(at.join(part));
        if let Ok(to) = to {
            return Some(normalized(&at.join(to).join(rest.as_path())));
        }
        at.push(part);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// As slurmd makes `/run/slurm/conf` where slurmctld has the configuration.
    #[test]
    fn a_directory_takes_in_what_is_below_it_and_links_in_it_lead_somewhere() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        for directory in ["run/slurm", "spool/cache", "run/munge"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        fs::write(at("spool/cache/slurm.conf"), "").unwrap();
        symlink("../../spool/cache", at("run/slurm/conf")).unwrap();
        let mut places = Places::default();
        for name in ["run/slurm/conf", "run/slurm/conf/slurm.conf", "run/munge", "absent"] {
            places.add(&at(name));
        }
        assert_eq!(places.0, ["run/slurm/conf", "run/munge"].map(at));
        places.add(&at("run/slurm"));
        assert_eq!(places.0, ["run/munge", "run/slurm", "spool/cache"].map(at));
    }
}
