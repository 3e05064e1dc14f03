//! What of a step still runs when its last task has ended: the user's processes in the container,
//! whom Slurm is about to kill, and the runtime's helpers outside of it.
//!
//! A helper that serves the container's image has to stay as long as another step uses the
//! container, and Slurm kills all of a step: so the step stays, until Slurm ends it.

use super::cgroup::{self, Place};
use super::child::Allowance;
use super::child::output::some_of_path;
use super::process::{self, Life, descriptor, ends_within, kill};
use crate::options::components::number;
use crate::root::job::Job;
use crate::root::runtime::Runtime;
use crate::root::shared::Released;
use nix::errno::Errno;
use nix::unistd::Pid;
use spank_bindings::log;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// How long helpers may take to see that their container is gone.
const GRACE: Duration = Duration::from_millis(500);
/// How often to see whether Slurm has ended the step.
const SLICE: Duration = Duration::from_millis(250);

/// Processes of one step.
#[derive(Default)]
struct Leftovers {
    to_kill: Vec<OwnedFd>,
    helpers: Vec<(i32, OwnedFd)>,
}

/// How the processes of a step are told from others.
pub(crate) struct StepIdentity<'a> {
    job: &'a Job,
    /// slurmstepd, in whose cgroups is the name of the job's.
    slurmstepd: Pid,
    /// Device and inode of the container's mount namespace, and whether steps of other numbers can be in it.
    mounts: Option<(u64, u64)>,
    named: bool,
    /// What stands for the helpers, where that is known: what else of the step is on the host, left by a
    /// task's prolog perhaps, is none of them.
    helpers: Option<Option<&'a OwnedFd>>,
}

impl<'a> StepIdentity<'a> {
    /// Of a step whose container, with a name or without, is as `released`; for slurmstepd itself or a task of its.
    pub(crate) fn of(
        job: &'a Job,
        slurmstepd: Pid,
        runtime: &Runtime,
        released: &'a Released,
        named: bool,
    ) -> StepIdentity<'a> {
        let known = released.came && matches!(runtime, Runtime::Builtin(_));
        let helpers = known.then_some(released.helpers.as_ref());
        StepIdentity { job, slurmstepd, mounts: released.mounts, named, helpers }
    }
}

/// Kills what the user left in the container `name` and waits for its helpers, for as long as
/// other steps need them. Slurm's SIGKILL for the step, which they do get, ends the wait. What else is waited here is
/// of the hook's `allowance`.
///
/// Processes are told by the step's cgroup, which their user cannot leave but for one below it: those are killed. Where Slurm has none, only those are in a container
/// without a name that are in its namespace, and helpers are not looked for: whatever else tells one from another is its user's to
/// say, or, as its variables, to keep whoever asks waiting (`mmap_lock` can be held for ever).
pub(crate) fn end(step: &StepIdentity<'_>, name: &str, allowance: &Allowance) {
    let wait = |process: &OwnedFd, most: Duration| {
        let begun = Instant::now();
        let ended = ends_within(process, most.min(allowance.left()));
        allowance.spend(begun);
        ended
    };
    let mut told = false;
    loop {
        let Leftovers { to_kill, helpers } = find(step);
        for process in &to_kill {
            kill(process);
        }
        let until = Instant::now() + GRACE;
        let gone = |helper: &OwnedFd| wait(helper, until.saturating_duration_since(Instant::now()));
        let ended = match step.helpers {
            Some(known) => helpers.is_empty() || known.is_none_or(gone),
            None => helpers.iter().all(|(_, helper)| gone(helper)),
        };
        if ended {
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
        let goes_on = |(pid, _): &(i32, OwnedFd)| {
            matches!(process::life(*pid), Life::Running | Life::Stopped)
        };
        while !ends_within(&helpers[0].1, SLICE) && helpers.iter().all(goes_on) {}
        let doomed = |(pid, helper): &(i32, OwnedFd)| {
            matches!(process::life(*pid), Life::Doomed | Life::Ended) && !wait(helper, GRACE)
        };
        // Beyond SIGKILL: it is not ours to wait for it.
        if helpers.iter().any(doomed) {
            return;
        }
    }
}

fn find(step: &StepIdentity<'_>) -> Leftovers {
    let mut found = Leftovers::default();
    let job = step.job;
    let at = |pid: i32, what: &str| process::identity(&format!("/proc/{pid}/{what}"));
    let me = std::process::id() as i32;
    let (Ok(own_root), Ok(processes)) = (at(me, "root"), fs::read_dir("/proc")) else {
        return found;
    };
    let of_node = at(me, "ns/mnt").ok();
    let container = step.mounts.filter(|_| step.mounts != of_node);
    let slurmstepd = step.slurmstepd.as_raw();
    let own = some_of_path(&format!("/proc/{slurmstepd}/cgroup")).unwrap_or_default();
    for entry in processes.flatten() {
        let name = entry.file_name();
        let Some(pid) = number(name.as_bytes()).map(|pid| pid as i32) else { continue };
        // Cheap tests first; those before the descriptor is open are repeated by the ones after.
        let theirs = || process::is_of(pid, job.user.uid);
        if pid == me || pid == slurmstepd || !theirs() {
            continue;
        }
        let Some(descriptor) = descriptor(pid) else { continue };
        // Of one whose first thread has ended, while others go on, another one tells.
        let thread = match at(pid, "root") {
            Err(Errno::ENOENT) => process::other_thread(pid).unwrap_or(pid),
            _ => pid,
        };
        let (root, mounts) = (at(thread, "root"), at(thread, "ns/mnt").ok());
        let cgroups = some_of_path(&format!("/proc/{thread}/cgroup")).unwrap_or_default();
        let in_namespace = mounts.is_some() && mounts == container;
        let place = match cgroup::place_of(job, &own, &cgroups) {
            Some(place) => place,
            None if in_namespace && !step.named => Place::InStep,
            None => Place::Elsewhere,
        };
        // Alive until now, hence all of it was about this process.
        if place == Place::Elsewhere || !theirs() || ends_within(&descriptor, Duration::ZERO) {
            continue;
        }
        match root {
            // With the node's root mounted in it, a process in the container can have that root. What Slurm does not reach
            // would be waited for when it has ended the step.
            Ok(its) if its == own_root && !in_namespace && place == Place::InStep => {
                found.helpers.push((pid, descriptor));
            }
            Ok(_) => found.to_kill.push(descriptor),
            Err(_) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::user::Credentials;
    use spank_bindings::StepId;
    use std::os::unix::fs::MetadataExt;
    use std::process::{Child, Command, Stdio};

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

    /// A process in a mount namespace of its own, which is in no step, and that namespace.
    fn apart() -> (Child, Option<(u64, u64)>) {
        let script = ["-rm", "sh", "-c", "echo && exec sleep 30"];
        let mut child =
            Command::new("unshare").args(script).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let mounts = fs::metadata(format!("/proc/{}/ns/mnt", child.id())).unwrap();
        (child, Some((mounts.dev(), mounts.ino())))
    }

    fn end_of(mounts: Option<(u64, u64)>, named: bool) {
        // A number that no job of Slurm has.
        let job = &job(4_000_000_001, StepId(1));
        let slurmstepd = Pid::this();
        let step = StepIdentity { job, slurmstepd, mounts, named, helpers: None };
        let begin = Instant::now();
        end(&step, "pyxis_x", &Allowance::new());
        assert!(begin.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn without_cgroups_of_slurm_the_namespace_of_a_container_without_a_name_tells() {
        let (mut child, mounts) = apart();
        end_of(None, false);
        end_of(mounts, true);
        assert!(child.try_wait().unwrap().is_none());
        end_of(mounts, false);
        assert!(!child.wait().unwrap().success());
    }

    /// As whoever sends a container may say.
    #[test]
    fn a_container_in_the_nodes_own_namespace_is_none() {
        let mut child = Command::new("sleep").arg("30").spawn().unwrap();
        let own = fs::metadata("/proc/self/ns/mnt").map(|at| (at.dev(), at.ino())).ok();
        end_of(own, false);
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
