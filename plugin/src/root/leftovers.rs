//! What of a step still runs when its last task has ended: the user's processes in the container,
//! whom Slurm is about to kill, and the runtime's helpers outside of it.
//!
//! A helper that serves the container's image has to stay as long as another step uses the
//! container, and Slurm kills all of a step: so the step stays, until Slurm ends it.

use super::cgroup;
use super::child::Allowance;
use super::child::output::some_of_path;
use super::process::{self, Life, descriptor, ends_within, kill};
use crate::root::job::Job;
use crate::root::runtime::Runtime;
use crate::root::shared::Released;
use spank_bindings::{StepId, log};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// How long helpers may take to see that their container is gone.
const GRACE: Duration = Duration::from_millis(500);
/// How often to see whether Slurm has ended the step.
const SLICE: Duration = Duration::from_millis(250);

/// Processes of one step.
#[derive(Default)]
struct Leftovers {
    in_container: Vec<OwnedFd>,
    helpers: Vec<(i32, OwnedFd)>,
}

/// How the processes of a step are told from others.
pub(crate) struct StepIdentity<'a> {
    job: &'a Job,
    /// Device and inode of the container's mount namespace.
    mounts: Option<(u64, u64)>,
    /// What stands for the helpers, where that is known: what else of the step is on the host, left by a
    /// task's prolog perhaps, is none of them.
    helpers: Option<Option<&'a OwnedFd>>,
}

impl<'a> StepIdentity<'a> {
    pub(crate) fn of(job: &'a Job, runtime: &Runtime, released: &'a Released) -> StepIdentity<'a> {
        let known = released.came && matches!(runtime, Runtime::Builtin(_));
        let helpers = known.then_some(released.helpers.as_ref());
        StepIdentity { job, mounts: released.mounts, helpers }
    }
}

/// How a process was told to be one of the step's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FoundBy {
    /// Which its user cannot change, and which Slurm's SIGKILL reaches.
    Cgroup,
    /// Which anybody can give to any process: it is not waited for longer than a moment.
    Variables,
}

/// Kills what the user left in the container `name` and waits for its helpers, for as long as
/// other steps need them. Slurm's SIGKILL for the step, which they do get, ends the wait. What else is waited here is
/// of the hook's `allowance`.
pub(crate) fn end(step: &StepIdentity<'_>, name: &str, allowance: &Allowance) {
    let wait = |process: &OwnedFd, most: Duration| {
        let begun = Instant::now();
        let ended = ends_within(process, most.min(allowance.left()));
        allowance.spend(begun);
        ended
    };
    let mut told = false;
    loop {
        let (Leftovers { in_container, helpers }, by) = find(step);
        for process in &in_container {
            kill(process);
        }
        let until = Instant::now() + GRACE;
        let gone = |helper: &OwnedFd| wait(helper, until.saturating_duration_since(Instant::now()));
        let ended = match step.helpers {
            Some(known) => helpers.is_empty() || known.is_none_or(gone),
            None => helpers.iter().all(|(_, helper)| gone(helper)),
        };
        if ended || by == FoundBy::Variables {
            return;
        }
        if !told {
            log::spank_log!(
                "pyxis: another step is using container {name}, whose image this step serves: \
                 it ends when that one has"
            );
            told = true;
        }
        // Whichever ends or is to end: the others are looked for again.
        while helpers
            .iter()
            .all(|(pid, _)| matches!(process::life(*pid), Life::Running | Life::Stopped))
        {
            ends_within(&helpers[0].1, SLICE);
        }
        let doomed = |(pid, helper): &(i32, OwnedFd)| {
            process::life(*pid) == Life::Doomed && !wait(helper, GRACE)
        };
        // Beyond SIGKILL: it is not ours to wait for it.
        if helpers.iter().any(doomed) {
            return;
        }
    }
}

fn find(step: &StepIdentity<'_>) -> (Leftovers, FoundBy) {
    let mut found = Leftovers::default();
    let mut by = FoundBy::Cgroup;
    let job = step.job;
    let at = |pid: &str, what: &str| process::identity(&format!("/proc/{pid}/{what}"));
    let root = |pid: &str| at(pid, "root");
    let (Some(own_root), Ok(processes)) = (root("self"), fs::read_dir("/proc")) else {
        return (found, by);
    };
    let cgroup = cgroup::name(job, &some_of_path("/proc/self/cgroup").unwrap_or_default());
    let me = std::process::id() as i32;
    for process in processes.flatten() {
        let name = process.file_name();
        let Some((text, pid)) = name.to_str().and_then(|text| Some((text, text.parse().ok()?)))
        else {
            continue;
        };
        // Cheap tests first; those before the descriptor is open are repeated by the ones after.
        let theirs = || process.metadata().is_ok_and(|at| at.uid() == job.user.uid);
        if pid == me || !theirs() {
            continue;
        }
        let Some(descriptor) = descriptor(pid) else { continue };
        let (its_root, mounts) = (root(text), at(text, "ns/mnt"));
        let Some(how) = is_of(job, &cgroup, text).filter(|_| theirs()) else { continue };
        // Alive until now, hence all of it was about this process.
        if ends_within(&descriptor, Duration::ZERO) {
            continue;
        }
        match its_root {
            // With the node's root mounted in it, a process in the container can have that root.
            Some(its) if its == own_root && (mounts.is_none() || mounts != step.mounts) => {
                if how == FoundBy::Variables {
                    by = how;
                }
                found.helpers.push((pid, descriptor));
            }
            Some(_) => found.in_container.push(descriptor),
            None => {}
        }
    }
    (found, by)
}

/// Whether a process belongs to the step: by its cgroup, or, where Slurm uses none, by the
/// variables it was started with, as far as they are among the first.
fn is_of(job: &Job, cgroup: &[u8], pid: &str) -> Option<FoundBy> {
    let cgroups = some_of_path(&format!("/proc/{pid}/cgroup")).unwrap_or_default();
    if let Some(is_of) = cgroup::is_of(cgroup, &cgroups) {
        return is_of.then_some(FoundBy::Cgroup);
    }
    let environ = some_of_path(&format!("/proc/{pid}/environ")).unwrap_or_default();
    has_variables(job, &environ).then_some(FoundBy::Variables)
}

fn has_variables(job: &Job, environ: &[u8]) -> bool {
    let of = |name: &str| {
        let mut variables = environ.split(|byte| *byte == 0);
        variables.find_map(|variable| variable.strip_prefix(name.as_bytes()))
    };
    // A batch script has no number.
    let step = (job.step_id != StepId::BATCH).then(|| job.step_id.to_string());
    of("SLURM_JOB_ID=") == Some(job.job_id.to_string().as_bytes())
        && of("SLURM_STEP_ID=") == step.as_ref().map(String::as_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::user::Credentials;
    use std::process::Command;

    fn job(job_id: u32, step_id: StepId) -> Job {
        let uid = nix::unistd::geteuid().as_raw();
        let user = Credentials { uid, gid: uid, groups: vec![] };
        Job {
            user,
            job_id,
            step_id,
            local_tasks: 1,
            total_tasks: 1,
            privileged: false,
            pinned: None,
        }
    }

    #[test]
    fn without_cgroups_of_slurm_variables_tell() {
        let environ = b"A=1\0SLURM_JOB_ID=4\0SLURM_STEP_ID=1\0";
        assert!(has_variables(&job(4, StepId(1)), environ));
        assert!(!has_variables(&job(4, StepId(10)), environ));
        assert!(!has_variables(&job(4, StepId(1)), b"SLURM_JOB_ID=4\0SLURM_STEP_ID=11\0"));
        assert!(!has_variables(&job(4, StepId::BATCH), environ));
        assert!(has_variables(&job(4, StepId::BATCH), b"SLURM_JOB_ID=4\0"));
    }

    /// A process of a step, which can be told from its variables: they are there a moment after exec.
    fn sleep(step: &Job, seconds: &str) -> std::process::Child {
        let child = Command::new("sleep")
            .arg(seconds)
            .env("SLURM_JOB_ID", step.job_id.to_string())
            .env("SLURM_STEP_ID", step.step_id.to_string())
            .spawn()
            .unwrap();
        while fs::read(format!("/proc/{}/environ", child.id())).unwrap().is_empty() {}
        child
    }

    /// Anybody can start a process with a step's variables; it may take as long as it likes.
    #[test]
    fn what_only_variables_tell_is_waited_for_a_moment() {
        // Numbers that no job of Slurm has.
        let mine = job(4_000_000_001, StepId(1));
        let mut helper = sleep(&mine, "30");
        let begin = Instant::now();
        let step = StepIdentity { job: &mine, mounts: None, helpers: None };
        end(&step, "pyxis_x", &Allowance::new());
        assert!(begin.elapsed() >= GRACE, "{:?}", begin.elapsed());
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        assert!(helper.try_wait().unwrap().is_none());
        helper.kill().unwrap();
        helper.wait().unwrap();
    }

    /// More than 64 KiB of it would be memory of slurmstepd's.
    #[test]
    fn a_giant_environment_is_not_read() {
        let mine = job(4_000_000_003, StepId(1));
        let mut command = Command::new("sleep");
        for number in 0..20 {
            command.env(format!("A{number}"), "x".repeat(100_000));
        }
        let mut child = command.arg("30").spawn().unwrap();
        let environ = format!("/proc/{}/environ", child.id());
        while fs::read(&environ).unwrap().len() < 2_000_000 {}
        assert_eq!(some_of_path(&environ).unwrap().len(), 64 << 10);
        assert_eq!(is_of(&mine, b"", &child.id().to_string()), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// As with `/:/host` mounted and `chroot /host` in the container.
    #[test]
    fn what_has_the_nodes_root_in_the_containers_namespace_is_in_the_container() {
        let mine = job(4_000_000_002, StepId(1));
        let mut inside = sleep(&mine, "30");
        let mounts = fs::metadata("/proc/self/ns/mnt").map(|at| (at.dev(), at.ino())).ok();
        let begin = Instant::now();
        let step = StepIdentity { job: &mine, mounts, helpers: None };
        end(&step, "pyxis_x", &Allowance::new());
        assert!(!inside.wait().unwrap().success());
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
}
