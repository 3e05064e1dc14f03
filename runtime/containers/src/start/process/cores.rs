//! The cores of an image's server. The task that starts it is bound to some of the step's; the server
//! works for all tasks.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Leaves the task's cores for those of the whole step on this node, whose number `given` is, as
/// `SLURM_CPUS_ON_NODE` has it. Where no cpuset holds a step to its cores, more would be taken from
/// other jobs: then it is left as it is.
pub(in crate::start) fn of_the_step(given: Option<usize>) {
    let this = Pid::from_raw(0);
    let (Some(given), Ok(bound)) = (given, sched_getaffinity(this)) else { return };
    let mut all = CpuSet::new();
    for core in 0..CpuSet::count() {
        let _ = all.set(core);
    }
    // The kernel leaves out those that the cpuset does not have.
    let _ = sched_setaffinity(this, &all);
    let wide = sched_getaffinity(this).is_ok_and(|wide| count(&wide) <= given);
    if !wide {
        let _ = sched_setaffinity(this, &bound);
    }
}

fn count(cores: &CpuSet) -> usize {
    (0..CpuSet::count()).filter(|core| cores.is_set(*core).unwrap_or(false)).count()
}
