//! What the tasks of a step share: one lock, one byte of state, one container.
//!
//! The lock is a record lock on a memory file: the kernel frees it when its holder dies, and the
//! others sleep in the kernel until then. The container is a message in a socket's queue, which
//! each task looks at ([`handover`]). All three are made in slurmstepd before it forks.
//!
//! slurmstepd has an end of that queue, and in the end takes out and closes what is in it. So only
//! tasks put something into it, whom nobody can trace: the one that starts the container gets the
//! message on a socket of its own, and passes on what the kernel vouches for.

use super::error::StepError;
use super::lock::RecordLock;
use crate::root::shared::{
    CREATED, Channels, ENTERED, FAILED, FETCHED, FRESH, LEFT, MAKING, READY, SAVING, STARTING,
    STATE, Shared, pair,
};
use handover::Handover;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

impl Shared {
    /// Runs `start`, which sends the container to the socket it is given, in the first task to
    /// come; the others wait for it. Every task gets the container, or the reason why not.
    /// `check` says what is wrong with one.
    pub(crate) fn start_once(
        &self,
        check: impl FnOnce(&Handover) -> io::Result<()>,
        start: impl FnOnce(Channels<'_>) -> Result<(), StepError>,
    ) -> Result<Handover, StepError> {
        let _lock = self.lock(STATE)?;
        match self.read() {
            FRESH => {
                self.write(STARTING)?;
                let result = self.start(check, start);
                self.write(if result.is_ok() { READY } else { FAILED })?;
                result?;
            }
            READY => {}
            STARTING => {
                self.write(FAILED)?;
                return Err(StepError::StarterDied);
            }
            _ => return Err(StepError::OtherTaskFailed),
        }
        Handover::peek(self.queue.as_fd()).map_err(StepError::Shared)?.ok_or(StepError::NoContainer)
    }

    fn start(
        &self,
        check: impl FnOnce(&Handover) -> io::Result<()>,
        start: impl FnOnce(Channels<'_>) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let (socket, own) = pair().map_err(|errno| StepError::Shared(errno.into()))?;
        let (mounter, step_socket) =
            (self.mounter.as_ref().map(AsFd::as_fd), self.keeper_end.as_fd());
        start(Channels { socket: socket.as_fd(), step_socket, mounter })?;
        let message = Handover::dequeue(own.as_fd()).map_err(StepError::Odd)?;
        let message = message.ok_or(StepError::NoContainer)?;
        if !matches!(Handover::dequeue(own.as_fd()), Ok(None)) {
            return Err(StepError::Odd(io::Error::other("more than one message came")));
        }
        check(&message).map_err(StepError::Odd)?;
        message.send(self.sender.as_fd()).map_err(StepError::Shared)
    }

    /// Where to ask for images that the shared store lacks.
    pub(crate) fn broker(&self) -> Option<BorrowedFd<'_>> {
        self.broker.as_ref().map(AsFd::as_fd)
    }

    /// Notes that an image is being got, which may leave something to release.
    pub(crate) fn note_fetched(&self) -> Result<(), StepError> {
        self.note(FETCHED, true)
    }

    /// Notes that a container is being made, or that it was not.
    pub(crate) fn note_created(&self, created: bool) -> Result<(), StepError> {
        self.note(CREATED, created)
    }

    /// Notes whether a container is being made at this moment.
    pub(crate) fn note_making(&self, making: bool) -> Result<(), StepError> {
        self.note(MAKING, making)
    }

    fn note(&self, at: u64, what: bool) -> Result<(), StepError> {
        self.state.write_all_at(&[u8::from(what)], at).map_err(StepError::Shared)
    }

    /// Counts a task that has moved into the container.
    pub(crate) fn note_entered(&self) -> Result<(), StepError> {
        self.count(ENTERED).map(drop)
    }

    /// Counts a task whose program has ended; returns how many have.
    pub(crate) fn note_left(&self) -> Result<u32, StepError> {
        self.count(LEFT)
    }

    /// Notes by which process the container is being saved, or that it has been seen to.
    pub(crate) fn note_saving(&self, who: u32) -> Result<(), StepError> {
        self.state.write_all_at(&who.to_ne_bytes(), SAVING).map_err(StepError::Shared)
    }

    fn count(&self, at: u64) -> Result<u32, StepError> {
        let _lock = self.lock(at)?;
        let count = self.number(at).saturating_add(1);
        self.state.write_all_at(&count.to_ne_bytes(), at).map_err(StepError::Shared)?;
        Ok(count)
    }

    fn lock(&self, byte: u64) -> Result<RecordLock<'_>, StepError> {
        RecordLock::take(&self.state, byte as i64).map_err(|errno| StepError::Shared(errno.into()))
    }

    fn read(&self) -> u8 {
        let mut byte = [FAILED];
        let _ = self.state.read_exact_at(&mut byte, STATE);
        byte[0]
    }

    fn write(&self, byte: u8) -> Result<(), StepError> {
        self.state.write_all_at(&[byte], STATE).map_err(StepError::Shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::child::Allowance;
    use handover::Part;
    use nix::libc;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use nix::sys::socket::MsgFlags;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};
    use std::fs::File;
    use std::os::fd::{AsRawFd, OwnedFd};

    /// Runs `task` in a forked child, as a Slurm task is; its result is the exit code.
    fn in_task(task: impl FnOnce() -> i32) -> nix::unistd::Pid {
        // SAFETY: the child only uses descriptors and memory of its own and leaves by _exit.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => child,
            // SAFETY: never returns.
            ForkResult::Child => unsafe { libc::_exit(task()) },
        }
    }

    fn code(child: nix::unistd::Pid) -> i32 {
        match waitpid(child, None).unwrap() {
            WaitStatus::Exited(_, code) => code,
            other => panic!("{other:?}"),
        }
    }

    fn send_container(channels: Channels<'_>) -> Result<(), StepError> {
        let cwd: OwnedFd = File::open("/").unwrap().into();
        Handover::new(vec![(Part::Cwd, cwd)]).send(channels.socket).map_err(StepError::Shared)
    }

    fn sound(_: &Handover) -> io::Result<()> {
        Ok(())
    }

    #[test]
    fn one_task_starts_and_all_get_the_container() {
        let shared = Shared::new().unwrap();
        let starts = File::from(memfd_create("starts", MFdFlags::empty()).unwrap());
        let tasks: Vec<_> = (0..32)
            .map(|_| {
                in_task(|| {
                    let got = shared.start_once(sound, |channels| {
                        std::thread::sleep(std::time::Duration::from_millis(50));
                        use std::io::Write;
                        (&starts).write_all(b"x").unwrap();
                        send_container(channels)
                    });
                    i32::from(!got.is_ok_and(|container| container.get(Part::Cwd).is_some()))
                })
            })
            .collect();
        assert_eq!(tasks.into_iter().map(code).sum::<i32>(), 0);
        assert_eq!(starts.metadata().unwrap().len(), 1);
        shared.release(&Allowance::new());
        assert!(Handover::peek(shared.queue.as_fd()).unwrap().is_none());
        // Nobody would take it.
        assert!(Handover::new(Vec::new()).send(shared.sender.as_fd()).is_err());
    }

    #[test]
    fn waiting_tasks_sleep_in_the_kernel() {
        use std::io::{Read, Write};
        let shared = Shared::new().unwrap();
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let starter = in_task(|| {
            let got = shared.start_once(sound, |channels| {
                (&theirs).write_all(b"x").unwrap();
                (&theirs).read_exact(&mut [0]).unwrap();
                send_container(channels)
            });
            i32::from(got.is_err())
        });
        ours.read_exact(&mut [0]).unwrap();
        let waiter = in_task(|| i32::from(shared.start_once(sound, send_container).is_err()));
        let switches = || {
            let status = std::fs::read_to_string(format!("/proc/{waiter}/status")).unwrap();
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
            line.unwrap().to_owned()
        };
        // On a busy machine it takes a while until it waits. Whoever polls is awake in between each time.
        let sleeps = (0..40).any(|_| {
            let before = switches();
            std::thread::sleep(std::time::Duration::from_millis(250));
            switches() == before
        });
        assert!(sleeps);
        ours.write_all(b"x").unwrap();
        assert_eq!((code(starter), code(waiter)), (0, 0));
    }

    /// Who looks after the container waits for it.
    #[test]
    fn a_start_that_failed_gets_its_farewell() {
        let shared = Shared::new().unwrap();
        let failed = shared.start_once(sound, |_| Err(StepError::NoContainer));
        assert!(failed.is_err());
        let released = shared.release(&Allowance::new());
        assert!(released.ended && !released.came && released.mounts.is_none());
        let mut word = [0; 8];
        let flags = MsgFlags::MSG_DONTWAIT;
        assert_eq!(nix::sys::socket::recv(shared.keeper_end.as_raw_fd(), &mut word, flags), Ok(3));
    }

    #[test]
    fn when_the_first_task_fails_the_others_do_too() {
        let shared = Shared::new().unwrap();
        let first = in_task(|| match shared.start_once(sound, |_| Err(StepError::NoContainer)) {
            Err(StepError::NoContainer) => 7,
            _ => 0,
        });
        assert_eq!(code(first), 7);
        let second = in_task(|| match shared.start_once(sound, send_container) {
            Err(StepError::OtherTaskFailed) => 8,
            _ => 0,
        });
        assert_eq!(code(second), 8);
    }

    #[test]
    fn a_starter_that_dies_does_not_hang_the_others() {
        let shared = Shared::new().unwrap();
        let first = in_task(|| {
            let _ = shared.start_once(sound, |_| {
                // SAFETY: never returns; the task is gone in the middle of starting.
                unsafe { libc::_exit(9) }
            });
            0
        });
        assert_eq!(code(first), 9);
        for expected in ["unexpectedly", "another task"] {
            let next = in_task(|| match shared.start_once(sound, send_container) {
                Err(error) if error.to_string().contains(expected) => 5,
                _ => 0,
            });
            assert_eq!(code(next), 5, "{expected}");
        }
    }

    /// What slurmstepd will have to close is what the task that got it has looked at.
    #[test]
    fn what_is_refused_never_comes_into_the_common_queue() {
        let shared = Shared::new().unwrap();
        let odd = |_: &Handover| Err(io::Error::other("no container"));
        assert!(matches!(shared.start_once(odd, send_container), Err(StepError::Odd(_))));
        assert!(Handover::peek(shared.queue.as_fd()).unwrap().is_none());
        let twice = Shared::new().unwrap();
        let error = twice.start_once(sound, |channels| {
            send_container(channels)?;
            send_container(channels)
        });
        assert!(error.unwrap_err().to_string().contains("more than one message"));
        assert!(Handover::peek(twice.queue.as_fd()).unwrap().is_none());
    }

    /// As the helpers of a container, or who has got hold of what they have, could try.
    #[test]
    fn nothing_can_be_sent_to_the_step_socket() {
        let shared = Shared::new().unwrap();
        let sent = Handover::new(vec![(Part::Cwd, File::open("/").unwrap().into())])
            .send(shared.keeper_end.as_fd());
        assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
