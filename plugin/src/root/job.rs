//! What slurmstepd knows of the job and its step.

use super::user::Credentials;
use crate::step::error::StepError;
use hygiene::text::is_yes;
use spank_bindings::{Spank, StepId};
use std::ffi::{CStr, CString};

/// The variable with which srun sends what it has found the image's tag to name: `DIGEST IMAGE`.
/// Named so that `--export=NONE` does not drop it.
pub(crate) const PINNED: &CStr = c"SLURM_PYXIS_IMAGE";

/// The variable with which srun says that a step has a task prolog of its own.
pub(crate) const PROLOG: &CStr = c"SLURM_PYXIS_TASK_PROLOG";

/// The variable with which srun says how wide the terminal is that shows what its tasks say.
pub(crate) const TERMINAL: &CStr = c"SLURM_PYXIS_TERMINAL";

/// What srun says in that variable, which the job has no use for.
pub(super) fn told(spank: &Spank<'_>, name: &CStr) -> Result<Option<CString>, StepError> {
    let value = spank.getenv(name)?;
    spank.unsetenv(name)?;
    Ok(value)
}

/// Whether Slurm will run a prolog in each task: the site's, or srun's.
pub(super) fn has_task_prolog(spank: &Spank<'_>) -> Result<bool, StepError> {
    Ok(told(spank, PROLOG)?.is_some() || spank_bindings::has_task_prolog())
}

/// Facts of the step on this node.
pub(crate) struct Job {
    pub(crate) user: Credentials,
    pub(crate) job_id: u32,
    pub(crate) step_id: StepId,
    /// Tasks of the step on this node.
    pub(crate) local_tasks: u32,
    /// Tasks of the step on all nodes; 0 for a batch step.
    pub(crate) total_tasks: u32,
    /// What srun has found the image's tag to name.
    pub(crate) pinned: Option<CString>,
    /// `ENROOT_ALLOW_SUPERUSER` and uid 0: no user namespace, no filter.
    pub(crate) privileged: bool,
}

impl Job {
    pub(crate) fn read(spank: &Spank<'_>) -> Result<Job, StepError> {
        let user = Credentials {
            uid: spank.job_uid()?,
            gid: spank.job_gid()?,
            groups: spank.job_supplementary_gids()?,
        };
        let pinned = told(spank, PINNED)?;
        let allowed = spank.getenv(c"ENROOT_ALLOW_SUPERUSER")?;
        Ok(Job {
            job_id: spank.job_id()?,
            step_id: spank.job_step_id()?,
            local_tasks: spank.job_local_task_count()?,
            total_tasks: spank.job_total_task_count()?,
            pinned,
            privileged: user.uid == 0 && allowed.is_some_and(|value| is_yes(value.to_bytes())),
            user,
        })
    }

    /// Whether somebody may be watching: a single task, or the batch step.
    pub(crate) fn is_talkative(&self) -> bool {
        self.total_tasks <= 1
    }

    /// Whether all tasks are on this node, so that what one of them says is said once.
    pub(crate) fn is_on_one_node(&self) -> bool {
        self.total_tasks <= self.local_tasks.max(1)
    }

    /// `JOBID.STEPID`, as in the names of unnamed containers.
    pub(crate) fn step_name(&self) -> String {
        format!("{}.{}", self.job_id, self.step_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_on_one_node_has_all_its_tasks_there() {
        let job = |local_tasks, total_tasks| Job {
            user: Credentials { uid: 1, gid: 1, groups: vec![] },
            job_id: 1,
            step_id: StepId(0),
            local_tasks,
            total_tasks,
            pinned: None,
            privileged: false,
        };
        for (local, total, one, talkative) in [
            (1, 1, true, true),
            (8, 8, true, false),
            (4, 8, false, false),
            (1, 2, false, false),
            (0, 0, true, true),
        ] {
            let job = job(local, total);
            assert_eq!(
                (job.is_on_one_node(), job.is_talkative()),
                (one, talkative),
                "{local}/{total}"
            );
        }
    }

    #[test]
    fn superuser_needs_a_yes() {
        for (value, yes) in
            [(c"y", true), (c"1", true), (c"No", false), (c"", false), (c"F", false)]
        {
            assert_eq!(is_yes(value.to_bytes()), yes, "{value:?}");
        }
    }
}
