//! Whom the kernel ends when the step's memory is used up: a program, and not the process that serves its image, without
//! which every program of the step would fail at whatever it reads next.
//!
//! Nobody can be spared without a privilege that would be a user's from then on. So tasks offer themselves: after the
//! container's helpers are there, which keep the score that Slurm gives a task, each raises its own. That is less than
//! the kernel lets everybody do. But the file is root's in a process that changed its user, and so root opens it.

use spank_bindings::Spank;
use std::fs::{File, OpenOptions};

/// Of memory, in MiB, that a task is taken to have besides its own: what a server keeps at most, and what it works with.
const HEAD_START: u64 = 64;

/// Where a step's memory has no limit, and a node runs out of its own: the jobs of others are not to be better off by much.
const UNLIMITED: u32 = 16;

/// How a task raises its score.
pub(crate) struct Offer {
    score: u32,
    file: File,
}

impl Offer {
    /// In a task, as root: opens its own score.
    pub(crate) fn prepare(spank: &Spank<'_>) -> Option<Offer> {
        let file = OpenOptions::new().write(true).open("/proc/self/oom_score_adj").ok()?;
        Some(Offer { score: score(spank.step_alloc_mem().unwrap_or(0)), file })
    }

    /// In the task, as the user, for whom the kernel lets it be raised only.
    pub(crate) fn raise(&self) {
        let _ = nix::unistd::write(&self.file, self.score.to_string().as_bytes());
    }
}

/// In thousandths of the limit, which is how the kernel counts.
fn score(limit: u64) -> u32 {
    let score = (HEAD_START * 1000).checked_div(limit);
    score.map_or(UNLIMITED, |score| score.clamp(1, 1000) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_a_head_start_of_what_a_server_can_take() {
        for limit in [64, 120, 300, 4096, 64_000] {
            let ahead = limit * u64::from(score(limit)) / 1000;
            // One thousandth may be missing.
            assert!(ahead <= HEAD_START && ahead + limit / 1000 + 1 >= HEAD_START, "{limit}");
        }
        assert_eq!(score(10), 1000);
        assert_eq!(score(2 << 20), 1);
        assert_eq!(score(0), UNLIMITED);
    }
}
