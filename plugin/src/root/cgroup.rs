//! The step's own cgroup, by the names that Slurm gives.
//!
//! With cgroups of version 1 slurmstepd is in the job's freezer, one above the step's, and so would
//! be what it starts: Slurm's SIGKILL for the step would not reach that, nor would the step's end
//! wait for it. With version 2, and where processes are tracked as a tree, it is reached.

use super::child::output::{some_of, some_of_path};
use super::text::after;
use crate::root::job::Job;
use spank_bindings::StepId;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions, read_dir};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Of the table of mounts: on a node with more than that, the step's cgroup is not found.
const MOUNTS: usize = 1 << 20;

/// `job_J/step_S`. Slurm calls a part of a heterogeneous step `step_S+PART`; no two parts are on one node.
pub(crate) fn name(job: &Job) -> String {
    let step = match job.step_id {
        StepId::BATCH => "batch".to_owned(),
        StepId::INTERACTIVE => "interactive".to_owned(),
        StepId::EXTERN => "extern".to_owned(),
        step => step.to_string(),
    };
    format!("job_{}/step_{step}", job.job_id)
}

/// Whether a process with these cgroups, as `/proc` has them, is of the job's step.
pub(crate) fn is_of(job: &Job, cgroups: &[u8]) -> bool {
    let step = format!("/{}", name(job));
    cgroups.split(|byte| *byte == b'\n').any(|line| {
        let rest = after(line, step.as_bytes());
        matches!(rest, Some([] | [b'/', ..] | [b'+', b'0'..=b'9', ..]))
    })
}

/// The `cgroup.procs` of the step's freezer, where slurmstepd itself is in the job's.
pub(crate) fn freezer(job: &Job) -> Option<File> {
    let own = some_of_path("/proc/self/cgroup").ok()?;
    let job_path = own.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |byte| *byte == b':').skip(1);
        let freezer = fields.next()?.split(|byte| *byte == b',').any(|name| name == b"freezer");
        fields.next().filter(|_| freezer)
    })?;
    let name = name(job);
    let (of_job, step) = name.split_once('/')?;
    if job_path.rsplit(|byte| *byte == b'/').next() != Some(of_job.as_bytes()) {
        return None;
    }
    let mounts = some_of(&File::open("/proc/self/mountinfo").ok()?, MOUNTS).ok()?;
    let directory = mounted(&mounts)?.join(OsStr::from_bytes(job_path.strip_prefix(b"/")?));
    let part = format!("{step}+");
    let found = read_dir(&directory)
        .ok()?
        .flatten()
        .map(|entry| entry.file_name())
        .find(|name| name == step || name.as_bytes().starts_with(part.as_bytes()))?;
    OpenOptions::new().write(true).open(directory.join(found).join("cgroup.procs")).ok()
}

/// Where the freezer's whole tree is mounted.
fn mounted(mounts: &[u8]) -> Option<PathBuf> {
    mounts.split(|byte| *byte == b'\n').find_map(|line| {
        let options = after(line, b" - cgroup ")?.rsplit(|byte| *byte == b' ').next()?;
        let freezer = options.split(|byte| *byte == b',').any(|name| name == b"freezer");
        let mut fields = line.split(|byte| *byte == b' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        (freezer && root == b"/").then(|| Path::new(OsStr::from_bytes(place)).to_owned())
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

    #[test]
    fn a_process_belongs_to_the_step_of_its_cgroup() {
        let step = job(4, StepId(1));
        let v1 = b"9:name=systemd:/\n6:freezer:/slurm_n1/uid_64101/job_4/step_1\n0::/\n";
        assert!(is_of(&step, v1));
        let v2 = b"0::/system.slice/slurmstepd.scope/job_4/step_1/user/task_0\n";
        assert!(is_of(&step, v2));
        for other in ["job_4/step_10", "job_44/step_1", "job_4/step_batch", "job_14/step_1"] {
            let cgroups = format!("6:freezer:/slurm/uid_1/{other}\n");
            assert!(!is_of(&step, cgroups.as_bytes()), "{other}");
        }
        for (id, name) in [
            (StepId::BATCH, "batch"),
            (StepId::INTERACTIVE, "interactive"),
            (StepId::EXTERN, "extern"),
        ] {
            let cgroups = format!("6:freezer:/slurm/uid_1/job_4/step_{name}\n");
            assert!(is_of(&job(4, id), cgroups.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_part_of_a_heterogeneous_step_is_of_the_step() {
        let step = job(4, StepId(1));
        let v1 = b"6:freezer:/slurm_n1/uid_64101/job_4/step_1+2\n";
        let v2 = b"0::/system.slice/slurmstepd.scope/job_4/step_1+12/user/task_0\n";
        assert!(is_of(&step, v1) && is_of(&step, v2));
        assert!(!is_of(&step, b"6:freezer:/slurm_n1/uid_64101/job_4/step_1+x\n"));
    }

    #[test]
    fn the_freezer_is_where_it_is_mounted_whole() {
        let mounts = b"30 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            31 24 0:27 /x /mnt rw - cgroup cgroup rw,freezer\n\
            32 24 0:27 / /cg/freezer rw,relatime shared:9 - cgroup cgroup rw,freezer\n";
        assert_eq!(mounted(mounts), Some("/cg/freezer".into()));
        assert_eq!(mounted(b"33 24 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"), None);
    }
}
