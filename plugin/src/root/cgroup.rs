//! The step's own cgroup, by the names that Slurm gives.
//!
//! slurmstepd is beside its step's: with cgroups of version 1 in the job's freezer, one above the step's, or in none of them (21.08);
//! with version 2 in `slurm` below the step's, where the tasks are in `user`. So would be what it starts: Slurm's SIGKILL for the step
//! (with version 2 from 25.05 on, which has the kernel kill all in `user`) would not reach that, nor, with version 1, would
//! the step's end wait for it. Where processes are tracked as a tree, they are reached.

use super::child::output::{some_of, some_of_path};
use super::process;
use super::text::after;
use crate::root::job::Job;
use spank_bindings::StepId;
use std::ffi::OsString;
use std::fs::{File, OpenOptions, read_dir};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Of processes in one of slurmstepd's: more than a node has.
const PROCESSES: usize = 1 << 20;

/// `/job_J/step_S`. Slurm calls a part of a heterogeneous step `step_S+PART`; no two parts are on one node. From 26.05 on a job's
/// has another name with version 2, where slurmstepd is below it: `own` are its cgroups, as `/proc` has them.
pub(crate) fn name(job: &Job, own: &[u8]) -> Vec<u8> {
    let step = match job.step_id {
        StepId::BATCH => "batch".to_owned(),
        StepId::INTERACTIVE => "interactive".to_owned(),
        StepId::EXTERN => "extern".to_owned(),
        step => step.to_string(),
    };
    let name = format!("/job_{}/step_{step}", job.job_id).into_bytes();
    let step = &name[name.len() - "/step_".len() - step.len()..];
    let above = after(own, step).and_then(|rest| {
        // Its place in the step. A Slurm within a step of another one is elsewhere in that.
        let place = rest.split(|byte| *byte == b'\n').next()?;
        place.ends_with(b"/slurm").then(|| own.get(..own.len() - rest.len() - step.len()))?
    });
    match above.and_then(|above| above.rsplit(|byte| *byte == b'/').next()) {
        Some(of_job) => [b"/", of_job, step].concat(),
        None => name,
    }
}

/// Where a process is, as seen from a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Elsewhere,
    /// Slurm's SIGKILL for the step reaches it.
    InStep,
    /// Below the step's cgroups, some of which are its user's to make others in: nobody but us ends it for sure.
    Beyond,
}

/// Of a process with these cgroups. None where Slurm has none for it.
pub(crate) fn place_of(job: &Job, own: &[u8], cgroups: &[u8]) -> Option<Place> {
    after(cgroups, b"/step_")?;
    let name = name(job, own);
    let path = |begin: &[u8]| after(cgroups, begin)?.split(|byte| *byte == b'\n').next();
    // What is below the step's, and how deep Slurm looks.
    let (below, deepest) = match beside(&name, own) {
        Some(step) => (path(&[b"0::", step, b"/user"].concat()), 1),
        None => {
            // The first in which Slurm has the process, of those that users have no trees in.
            let of_users = |begin| after(path(begin)?, b"/uid_");
            let user = [job.user.uid.to_string().as_bytes(), &name].concat();
            let of_step = |begin| of_users(begin).map(|path| path.strip_prefix(user.as_slice()));
            match of_step(b":freezer:") {
                Some(below) => (below, 0),
                None => (V1.into_iter().find_map(of_step).flatten(), usize::MAX),
            }
        }
    };
    let Some(below @ ([] | [b'/', ..] | [b'+', b'0'..=b'9', ..])) = below else {
        return Some(Place::Elsewhere);
    };
    let depth = below.iter().filter(|byte| **byte == b'/').count();
    Some(if depth > deepest { Place::Beyond } else { Place::InStep })
}

/// The `cgroup.procs` of one that Slurm kills with the step, which slurmstepd is not in. With version 2 there is none before there are
/// tasks.
pub(crate) fn of_step(job: &Job) -> Option<File> {
    let own = some_of_path(OWN).ok()?;
    let name = name(job, &own);
    let step = name.rsplit(|byte| *byte == b'/').next()?;
    let tasks = beside(&name, &own);
    let directory = match tasks {
        Some(step) => place(&[step, b"/user"]),
        None => freezer_of_job(job, name.strip_suffix(step)?, &own)?,
    };
    let is_one = |name: &[u8]| match tasks {
        Some(_) => name.starts_with(b"task_"),
        None => matches!(name.strip_prefix(step), Some([] | [b'+', ..])),
    };
    let procs = directory.join(entry_of(&directory, &is_one)?).join("cgroup.procs");
    OpenOptions::new().write(true).open(procs).ok()
}

/// Ends in slurmstepd's own cgroup of version 2, when its tasks have ended, what is no process of root's. What it has started there
/// for users has ended, too; what a user has taken over there (by ptrace, say) nobody else ends with the step.
pub(crate) fn end_strays(job: &Job) {
    let own = some_of_path(OWN).unwrap_or_default();
    let name = name(job, &own);
    let Some(step) = beside(&name, &own) else { return };
    let procs = place(&[step, b"/slurm/cgroup.procs"]);
    let all = || File::open(&procs).and_then(|procs| some_of(&procs, PROCESSES));
    // Numbers are given again.
    let is_there = |pid| {
        let its = some_of_path(&format!("/proc/{pid}/cgroup")).unwrap_or_default();
        beside(&name, &its) == Some(step)
    };
    process::end_all(&|| all().unwrap_or_default(), &is_there);
}

const OWN: &str = "/proc/self/cgroup";
/// Of version 1, where Slurm may have a step's processes that it does not track by the freezer.
const V1: [&[u8]; 3] = [b":memory:", b":cpuset:", b":devices:"];

/// The step's cgroup, where slurmstepd is in `slurm` below it.
fn beside<'a>(name: &[u8], own: &'a [u8]) -> Option<&'a [u8]> {
    let mut lines = own.split(|byte| *byte == b'\n');
    let step = lines.find_map(|line| line.strip_prefix(b"0::"))?.strip_suffix(b"/slurm")?;
    matches!(after(step, name)?, [] | [b'+', ..]).then_some(step)
}

/// Where its job's freezer is.
fn freezer_of_job(job: &Job, of_job: &[u8], own: &[u8]) -> Option<PathBuf> {
    let user = format!("/uid_{}", job.user.uid);
    let in_slurms = |name: &[u8]| place(&[b"/freezer/", name, user.as_bytes(), of_job]);
    // Slurm's own has the node's name where a machine may have several.
    let others = after(own, b"/uid_").is_some();
    let is_one = |name: &[u8]| {
        let is_own = || after(own, &[name, b"/uid_"].concat()).is_some();
        name.starts_with(b"slurm") && (!others || is_own()) && in_slurms(name).exists()
    };
    entry_of(&place(&[b"/freezer"]), &is_one).map(|name| in_slurms(name.as_bytes()))
}

/// Below where Slurm looks for cgroups, unless cgroup.conf says otherwise (`CgroupMountpoint`).
fn place(parts: &[&[u8]]) -> PathBuf {
    OsString::from_vec([b"/sys/fs/cgroup", parts.concat().as_slice()].concat()).into()
}

/// The first name in a directory that is one.
fn entry_of(directory: &Path, is_one: &dyn Fn(&[u8]) -> bool) -> Option<OsString> {
    let mut names = read_dir(directory).ok()?.flatten().map(|entry| entry.file_name());
    names.find(|name| is_one(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::user::Credentials;

    fn job(job_id: u32, step_id: StepId) -> Job {
        Job {
            user: Credentials { uid: 1000, gid: 1000, groups: vec![] },
            job_id,
            step_id,
            local_tasks: 1,
            total_tasks: 1,
            privileged: false,
            pinned: None,
        }
    }

    /// Of a process in such a cgroup, by slurmstepd's own.
    fn told(own: &str, job: &Job, process: &str) -> Option<bool> {
        place_of(job, own.as_bytes(), process.as_bytes()).map(|place| place != Place::Elsewhere)
    }

    const V1: &str = "9:name=systemd:/\n6:freezer:/slurm_n1/uid_1000/job_4\n0::/\n";

    #[test]
    fn a_process_belongs_to_the_step_of_its_cgroup() {
        let step = job(4, StepId(1));
        let v1 = "9:name=systemd:/\n6:freezer:/slurm_n1/uid_1000/job_4/step_1\n0::/\n";
        assert_eq!(told(V1, &step, v1), Some(true));
        let scope = "0::/system.slice/slurmstepd.scope";
        // From 26.05 on a job's is its SLUID, unless cgroup.conf says CgroupJobIdPaths.
        for of_job in ["job_4", "s691M8NJCHA100"] {
            let own = format!("{scope}/{of_job}/step_1/slurm\n");
            let of = |rest: &str| told(&own, &step, &format!("{scope}/{rest}\n"));
            assert_eq!(of(&format!("{of_job}/step_1/user/task_0")), Some(true));
            assert_eq!(of(&format!("{of_job}/step_1/user/task_special")), Some(true));
            for other in ["step_10/user/task_0", "step_batch/user/task_0", "step_1/slurm"] {
                assert_eq!(of(&format!("{of_job}/{other}")), Some(false), "{other}");
            }
            assert_eq!(of("job_44/step_1/user/task_0"), Some(false));
            assert_eq!(of("s691M8NJCHA101/step_1/user/task_0"), Some(false));
        }
        for other in ["job_4/step_10", "job_44/step_1", "job_4/step_batch", "job_14/step_1"] {
            let cgroups = format!("6:freezer:/slurm_n1/uid_1000/{other}\n");
            assert_eq!(told(V1, &step, &cgroups), Some(false), "{other}");
        }
        for (id, name) in [
            (StepId::BATCH, "batch"),
            (StepId::INTERACTIVE, "interactive"),
            (StepId::EXTERN, "extern"),
        ] {
            let cgroups = format!("6:freezer:/slurm_n1/uid_1000/job_4/step_{name}\n");
            assert_eq!(told(V1, &job(4, id), &cgroups), Some(true), "{name}");
        }
    }

    #[test]
    fn where_slurmstepd_is_in_none_of_them_names_tell() {
        let step = job(4, StepId(1));
        let own = "11:freezer:/\n6:memory:/system.slice/slurmd.service\n";
        let of = |name: &str| told(own, &step, &format!("11:freezer:/slurm_n1/uid_1000/{name}\n"));
        assert_eq!(of("job_4/step_1"), Some(true));
        assert_eq!(of("job_4/step_1/task_0"), Some(true));
        for other in ["job_4/step_10", "job_44/step_1", "job_4/step_batch", "job_14/step_1"] {
            assert_eq!(of(other), Some(false), "{other}");
        }
    }

    /// A cgroup that a user may make others in, or have made elsewhere, is not where Slurm looks.
    #[test]
    fn what_slurm_does_not_reach_is_told_from_what_it_does() {
        let step = job(4, StepId(1));
        let place = |own: &str, process: &str| place_of(&step, own.as_bytes(), process.as_bytes());
        let v1 = |line: &str| {
            place(V1, &format!("{line}\n7:memory:/slurm_n1/uid_1000/job_4/step_1/task_0\n"))
        };
        let of_step = "6:freezer:/slurm_n1/uid_1000/job_4/step_1";
        assert_eq!(v1(of_step), Some(Place::InStep));
        assert_eq!(v1(&format!("{of_step}+2")), Some(Place::InStep));
        assert_eq!(v1(&format!("{of_step}/x")), Some(Place::Beyond));
        assert_eq!(v1(&format!("{of_step}+2/x")), Some(Place::Beyond));
        // Where processes are not tracked by it.
        assert_eq!(v1("6:freezer:/"), Some(Place::InStep));
        // Its user may move it from one step to another one of the job.
        assert_eq!(v1("6:freezer:/slurm_n1/uid_1000/job_4/step_2"), Some(Place::Elsewhere));
        let nested = "6:freezer:/slurm_n1/uid_1000/job_4/step_2/uid_1000/job_4/step_1";
        assert_eq!(place(V1, nested), Some(Place::Elsewhere));
        let own = "0::/s.scope/job_4/step_1/slurm\n";
        for (process, is) in [
            ("/s.scope/job_4/step_1/user/task_0", Place::InStep),
            ("/s.scope/job_4/step_1/user/task_0/x", Place::Beyond),
            ("/user.slice/user@1000.service/job_4/step_1/user/task_0", Place::Elsewhere),
        ] {
            assert_eq!(place(own, &format!("0::{process}\n")), Some(is), "{process}");
        }
        for process in [
            "1:name=systemd:/user.slice/user@1000.service/uid_1000/job_4/step_1\n",
            "0::/user.slice/user@1000.service/uid_1000/job_4/step_1\n",
        ] {
            assert_eq!(place(V1, process), Some(Place::Elsewhere), "{process}");
        }
    }

    /// Whose processes are all in that one's step, which may have the same number.
    #[test]
    fn a_slurm_in_a_step_of_another_is_not_taken_for_that() {
        let own = b"0::/slurmstepd.scope/job_9/step_1/user/task_0\n";
        assert_eq!(name(&job(4, StepId(1)), own), b"/job_4/step_1");
    }

    #[test]
    fn where_slurm_has_none_for_the_step_no_cgroup_tells() {
        let step = job(4, StepId(1));
        let process = "0::/user.slice/user-1000.slice/session-1.scope\n";
        for own in ["0::/\n", "0::/system.slice/slurmd.service\n", "6:freezer:/slurm/job_44\n", ""]
        {
            assert_eq!(told(own, &step, process), None, "{own}");
        }
    }

    #[test]
    fn a_part_of_a_heterogeneous_step_is_of_the_step() {
        let step = job(4, StepId(1));
        let v1 = "6:freezer:/slurm_n1/uid_1000/job_4/step_1+2\n";
        assert_eq!(told(V1, &step, v1), Some(true));
        let own = "0::/system.slice/slurmstepd.scope/job_4/step_1+12/slurm\n";
        let v2 = "0::/system.slice/slurmstepd.scope/job_4/step_1+12/user/task_0\n";
        assert_eq!(told(own, &step, v2), Some(true));
        let other = "6:freezer:/slurm_n1/uid_1000/job_4/step_1+x\n";
        assert_eq!(told(V1, &step, other), Some(false));
    }

    #[test]
    fn slurmstepd_is_beside_its_step() {
        let step = job(4, StepId(1));
        let of = |own: &'static str| beside(&name(&step, own.as_bytes()), own.as_bytes());
        for path in
            ["/s.scope/job_4/step_1", "/s.scope/job_4/step_1+2", "/s.scope/s691M8NJCHA100/step_1"]
        {
            let own: &'static str = Box::leak(format!("0::{path}/slurm\n").into_boxed_str());
            assert_eq!(of(own), Some(path.as_bytes()));
        }
        for other in
            ["0::/s.scope/job_4/step_1/user/task_0\n", "0::/s.scope/system\n", V1, "0::/\n"]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
