//! What the tasks of a step share, as slurmstepd makes it before it forks them and lets go of it after the last
//! one. How tasks use it is in `step/shared.rs`.

use super::child::Allowance;
use super::process::ends_within;
use crate::step::error::StepError;
use handover::{Handover, Part};
use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, send, shutdown, socketpair,
};
use nix::sys::stat::fstat;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// How long to wait at the end of a step for helper processes to see that their file system is
/// gone. They need less than a millisecond; longer means that the user's processes are
/// still there, whom Slurm is about to kill.
const HELPER_GRACE: Duration = Duration::from_millis(500);

pub(crate) const FRESH: u8 = 0;
pub(crate) const STARTING: u8 = 1;
pub(crate) const READY: u8 = 2;
pub(crate) const FAILED: u8 = 3;

/// Offsets in the memory file. Each is also the byte whose lock guards it.
pub(crate) const STATE: u64 = 0;
pub(crate) const FETCHED: u64 = 1;
pub(crate) const CREATED: u64 = 2;
pub(crate) const MAKING: u64 = 3;
pub(crate) const ENTERED: u64 = 4;
pub(crate) const LEFT: u64 = 8;
pub(crate) const SAVING: u64 = 12;

/// In place of the process that saves: it has been seen to, and what went wrong has been said.
pub(crate) const SAVED: u32 = u32::MAX;

/// What whoever starts a container is given.
#[derive(Clone, Copy)]
pub(crate) struct Channels<'a> {
    /// Where to send the container.
    pub(crate) socket: BorrowedFd<'a>,
    /// The keeper's end of the step socket. The farewell comes from here when the step ends; if it closes without
    /// one, slurmstepd is dead.
    pub(crate) step_socket: BorrowedFd<'a>,
    /// Where to ask for the image's mount.
    pub(crate) mounter: Option<BorrowedFd<'a>>,
}

/// What a step has let go of.
pub(crate) struct Released {
    /// There was a container.
    pub(crate) came: bool,
    /// Its helpers have ended, as far as something stands for them.
    pub(crate) ended: bool,
    /// That, where the runtime has sent it.
    pub(crate) helpers: Option<OwnedFd>,
    /// Device and inode of the container's mount namespace.
    pub(crate) mounts: Option<(u64, u64)>,
}

/// What the tasks of a step share.
pub(crate) struct Shared {
    pub(crate) state: File,
    /// No child of a task gets it.
    pub(crate) sender: OwnedFd,
    pub(crate) queue: OwnedFd,
    /// slurmstepd's end of the step socket: the keeper sees when it is closed. Nobody can send anything to it.
    pub(crate) step_socket: OwnedFd,
    /// The keeper's end.
    pub(crate) keeper_end: OwnedFd,
    /// The way to the shared image store.
    pub(crate) broker: Option<OwnedFd>,
    /// The way to who has the kernel mount what is there.
    pub(crate) mounter: Option<OwnedFd>,
}

impl Shared {
    pub(crate) fn new() -> Result<Shared, StepError> {
        let failed = |errno: Errno| StepError::Shared(errno.into());
        let state = memfd_create("pyxis-step", MFdFlags::MFD_CLOEXEC).map_err(failed)?;
        let (sender, queue) = pair().map_err(failed)?;
        let (step_socket, keeper_end) = pair().map_err(failed)?;
        shutdown(step_socket.as_raw_fd(), Shutdown::Read).map_err(failed)?;
        let state = File::from(state);
        state.write_all_at(&[FRESH; 16], 0).map_err(StepError::Shared)?;
        Ok(Shared { state, sender, queue, step_socket, keeper_end, broker: None, mounter: None })
    }

    /// Ends the processes behind the ways to the store, also where somebody else has kept such a way.
    pub(crate) fn hang_up(&mut self) {
        for way in [self.broker.take(), self.mounter.take()].into_iter().flatten() {
            let _ = shutdown(way.as_raw_fd(), Shutdown::Both);
        }
    }

    /// Whether an image was being got.
    pub(crate) fn fetched(&self) -> bool {
        self.noted(FETCHED)
    }

    /// Whether who was making a container has been killed.
    pub(crate) fn making(&self) -> bool {
        self.noted(MAKING)
    }

    /// Whether there may be a container to remove.
    pub(crate) fn created(&self) -> bool {
        self.noted(CREATED)
    }

    fn noted(&self, at: u64) -> bool {
        let mut byte = [0];
        self.state.read_exact_at(&mut byte, at).is_ok() && byte[0] != 0
    }

    /// How many tasks have moved in.
    pub(crate) fn entered(&self) -> u32 {
        self.number(ENTERED)
    }

    /// The process by which a task saves the container, [`SAVED`], or 0.
    pub(crate) fn saving(&self) -> u32 {
        self.number(SAVING)
    }

    pub(crate) fn number(&self, at: u64) -> u32 {
        let mut bytes = [0; 4];
        let _ = self.state.read_exact_at(&mut bytes, at);
        u32::from_ne_bytes(bytes)
    }

    /// Lets go of the container and waits for its helpers to notice, so that Slurm finds none
    /// when it looks for what is left of the step.
    pub(crate) fn release(&self, allowance: &Allowance) -> Released {
        // A start that outlives its task would leave its container here, until slurmstepd ends.
        let _ = shutdown(self.queue.as_raw_fd(), Shutdown::Read);
        let container = Handover::dequeue(self.queue.as_fd()).ok().flatten();
        let (mut helpers, mut mounts) = (None, None);
        // Who saves it has let go of it before.
        let came = container.is_some() || self.saving() != 0;
        if let Some(mut container) = container {
            helpers = container.take(Part::Helpers);
            mounts = container.get(Part::Mount).and_then(|namespace| fstat(namespace).ok());
        }
        // The farewell: a step that ends without one has lost its slurmstepd. A start that failed
        // has left somebody who waits for it, too.
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let _ = send(self.step_socket.as_raw_fd(), b"end", flags);
        let begun = Instant::now();
        let ended = helpers.as_ref().is_none_or(|helpers| ends_within(helpers, HELPER_GRACE));
        allowance.spend(begun);
        Released { came, ended, helpers, mounts: mounts.map(|at| (at.st_dev, at.st_ino)) }
    }
}

pub(crate) fn pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}
