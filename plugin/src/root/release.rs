//! slurmstepd lets go of the container.

use super::process::ends_within;
use crate::step::shared::Shared;
use handover::{Handover, Part};
use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};
use nix::sys::stat::fstat;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// How long to wait at the end of a step for helper processes to see that their file system is
/// gone. They need less than a millisecond; longer means that the user's processes are
/// still there, whom Slurm is about to kill.
const HELPER_GRACE: Duration = Duration::from_millis(500);

impl Shared {
    /// Lets go of the container and waits for its helpers to notice, so that Slurm finds none
    /// when it looks for what is left of the step. Returns whether they have ended, and device and
    /// inode of the container's mount namespace.
    pub(crate) fn release(&self) -> (bool, Option<(u64, u64)>) {
        // A start that outlives its task would leave its container here, until slurmstepd ends.
        let _ = shutdown(self.queue.as_raw_fd(), Shutdown::Read);
        let container = Handover::dequeue(self.queue.as_fd()).ok().flatten();
        let (mut helpers, mut mounts) = (None, None);
        if let Some(mut container) = container {
            helpers = container.take(Part::Helpers);
            mounts = container.get(Part::Mount).and_then(|namespace| fstat(namespace).ok());
        }
        // The farewell: a step that ends without one has lost its slurmstepd. A start that failed
        // has left somebody who waits for it, too.
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let _ = send(self.lease.as_raw_fd(), b"end", flags);
        let ended = helpers.is_none_or(|helpers| ends_within(&helpers, HELPER_GRACE));
        (ended, mounts.map(|at| (at.st_dev, at.st_ino)))
    }
}
