//! What of a step still runs when its last task has ended: the user's processes in the container,
//! whom Slurm is about to kill, and the runtime's helpers outside of it.
//!
//! A helper that serves the container's image has to stay as long as another step uses the
//! container, and Slurm kills all of a step: so the step stays.

use crate::step::job::Job;
use crate::step::text::after;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use spank_bindings::{StepId, log};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// How long helpers may take to see that their container is gone.
const GRACE: Duration = Duration::from_millis(500);

/// Descriptors of processes of one step.
#[derive(Default)]
struct Leftovers {
    in_container: Vec<OwnedFd>,
    helpers: Vec<OwnedFd>,
}

/// How the processes of a step are told from others.
pub(crate) struct Mark<'a> {
    pub(crate) job: &'a Job,
    /// Device and inode of the container's mount namespace.
    pub(crate) mounts: Option<(u64, u64)>,
}

/// Kills what the user left in the container `name` and waits for its helpers, for as long as
/// other steps need them. Slurm's SIGKILL for the step, which they do get, ends the wait.
pub(crate) fn outstay(step: &Mark<'_>, name: &str) {
    let mut told = false;
    loop {
        let Leftovers { in_container, helpers } = find(step);
        for process in &in_container {
            kill(process);
        }
        if helpers.is_empty() || wait(&helpers, Some(Instant::now() + GRACE)) {
            return;
        }
        if !told {
            log::spank_log!(
                "pyxis: another step is using container {name}, whose image this step serves: \
                 it ends when that one has"
            );
            told = true;
        }
        wait(&helpers, None);
    }
}

fn find(step: &Mark<'_>) -> Leftovers {
    let mut found = Leftovers::default();
    let job = step.job;
    let at = |pid: &str, what: &str| {
        fs::metadata(format!("/proc/{pid}/{what}")).map(|at| (at.dev(), at.ino()))
    };
    let root = |pid: &str| at(pid, "root");
    let (Ok(own_root), Ok(processes)) = (root("self"), fs::read_dir("/proc")) else {
        return found;
    };
    let me = std::process::id();
    for process in processes.flatten() {
        let name = process.file_name();
        let Some((text, pid)) = name.to_str().and_then(|text| Some((text, text.parse().ok()?)))
        else {
            continue;
        };
        // Cheap tests first; those before the descriptor is open are repeated by the ones after.
        if pid == me || !process.metadata().is_ok_and(|at| at.uid() == job.user.uid) {
            continue;
        }
        let Some(descriptor) = open(pid) else { continue };
        let (theirs, mounts) = (root(text), at(text, "ns/mnt").ok());
        let ours = process.metadata().is_ok_and(|at| at.uid() == job.user.uid) && is_of(step, text);
        // Alive until now, hence all of it was about this process.
        if !ours || wait_one(&descriptor, PollTimeout::ZERO) {
            continue;
        }
        match theirs {
            // With the node's root mounted in it, a process in the container can have that root.
            Ok(theirs) if theirs == own_root && (mounts.is_none() || mounts != step.mounts) => {
                found.helpers.push(descriptor);
            }
            Ok(_) => found.in_container.push(descriptor),
            Err(_) => {}
        }
    }
    found
}

/// Whether a process belongs to the step: by its cgroup, or, where Slurm uses none, by the
/// variables it was started with.
fn is_of(step: &Mark<'_>, pid: &str) -> bool {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    if after(cgroups.as_bytes(), b"/job_").is_some() {
        return in_cgroup(step.job, &cgroups);
    }
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    has_variables(step.job, &environ)
}

/// Slurm calls the step's cgroup `step_ID` or, in a heterogeneous step, `step_ID+PART`. No two parts
/// are on one node.
fn in_cgroup(job: &Job, cgroups: &str) -> bool {
    let step = match job.step_id {
        StepId::BATCH => "batch".to_owned(),
        StepId::INTERACTIVE => "interactive".to_owned(),
        StepId::EXTERN => "extern".to_owned(),
        step => step.to_string(),
    };
    let step = format!("/job_{}/step_{step}", job.job_id);
    cgroups.lines().any(|line| {
        let rest = after(line.as_bytes(), step.as_bytes());
        matches!(rest, Some([] | [b'/', ..] | [b'+', b'0'..=b'9', ..]))
    })
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

/// Waits until all have ended, or until `deadline`; without one, until the first has. Returns
/// whether all have.
fn wait(processes: &[OwnedFd], deadline: Option<Instant>) -> bool {
    let Some(deadline) = deadline else {
        let mut ended: Vec<_> =
            processes.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        let _ = poll(&mut ended, PollTimeout::NONE);
        return false;
    };
    processes.iter().all(|process| {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        wait_one(process, left)
    })
}

fn wait_one(process: &OwnedFd, timeout: PollTimeout) -> bool {
    let mut ended = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    poll(&mut ended, timeout).is_ok_and(|ready| ready > 0)
}

/// A descriptor of the process, readable when it has ended (Linux 5.3).
fn open(pid: u32) -> Option<OwnedFd> {
    // SAFETY: numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: just made for us.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn kill(process: &OwnedFd) {
    // SAFETY: signals the process of a descriptor, which cannot be another one.
    unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            libc::SIGKILL,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::job::Credentials;
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
            cwd: None,
            privileged: false,
            pinned: None,
        }
    }

    #[test]
    fn a_process_belongs_to_the_step_of_its_cgroup() {
        let step = job(4, StepId(1));
        let v1 = "9:name=systemd:/\n6:freezer:/slurm_n1/uid_64101/job_4/step_1\n0::/\n";
        assert!(in_cgroup(&step, v1));
        let v2 = "0::/system.slice/slurmstepd.scope/job_4/step_1/user/task_0\n";
        assert!(in_cgroup(&step, v2));
        for other in ["job_4/step_10", "job_44/step_1", "job_4/step_batch", "job_14/step_1"] {
            let cgroups = format!("6:freezer:/slurm/uid_1/{other}\n");
            assert!(!in_cgroup(&step, &cgroups), "{other}");
        }
        for (id, name) in [
            (StepId::BATCH, "batch"),
            (StepId::INTERACTIVE, "interactive"),
            (StepId::EXTERN, "extern"),
        ] {
            let cgroups = format!("6:freezer:/slurm/uid_1/job_4/step_{name}\n");
            assert!(in_cgroup(&job(4, id), &cgroups), "{name}");
        }
    }

    #[test]
    fn a_part_of_a_heterogeneous_step_is_of_the_step() {
        let step = job(4, StepId(1));
        let v1 = "6:freezer:/slurm/uid_1/job_4/step_1+2\n";
        let v2 = "0::/system.slice/slurmstepd.scope/job_4/step_1+12/user/task_0\n";
        assert!(in_cgroup(&step, v1) && in_cgroup(&step, v2));
        assert!(!in_cgroup(&step, "6:freezer:/slurm/uid_1/job_4/step_1+x\n"));
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

    #[test]
    fn helpers_are_waited_for_and_others_left_alone() {
        // Numbers that no job of Slurm has.
        let (mine, other) = (job(4_000_000_001, StepId(1)), job(4_000_000_001, StepId(2)));
        let mut foreign = sleep(&other, "30");
        let mut helper = sleep(&mine, "0.8");
        let begin = Instant::now();
        outstay(&Mark { job: &mine, mounts: None }, "pyxis_x");
        assert!(begin.elapsed() > Duration::from_millis(600), "{:?}", begin.elapsed());
        assert!(helper.wait().unwrap().success());
        assert!(foreign.try_wait().unwrap().is_none());
        foreign.kill().unwrap();
        foreign.wait().unwrap();
    }

    /// As with `/:/host` mounted and `chroot /host` in the container.
    #[test]
    fn what_has_the_nodes_root_in_the_containers_namespace_is_in_the_container() {
        let mine = job(4_000_000_002, StepId(1));
        let mut inside = sleep(&mine, "30");
        let mounts = fs::metadata("/proc/self/ns/mnt").map(|at| (at.dev(), at.ino())).ok();
        let begin = Instant::now();
        outstay(&Mark { job: &mine, mounts }, "pyxis_x");
        assert!(!inside.wait().unwrap().success());
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
}
