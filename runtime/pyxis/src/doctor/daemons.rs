//! Slurm's daemons that run on this node.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::report::Report;

/// A running slurmd.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) pid: u32,
    /// Its program, as it was called when it started.
    pub(super) program: PathBuf,
    /// The `-f` of its command line, or SLURM_CONF of its environment.
    pub(super) conf: Option<PathBuf>,
    /// Files it uses that are no longer there.
    replaced: Option<String>,
}

/// The slurmds that run; only root sees what they have opened.
pub(super) fn find() -> Vec<Daemon> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(daemon).collect()
}

fn daemon(pid: u32) -> Option<Daemon> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    if name.trim_end() != "slurmd" {
        return None;
    }
    // One in another mount namespace, a container's or a test's, is not this node's.
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    if namespace(&pid.to_string())? != namespace("self")? {
        return None;
    }
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let program = program.to_str()?.trim_end_matches(" (deleted)").into();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let mut deleted = maps.lines().filter_map(|line| line.strip_suffix(" (deleted)"));
    let replaced = deleted
        .find(|line| line.contains("/slurmd") || line.contains("libslurm"))
        .and_then(|line| line.find('/').map(|at| line[at..].to_owned()));
    Some(Daemon { pid, program, conf: conf_of(pid), replaced })
}

fn conf_of(pid: u32) -> Option<PathBuf> {
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<&[u8]> = words.split(|byte| *byte == 0).collect();
    let path = |bytes: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
    if let Some(at) = words.iter().position(|word| *word == b"-f") {
        return words.get(at + 1).map(|word| path(word));
    }
    let variables = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = variables.split(|byte| *byte == 0);
    variables.find_map(|variable| variable.strip_prefix(b"SLURM_CONF=")).map(path)
}

/// Reports those that must be started again.
pub(super) fn check(daemons: &[Daemon], report: &mut Report) {
    for daemon in daemons {
        match &daemon.replaced {
            Some(file) => report.error(
                "daemon-old",
                format!(
                    "slurmd (process {}) still runs {file} of before an upgrade; the slurmstepd it \
                     starts is of after it",
                    daemon.pid
                ),
                "systemctl restart slurmd",
            ),
            None => report.ok("daemon", format!("slurmd runs (process {})", daemon.pid)),
        }
    }
}
