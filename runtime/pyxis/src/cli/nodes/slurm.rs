//! Slurm's commands, as this process's user has them: `srun`, `sbcast`, `salloc` and `scontrol`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hygiene::unsecure;
use linux::environ::Environ;
use linux::sys;
use nix::sys::signal::Signal;
use pyxis::settings::variables as v;

use super::error::NodesError;

/// What of the environment is about another step or another program than the one that is run.
const OTHERS: [&[u8]; 7] =
    [b"SLURM_", b"SLURMD_", b"SRUN_", b"_SLURM_", b"SPANK_", b"PMI", b"PYXIS_CONTAINER_"];
/// What says where Slurm is.
const KEPT: [&str; 2] = ["SLURM_CONF", "SLURM_JWT"];
/// What the plugin in srun limits its own question by.
const OF_PLUGIN: [&str; 3] = [v::CONNECT_TIMEOUT, v::TRANSFER_TIMEOUT, v::TRANSFER_RETRIES];

/// An allocation, by its job's number.
#[derive(Clone, Debug)]
pub(super) struct Job {
    id: String,
    not_handed_on: Vec<OsString>,
}

impl Job {
    /// The one that this process is in.
    pub(super) fn of(environ: &Environ) -> Option<Job> {
        let id = variable(environ, "SLURM_JOB_ID")?;
        let not_handed_on = environ.keys().filter(|name| is_others(name)).cloned().collect();
        Some(Job { id, not_handed_on })
    }

    /// srun of this command with these words, one task on each of the nodes.
    ///
    /// What runs there shares whatever the job has with its other steps.
    ///
    /// Where they work together and one of them is killed, the others are ended: they may wait for it.
    pub(super) fn step(&self, nodes: &[String], together: bool) -> Result<Command, NodesError> {
        let count = nodes.len();
        let mut command = self.command("srun");
        command
            .arg(format!("--jobid={}", self.id))
            .args([format!("--nodes={count}"), format!("--ntasks={count}")])
            .arg(format!("--nodelist={}", nodes.join(",")))
            .args(["--ntasks-per-node=1", "--cpus-per-task=1", "--overlap", "--mpi=none"])
            // It is not waited for that others end.
            .args(["--immediate", "--quiet", "--job-name=pyxis", "--chdir=/"])
            .arg(format!("--kill-on-bad-exit={}", u8::from(together)))
            .arg("--wait=0")
            .arg(own_program()?)
            .arg("node-task");
        // Slurm then ends the step: srun has a process that sees to that. A signal that can be caught srun takes, and
        // forgets before its tasks are launched.
        sys::ends_with_us(&mut command, Signal::SIGKILL);
        Ok(command)
    }

    /// The nodes of one of its steps, as a list in Slurm's form. Of srun's own variables some releases have
    /// those of the job alone.
    pub(super) fn nodes_of(&self, step: &str) -> Result<String, NodesError> {
        let step = format!("{}.{step}", self.id);
        let said = run(scontrol().args(["show", "step", &step]))?;
        let list = said.split_whitespace().find_map(|word| word.strip_prefix("NodeList="));
        list.map(str::to_owned).ok_or(NodesError::NoNode(step))
    }

    /// One of Slurm's commands, in this job but in no step.
    fn command(&self, program: &str) -> Command {
        let mut command = unsecure::command(program);
        self.not_handed_on.iter().chain(&OF_PLUGIN.map(OsString::from)).for_each(|name| {
            command.env_remove(name);
        });
        command
    }
}

/// The names of a list in Slurm's form.
pub(super) fn names(list: &str) -> Result<Vec<String>, NodesError> {
    let said = run(scontrol().args(["show", "hostnames", list]))?;
    let mut names: Vec<String> = said.split_whitespace().map(str::to_owned).collect();
    names.sort();
    names.dedup();
    if names.is_empty() { Err(NodesError::NoNode(list.to_owned())) } else { Ok(names) }
}

/// salloc of those nodes for this very command. It gives them back when this process is gone, and tells the command so.
pub(super) fn allocation(list: &str) -> Result<Command, NodesError> {
    let mut command = unsecure::command("salloc");
    command
        .args(["--quiet", "--job-name=pyxis", "--ntasks-per-node=1"])
        .arg(format!("--nodelist={list}"))
        .arg(own_program()?)
        .args(std::env::args_os().skip(1));
    sys::ends_with_us(&mut command, Signal::SIGHUP);
    Ok(command)
}

/// Sends a file to all nodes of a step. Its name is in no argument.
pub(super) fn send(step: &str, file: File, to: &Path) -> Result<(), NodesError> {
    let mut command = unsecure::command("sbcast");
    command.arg(format!("--jobid={step}")).args([Path::new("/dev/stdin"), to]);
    sys::ends_with_us(&mut command, Signal::SIGKILL);
    run(command.stdin(file).stderr(Stdio::inherit())).map(drop)
}

/// A variable that is not empty.
pub(super) fn variable(environ: &Environ, name: &str) -> Option<String> {
    let value = environ.get(OsStr::new(name))?.to_str()?;
    (!value.is_empty()).then(|| value.to_owned())
}

fn is_others(name: &OsStr) -> bool {
    let kept = KEPT.iter().any(|kept| name == *kept);
    !kept && OTHERS.iter().any(|prefix| name.as_bytes().starts_with(prefix))
}

/// This command, which is at the same place on all nodes.
fn own_program() -> Result<PathBuf, NodesError> {
    std::env::current_exe()
        .map_err(|source| NodesError::Run { program: "pyxis".to_owned(), source })
}

fn scontrol() -> Command {
    let mut command = unsecure::command("scontrol");
    command.stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> Result<String, NodesError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdout(Stdio::piped()).spawn();
    let output = output.and_then(std::process::Child::wait_with_output);
    let output = output.map_err(|source| NodesError::Run { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(NodesError::Failed { program, status: output.status })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_ours_is_told_nothing_of_another() {
        for (name, told) in [
            ("SLURM_CONF", true),
            ("SLURM_NTASKS", false),
            ("SRUN_CPUS_PER_TASK", false),
            ("_SLURM_SPANK_OPTION_pyxis_container-image", false),
            ("PYXIS_CONTAINER_IMAGE", false),
            ("PMIX_RANK", false),
            ("PYXIS_STORE_PATH", true),
            ("HOME", true),
        ] {
            assert_eq!(!is_others(OsStr::new(name)), told, "{name}");
        }
    }
}
