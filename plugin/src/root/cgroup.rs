//! The step's own cgroup, by the names that Slurm gives.
//!
//! slurmstepd is beside its step's: with cgroups of version 1 in the job's freezer, one above the step's, or in none of them (21.08);
//! with version 2 in `slurm` below the step's, where the tasks are in `user`. So would be what it starts: Slurm's SIGKILL for the step
//! (with version 2 from 25.05 on, which has the kernel kill all in `user`) would not reach that, nor, with version 1, would
//! the step's end wait for it. Where processes are tracked as a tree, they are reached.

use super::child::output::{some_of, some_of_path};
use super::process;
use super::text::after;
use crate::options::components::number;
use crate::root::job::Job;
use spank_bindings::StepId;
use std::ffi::OsString;
use std::fs::{File, OpenOptions, read_dir};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Of the table of mounts, and of processes: on a node with more than that, the step's cgroup is not found.
const TABLE: usize = 1 << 20;

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

/// Whether a process with these cgroups is of the step of that name. None where Slurm has none for it.
pub(crate) fn is_of(name: &[u8], cgroups: &[u8]) -> Option<bool> {
    after(cgroups, b"/step_")?;
    Some(
        cgroups.split(|byte| *byte == b'\n').any(|line| {
            matches!(after(line, name), Some([] | [b'/', ..] | [b'+', b'0'..=b'9', ..]))
        }),
    )
}

/// The `cgroup.procs` of one that Slurm kills with the step, which slurmstepd is not in. With version 2 there is none before there are
/// tasks.
pub(crate) fn of_step(job: &Job) -> Option<File> {
    let own = some_of_path(OWN).ok()?;
    let name = name(job, &own);
    let step = name.rsplit(|byte| *byte == b'/').next()?;
    let (directory, begins) = match beside(&name, &own) {
        Some(step) => (unified(step, b"/user"), &b"task_"[..]),
        None => (freezer_of_job(job, name.strip_suffix(step)?.strip_suffix(b"/")?, &own)?, step),
    };
    for entry in read_dir(&directory).ok()?.flatten() {
        let is_one = match entry.file_name().as_bytes().strip_prefix(begins) {
            Some([]) => true,
            Some([next, ..]) => (begins == b"task_") != (*next == b'+'),
            None => false,
        };
        if is_one {
            let procs = directory.join(entry.file_name()).join("cgroup.procs");
            return OpenOptions::new().write(true).open(procs).ok();
        }
    }
    None
}

/// Ends the user's processes in slurmstepd's own cgroup of version 2. What it has started there for the user has ended; what a
/// user has taken over there (by ptrace, say) nobody ends with the step.
pub(crate) fn end_strays(job: &Job) {
    let own = some_of_path(OWN).unwrap_or_default();
    let Some(step) = beside(&name(job, &own), &own) else { return };
    let all = File::open(unified(step, b"/slurm/cgroup.procs"));
    let all = all.and_then(|procs| some_of(&procs, TABLE)).unwrap_or_default();
    for pid in all.split(|byte| *byte == b'\n') {
        let pid = number(pid).unwrap_or_default() as i32;
        let Some(process) = process::descriptor(pid) else { continue };
        if process::is_of(pid, job.user.uid) && !job.privileged {
            process::kill(&process);
        }
    }
}

const OWN: &str = "/proc/self/cgroup";

/// The step's cgroup, where slurmstepd is in `slurm` below it.
fn beside<'a>(name: &[u8], own: &'a [u8]) -> Option<&'a [u8]> {
    let mut lines = own.split(|byte| *byte == b'\n');
    let step = lines.find_map(|line| line.strip_prefix(b"0::"))?.strip_suffix(b"/slurm")?;
    matches!(after(step, name)?, [] | [b'+', ..]).then_some(step)
}

/// A file of the tree of version 2, where distributions mount it and Slurm looks for it.
fn unified(step: &[u8], file: &[u8]) -> PathBuf {
    OsString::from_vec([b"/sys/fs/cgroup", step, file].concat()).into()
}

/// Where its job's freezer is.
fn freezer_of_job(job: &Job, of_job: &[u8], own: &[u8]) -> Option<PathBuf> {
    let path = own.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |byte| *byte == b':').skip(1);
        let freezer = fields.next()?.split(|byte| *byte == b',').any(|name| name == b"freezer");
        fields.next().filter(|_| freezer)
    })?;
    let mounts = some_of(&File::open("/proc/self/mountinfo").ok()?, TABLE).ok()?;
    let elsewhere = format!("/slurm/uid_{}", job.user.uid);
    let parts = if path.ends_with(of_job) { [path, b""] } else { [elsewhere.as_bytes(), of_job] };
    Some(OsString::from_vec([mounted(&mounts)?, &parts.concat()].concat()).into())
}

/// Where the freezer's whole tree is mounted.
fn mounted(mounts: &[u8]) -> Option<&[u8]> {
    mounts.split(|byte| *byte == b'\n').find_map(|line| {
        let options = after(line, b" - cgroup ")?.rsplit(|byte| *byte == b' ').next()?;
        let freezer = options.split(|byte| *byte == b',').any(|name| name == b"freezer");
        let mut fields = line.split(|byte| *byte == b' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        (freezer && root == b"/").then_some(place)
    })
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
        is_of(&name(job, own.as_bytes()), process.as_bytes())
    }

    const V1: &str = "9:name=systemd:/\n6:freezer:/slurm_n1/uid_64101/job_4\n0::/\n";

    #[test]
    fn a_process_belongs_to_the_step_of_its_cgroup() {
        let step = job(4, StepId(1));
        let v1 = "9:name=systemd:/\n6:freezer:/slurm_n1/uid_64101/job_4/step_1\n0::/\n";
        assert_eq!(told(V1, &step, v1), Some(true));
        let scope = "0::/system.slice/slurmstepd.scope";
        // From 26.05 on a job's is its SLUID, unless cgroup.conf says CgroupJobIdPaths.
        for of_job in ["job_4", "s691M8NJCHA100"] {
            let own = format!("{scope}/{of_job}/step_1/slurm\n");
            let of = |rest: &str| told(&own, &step, &format!("{scope}/{rest}\n"));
            assert_eq!(of(&format!("{of_job}/step_1/user/task_0")), Some(true));
            assert_eq!(of(&format!("{of_job}/step_1")), Some(true));
            for other in ["step_10/user", "step_batch/user"] {
                assert_eq!(of(&format!("{of_job}/{other}")), Some(false), "{other}");
            }
            assert_eq!(of("job_44/step_1/user"), Some(false));
            assert_eq!(of("s691M8NJCHA101/step_1/user"), Some(false));
        }
        for other in ["job_4/step_10", "job_44/step_1", "job_4/step_batch", "job_14/step_1"] {
            let cgroups = format!("6:freezer:/slurm_n1/uid_64101/{other}\n");
            assert_eq!(told(V1, &step, &cgroups), Some(false), "{other}");
        }
        for (id, name) in [
            (StepId::BATCH, "batch"),
            (StepId::INTERACTIVE, "interactive"),
            (StepId::EXTERN, "extern"),
        ] {
            let cgroups = format!("6:freezer:/slurm_n1/uid_64101/job_4/step_{name}\n");
            assert_eq!(told(V1, &job(4, id), &cgroups), Some(true), "{name}");
        }
    }

    #[test]
    fn where_slurmstepd_is_in_none_of_them_names_tell() {
        let step = job(4, StepId(1));
        let own = "11:freezer:/\n6:memory:/system.slice/slurmd.service\n";
        let of = |name: &str| told(own, &step, &format!("11:freezer:/slurm_n1/uid_1/{name}\n"));
        assert_eq!(of("job_4/step_1"), Some(true));
        assert_eq!(of("job_4/step_1/task_0"), Some(true));
        for other in ["job_4/step_10", "job_44/step_1", "job_4/step_batch", "job_14/step_1"] {
            assert_eq!(of(other), Some(false), "{other}");
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
        let v1 = "6:freezer:/slurm_n1/uid_64101/job_4/step_1+2\n";
        assert_eq!(told(V1, &step, v1), Some(true));
        let own = "0::/system.slice/slurmstepd.scope/job_4/step_1+12/slurm\n";
        let v2 = "0::/system.slice/slurmstepd.scope/job_4/step_1+12/user/task_0\n";
        assert_eq!(told(own, &step, v2), Some(true));
        let other = "6:freezer:/slurm_n1/uid_64101/job_4/step_1+x\n";
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

    #[test]
    fn the_freezer_is_where_it_is_mounted_whole() {
        let mounts = b"30 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            31 24 0:27 /x /mnt rw - cgroup cgroup rw,freezer\n\
            32 24 0:27 / /cg/freezer rw,relatime shared:9 - cgroup cgroup rw,freezer\n";
        assert_eq!(mounted(mounts), Some(&b"/cg/freezer"[..]));
        assert_eq!(mounted(b"33 24 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"), None);
    }
}
