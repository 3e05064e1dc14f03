//! How a started container reaches those who join it: one message on a `SOCK_SEQPACKET` socket,
//! its text naming the descriptors that travel with it (`SCM_RIGHTS`), in order.
//!
//! Descriptors, not PIDs: a PID may be reused between lookup and `setns(2)`. The message is
//! looked at with `MSG_PEEK`, so that one serves every task of the step; whoever takes it out of
//! the queue closes the container's last references that are not a task's own.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// First word of every message; another word means another version of this protocol.
const MAGIC: &str = "pyxis-container-1";
/// How `pyxis start --handover` ends, for whoever asked. Beside these: 0, it was started, and any
/// other, with words about it on stderr.
pub mod ending {
    /// It was running, and is what was handed over (`--join`).
    pub const JOINED: u8 = 10;
    /// There is no container of this name (any more).
    pub const ABSENT: u8 = 11;
    /// It does not run, and was not to be started (`--join --no-start`).
    pub const NOT_RUNNING: u8 = 12;
}

/// The most descriptors that a message can carry (`SCM_MAX_FD`): with less room, those of a
/// message that is too long would stay open unseen.
const MAX_PARTS: usize = 253;

/// What a descriptor in the message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// User namespace; absent when the container shares the host's (superuser containers).
    User,
    /// Cgroup namespace.
    Cgroup,
    /// Mount namespace, its root already the container's.
    Mount,
    /// IPC namespace, only when it is the container's own.
    Ipc,
    /// UTS namespace, only when it is the container's own.
    Uts,
    /// Network namespace, only when it is the container's own.
    Net,
    /// Directory to start in (`O_PATH`).
    Cwd,
    /// File of NUL-separated `NAME=VALUE`: the container's environment.
    Environ,
    /// Becomes readable, or hangs up, when the last helper process of the container is gone.
    Helpers,
}

impl Part {
    const ALL: [(Part, &'static str); 9] = [
        (Part::User, "user"),
        (Part::Cgroup, "cgroup"),
        (Part::Mount, "mount"),
        (Part::Ipc, "ipc"),
        (Part::Uts, "uts"),
        (Part::Net, "net"),
        (Part::Cwd, "cwd"),
        (Part::Environ, "environ"),
        (Part::Helpers, "helpers"),
    ];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(part, _)| *part == self).map_or("?", |(_, word)| word)
    }

    fn from_word(word: &str) -> Option<Part> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(part, _)| *part)
    }
}

/// A started container, as descriptors.
#[derive(Debug)]
pub struct Handover {
    parts: Vec<(Part, OwnedFd)>,
}

impl Handover {
    /// A container made of these descriptors.
    pub fn new(parts: Vec<(Part, OwnedFd)>) -> Self {
        Handover { parts }
    }

    /// The descriptor of `part`, where the container has one.
    pub fn get(&self, part: Part) -> Option<&OwnedFd> {
        self.parts.iter().find(|(have, _)| *have == part).map(|(_, fd)| fd)
    }

    /// Adds the descriptor of `part`.
    pub fn put(&mut self, part: Part, fd: OwnedFd) {
        self.parts.push((part, fd));
    }

    /// Moves the descriptor of `part` out.
    pub fn take(&mut self, part: Part) -> Option<OwnedFd> {
        let at = self.parts.iter().position(|(have, _)| *have == part)?;
        Some(self.parts.swap_remove(at).1)
    }

    /// Sends the container to `socket`. Errors are those of `sendmsg(2)`.
    pub fn send(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let mut text = String::from(MAGIC);
        for (part, _) in &self.parts {
            text.push(' ');
            text.push_str(part.word());
        }
        let fds: Vec<RawFd> = self.parts.iter().map(|(_, fd)| fd.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let iov = [IoSlice::new(text.as_bytes())];
        sendmsg::<()>(socket.as_raw_fd(), &iov, &rights, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    /// Looks at the container waiting on `socket` and leaves it there for the next task.
    /// `None` when there is none; never blocks.
    pub fn peek(socket: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        Self::receive(socket, MsgFlags::MSG_PEEK)
    }

    /// Takes the container out of `socket`. `None` when there is none; never blocks.
    pub fn dequeue(socket: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        Self::receive(socket, MsgFlags::empty())
    }

    fn receive(socket: BorrowedFd<'_>, flags: MsgFlags) -> io::Result<Option<Self>> {
        let mut text = [0u8; 256];
        let mut iov = [IoSliceMut::new(&mut text)];
        let mut space = nix::cmsg_space!([RawFd; MAX_PARTS]);
        let flags = flags | MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = match recvmsg::<()>(socket.as_raw_fd(), &mut iov, Some(&mut space), flags) {
            Ok(message) => message,
            Err(nix::errno::Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let mut fds = Vec::new();
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(received) = control {
                for fd in received {
                    // SAFETY: the kernel has just made this descriptor for us alone.
                    fds.push(unsafe { OwnedFd::from_raw_fd(fd) });
                }
            }
        }
        let length = message.bytes;
        if length == 0 && fds.is_empty() {
            return Ok(None); // every sender is gone
        }
        let text = std::str::from_utf8(&text[..length]).unwrap_or("");
        parse(text, fds).map(Some)
    }
}

fn parse(text: &str, fds: Vec<OwnedFd>) -> io::Result<Handover> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut words = text.split(' ');
    if words.next() != Some(MAGIC) {
        return Err(bad("the pyxis command and the plugin are of different versions"));
    }
    let parts: Option<Vec<Part>> = words.map(Part::from_word).collect();
    let parts = parts.ok_or_else(|| bad("unknown descriptor in the container's message"))?;
    if parts.len() != fds.len() {
        return Err(bad("descriptors of the container's message were lost (open files limit?)"));
    }
    Ok(Handover { parts: parts.into_iter().zip(fds).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use std::fs::File;
    use std::os::fd::AsFd;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap()
    }

    #[test]
    fn every_task_sees_the_one_message() {
        let (sender, queue) = pair();
        assert!(Handover::peek(queue.as_fd()).unwrap().is_none());
        let null: OwnedFd = File::open("/dev/null").unwrap().into();
        let dir: OwnedFd = File::open("/").unwrap().into();
        Handover::new(vec![(Part::Mount, null), (Part::Cwd, dir)]).send(sender.as_fd()).unwrap();
        for _ in 0..200 {
            let seen = Handover::peek(queue.as_fd()).unwrap().unwrap();
            assert!(seen.get(Part::Mount).is_some() && seen.get(Part::User).is_none());
        }
        assert!(Handover::dequeue(queue.as_fd()).unwrap().is_some());
        assert!(Handover::dequeue(queue.as_fd()).unwrap().is_none());
    }

    #[test]
    fn a_foreign_message_is_refused() {
        let (sender, queue) = pair();
        nix::sys::socket::send(sender.as_raw_fd(), b"hello", MsgFlags::empty()).unwrap();
        let error = Handover::dequeue(queue.as_fd()).unwrap_err();
        assert!(error.to_string().contains("different versions"), "{error}");
    }

    #[test]
    fn a_message_with_too_many_descriptors_leaks_none() {
        let (sender, queue) = pair();
        let null = File::open("/dev/null").unwrap();
        let fds = vec![null.as_raw_fd(); 200];
        let iov = [IoSlice::new(b"pyxis-container-1 user")];
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(sender.as_raw_fd(), &iov, &rights, MsgFlags::empty(), None).unwrap();
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        assert!(Handover::dequeue(queue.as_fd()).is_err());
        assert_eq!(open(), before);
    }

    #[test]
    fn a_closed_sender_is_no_container() {
        let (sender, queue) = pair();
        drop(sender);
        assert!(Handover::peek(queue.as_fd()).unwrap().is_none());
    }
}
