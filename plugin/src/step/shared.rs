//! What the tasks of a step share: one lock, one byte of state, one container.
//!
//! The lock is a record lock on a memory file: the kernel frees it when its holder dies, and the
//! others sleep in the kernel until then. The container is a message in a socket's queue, which
//! each task looks at ([`handover`]). All three are made in slurmstepd before it forks.

use super::StepError;
use super::lock::RecordLock;
use handover::{Handover, Part};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, send, shutdown, socketpair,
};
use nix::sys::stat::fstat;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// How long to wait at the end of a step for helper processes to see that their file system is
/// gone, in milliseconds. They need less than one; longer means that the user's processes are
/// still there, whom Slurm is about to kill.
const HELPER_GRACE: u16 = 500;

const FRESH: u8 = 0;
const STARTING: u8 = 1;
const READY: u8 = 2;
const FAILED: u8 = 3;

/// Offsets in the memory file. Each is also the byte whose lock guards it.
const STATE: u64 = 0;
const FETCHED: u64 = 1;
const CREATED: u64 = 2;
const MAKING: u64 = 3;
const ENTERED: u64 = 4;

/// The tasks' common ground.
pub(crate) struct Shared {
    state: File,
    sender: OwnedFd,
    queue: OwnedFd,
    /// The way to the shared image store.
    pub(crate) broker: Option<OwnedFd>,
}

impl Shared {
    pub(crate) fn new() -> Result<Shared, StepError> {
        let failed = |errno: Errno| StepError::Shared(errno.into());
        let state = memfd_create("pyxis-step", MFdFlags::MFD_CLOEXEC).map_err(failed)?;
        let (sender, queue) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(failed)?;
        let state = File::from(state);
        state.write_all_at(&[FRESH; 8], 0).map_err(StepError::Shared)?;
        Ok(Shared { state, sender, queue, broker: None })
    }

    /// Runs `start`, which sends the container to the socket it is given, in the first task to
    /// come; the others wait for it. Every task gets the container, or the reason why not.
    pub(crate) fn start_once(
        &self,
        start: impl FnOnce(BorrowedFd<'_>) -> Result<(), StepError>,
    ) -> Result<Handover, StepError> {
        let _lock = self.lock(STATE)?;
        match self.read() {
            FRESH => {
                self.write(STARTING)?;
                let result = start(self.sender.as_fd());
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

    /// Where to ask for images that the shared store lacks.
    pub(crate) fn broker(&self) -> Option<BorrowedFd<'_>> {
        self.broker.as_ref().map(AsFd::as_fd)
    }

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
        let _ =
            send(self.queue.as_raw_fd(), b"end", MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
        let ended = helpers.is_none_or(|helpers| {
            let mut hangup = [PollFd::new(helpers.as_fd(), PollFlags::POLLIN)];
            poll(&mut hangup, PollTimeout::from(HELPER_GRACE)).is_ok_and(|ready| ready > 0)
        });
        (ended, mounts.map(|at| (at.st_dev, at.st_ino)))
    }

    /// Notes that an image is being got, which may leave something to release.
    pub(crate) fn note_fetched(&self) -> Result<(), StepError> {
        self.note(FETCHED, true)
    }

    /// Whether an image was being got.
    pub(crate) fn fetched(&self) -> bool {
        self.noted(FETCHED)
    }

    /// Notes that a container is being made, or that it was not.
    pub(crate) fn note_created(&self, created: bool) -> Result<(), StepError> {
        self.note(CREATED, created)
    }

    /// Notes whether a container is being made at this moment.
    pub(crate) fn note_making(&self, making: bool) -> Result<(), StepError> {
        self.note(MAKING, making)
    }

    /// Whether who was making a container has been killed.
    pub(crate) fn making(&self) -> bool {
        self.noted(MAKING)
    }

    /// Whether there may be a container to remove.
    pub(crate) fn created(&self) -> bool {
        self.noted(CREATED)
    }

    fn note(&self, at: u64, what: bool) -> Result<(), StepError> {
        self.state.write_all_at(&[u8::from(what)], at).map_err(StepError::Shared)
    }

    fn noted(&self, at: u64) -> bool {
        let mut byte = [0];
        self.state.read_exact_at(&mut byte, at).is_ok() && byte[0] != 0
    }

    /// Counts a task that has moved into the container.
    pub(crate) fn note_entered(&self) -> Result<(), StepError> {
        let _lock = self.lock(ENTERED)?;
        let count = self.entered() + 1;
        self.state.write_all_at(&count.to_ne_bytes(), ENTERED).map_err(StepError::Shared)
    }

    /// How many tasks have moved in.
    pub(crate) fn entered(&self) -> u32 {
        let mut bytes = [0; 4];
        let _ = self.state.read_exact_at(&mut bytes, ENTERED);
        u32::from_ne_bytes(bytes)
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
    use nix::libc;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

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

    fn send_container(socket: BorrowedFd<'_>) -> Result<(), StepError> {
        let cwd: OwnedFd = File::open("/").unwrap().into();
        Handover::new(vec![(Part::Cwd, cwd)]).send(socket).map_err(StepError::Shared)
    }

    #[test]
    fn one_task_starts_and_all_get_the_container() {
        let shared = Shared::new().unwrap();
        let starts = File::from(memfd_create("starts", MFdFlags::empty()).unwrap());
        let tasks: Vec<_> = (0..32)
            .map(|_| {
                in_task(|| {
                    let got = shared.start_once(|socket| {
                        std::thread::sleep(std::time::Duration::from_millis(50));
                        use std::io::Write;
                        (&starts).write_all(b"x").unwrap();
                        send_container(socket)
                    });
                    i32::from(!got.is_ok_and(|container| container.get(Part::Cwd).is_some()))
                })
            })
            .collect();
        assert_eq!(tasks.into_iter().map(code).sum::<i32>(), 0);
        assert_eq!(starts.metadata().unwrap().len(), 1);
        shared.release();
        assert!(Handover::peek(shared.queue.as_fd()).unwrap().is_none());
        // Nobody would take it.
        assert!(send_container(shared.sender.as_fd()).is_err());
    }

    #[test]
    fn waiting_tasks_sleep_in_the_kernel() {
        let pause = |milliseconds| {
            std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        };
        let shared = Shared::new().unwrap();
        let starter = in_task(|| {
            let got = shared.start_once(|socket| {
                pause(600);
                send_container(socket)
            });
            i32::from(got.is_err())
        });
        pause(100);
        let waiter = in_task(|| i32::from(shared.start_once(send_container).is_err()));
        pause(100);
        let switches = || {
            let status = std::fs::read_to_string(format!("/proc/{waiter}/status")).unwrap();
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
            line.unwrap().to_owned()
        };
        let before = switches();
        pause(250);
        // Whoever polls has been awake in between.
        assert_eq!(switches(), before);
        assert_eq!((code(starter), code(waiter)), (0, 0));
    }

    /// Who looks after the container waits for it.
    #[test]
    fn a_start_that_failed_gets_its_farewell() {
        let shared = Shared::new().unwrap();
        let failed = shared.start_once(|_| Err(StepError::NoContainer));
        assert!(failed.is_err());
        assert_eq!(shared.release(), (true, None));
        let mut word = [0; 8];
        let flags = MsgFlags::MSG_DONTWAIT;
        assert_eq!(nix::sys::socket::recv(shared.sender.as_raw_fd(), &mut word, flags), Ok(3));
    }

    #[test]
    fn when_the_first_task_fails_the_others_do_too() {
        let shared = Shared::new().unwrap();
        let first = in_task(|| match shared.start_once(|_| Err(StepError::NoContainer)) {
            Err(StepError::NoContainer) => 7,
            _ => 0,
        });
        assert_eq!(code(first), 7);
        let second = in_task(|| match shared.start_once(send_container) {
            Err(StepError::OtherTaskFailed) => 8,
            _ => 0,
        });
        assert_eq!(code(second), 8);
    }

    #[test]
    fn a_starter_that_dies_does_not_hang_the_others() {
        let shared = Shared::new().unwrap();
        let first = in_task(|| {
            let _ = shared.start_once(|_| {
                // SAFETY: never returns; the task is gone in the middle of starting.
                unsafe { libc::_exit(9) }
            });
            0
        });
        assert_eq!(code(first), 9);
        for expected in ["unexpectedly", "another task"] {
            let next = in_task(|| match shared.start_once(send_container) {
                Err(error) if error.to_string().contains(expected) => 5,
                _ => 0,
            });
            assert_eq!(code(next), 5, "{expected}");
        }
    }
}
