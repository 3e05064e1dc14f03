//! How a started container reaches those who join it: one message on a `SOCK_SEQPACKET` socket,
//! its text naming the descriptors that travel with it (`SCM_RIGHTS`), in order.
//!
//! Descriptors, not PIDs: a PID may be reused between lookup and `setns(2)`. The message is
//! looked at with `MSG_PEEK`, so that one serves every task of the step; whoever takes it out of
//! the queue closes the container's last references that are not a task's own.
//!
//! Who sends it is the user, or a program that has got hold of the user's socket. So whoever receives it
//! has the kernel say what each descriptor is ([`Handover::check`]) before it is used, and before
//! anybody else has to hold or to close it.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::statfs::{FsType, fstatfs};

use crate::MISMATCH;
use crate::namespaces::{Namespace, owner, same};

/// First word of every message; another word means another version of this protocol.
const MAGIC: &str = "pyxis-container-1";
/// How a start that was asked for ends, for whoever asked. Beside these: 0, it was started, and any
/// other, with words about it on stderr.
pub mod ending {
    /// It was running, and is what was handed over.
    pub const JOINED: u8 = 10;
    /// There is no container of this name (any more).
    pub const ABSENT: u8 = 11;
    /// It does not run, and was not to be started.
    pub const NOT_RUNNING: u8 = 12;
}

/// The most descriptors that a message can carry (`SCM_MAX_FD`): with less room, those of a
/// message that is too long would stay open unseen.
const MAX_PARTS: usize = 253;

/// The largest environment: the kernel passes no more than 6 MiB to a program.
pub const MAX_ENVIRON: u64 = 6 << 20;
/// What nobody can change any more.
const SEALS: SealFlag =
    SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_WRITE);

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
    /// Sealed memory file of NUL-separated `NAME=VALUE`: the container's environment.
    Environ,
    /// Process or pipe that becomes readable, or hangs up, when the last helper process of the
    /// container is gone.
    Helpers,
}

impl Part {
    /// All of them, with the words that they have in a message.
    pub const ALL: [(Part, &'static str); 9] = [
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

    /// Whether this is a whole container of user `uid`, each descriptor of the kind that it is
    /// called. Only `privileged` ones, a superuser's, may lack a user namespace of their own.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn check(&self, uid: u32, privileged: bool) -> io::Result<()> {
        for part in [Part::User, Part::Mount, Part::Cwd, Part::Environ] {
            if self.get(part).is_none() && !(privileged && part == Part::User) {
                return Err(bad(&format!("the container's message has no {}", part.word())));
            }
        }
        for (part, fd) in &self.parts {
            if !is_sound(*part, fd, uid)? {
                let word = part.word();
                return Err(bad(&format!("{word} in the container's message is no such thing")));
            }
        }
        Ok(())
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

pub(crate) fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn parse(text: &str, fds: Vec<OwnedFd>) -> io::Result<Handover> {
    let mut words = text.split(' ');
    if words.next() != Some(MAGIC) {
        return Err(bad(MISMATCH));
    }
    let mut parts = Vec::new();
    for word in words {
        let part = Part::from_word(word)
            .ok_or_else(|| bad("unknown descriptor in the container's message"))?;
        if parts.contains(&part) {
            return Err(bad("a descriptor twice in the container's message"));
        }
        parts.push(part);
    }
    if parts.len() != fds.len() {
        return Err(bad("descriptors of the container's message were lost (open files limit?)"));
    }
    Ok(Handover { parts: parts.into_iter().zip(fds).collect() })
}

/// The environment as a file that can be sent: nobody can change it any more.
///
/// # Errors
/// From the kernel.
pub fn environ_file(block: &[u8]) -> io::Result<OwnedFd> {
    sealed_file("environ", block)
}

/// A memory file of these bytes, which nobody can change any more.
pub(crate) fn sealed_file(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = std::fs::File::from(memfd_create(name, flags)?);
    io::Write::write_all(&mut file, bytes)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS))?;
    Ok(file.into())
}

/// `_IO(NSIO, 3)` of `linux/nsfs.h`.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
/// Of `linux/magic.h`.
const NSFS: FsType = FsType(0x6e73_6673);
const PIPEFS: FsType = FsType(0x5049_5045);

/// By what the kernel alone answers: a file system of the user's own could say anything of a file.
fn is_sound(part: Part, fd: &OwnedFd, uid: u32) -> io::Result<bool> {
    Ok(match part {
        Part::User => {
            is_namespace(fd, Namespace::User)? && owner(fd).is_ok_and(|owner| owner == uid)
        }
        Part::Cgroup => is_namespace(fd, Namespace::Cgroup)?,
        Part::Mount => is_namespace(fd, Namespace::Mount)?,
        Part::Ipc => is_namespace(fd, Namespace::Ipc)?,
        Part::Uts => is_namespace(fd, Namespace::Uts)?,
        Part::Net => is_namespace(fd, Namespace::Net)?,
        Part::Cwd => {
            // To close any other kind of descriptor may mean to wait for the file system.
            let flags = fcntl(fd, FcntlArg::F_GETFL)?;
            // A directory for certain if it was opened as one: on Linux 5.10 that is all there is to know of a file system of the
            // user's, which refuses fstat to whoever is outside of its user namespace.
            flags & OFlag::O_PATH.bits() != 0
                && (flags & OFlag::O_DIRECTORY.bits() != 0
                    || fstat(fd)?.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits())
        }
        Part::Environ => {
            let seals = fcntl(fd, FcntlArg::F_GET_SEALS).unwrap_or(0);
            SealFlag::from_bits_truncate(seals).contains(SEALS)
                && fstat(fd)?.st_size as u64 <= MAX_ENVIRON
        }
        Part::Helpers => is_process(fd) || fstatfs(fd)?.filesystem_type() == PIPEFS,
    })
}

/// Whether it is a namespace of this kind, and not the caller's own.
fn is_namespace(fd: &OwnedFd, kind: Namespace) -> io::Result<bool> {
    if fstatfs(fd)?.filesystem_type() != NSFS {
        return Ok(false);
    }
    // SAFETY: takes no argument; the kernel's own answer, for the file is its own.
    if unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE) } != kind.flag() {
        return Ok(false);
    }
    Ok(!same(fd, kind.own()?)?)
}

/// Whether it stands for a process (Linux 5.3).
fn is_process(fd: &OwnedFd) -> bool {
    let (nothing, none) = (0, std::ptr::null::<libc::siginfo_t>());
    // SAFETY: sends nothing.
    let sent = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), nothing, none, nothing)
    };
    sent == 0 || matches!(nix::Error::last(), nix::Error::ESRCH | nix::Error::EPERM)
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

    /// With a user and a mount namespace made by a child that is gone.
    fn container() -> Handover {
        use nix::sched::{CloneFlags, unshare};
        use nix::sys::wait::waitpid;
        use nix::unistd::{ForkResult, fork};
        let (ours, theirs) = pair();
        // SAFETY: the child makes system calls and leaves by _exit.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => {
                waitpid(child, None).unwrap();
            }
            ForkResult::Child => {
                let made = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).is_ok();
                let open = |name: &str| File::open(format!("/proc/self/ns/{name}")).unwrap().into();
                let parts = vec![(Part::User, open("user")), (Part::Mount, open("mnt"))];
                let sent = made && Handover::new(parts).send(theirs.as_fd()).is_ok();
                // SAFETY: leaves the copy of this process.
                unsafe { libc::_exit(i32::from(!sent)) }
            }
        }
        let mut container = Handover::dequeue(ours.as_fd()).unwrap().unwrap();
        container.put(Part::Cwd, path_of("/"));
        container.put(Part::Environ, environ_file(b"A=1\0").unwrap());
        container
    }

    fn path_of(path: &str) -> OwnedFd {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty()).unwrap()
    }

    fn me() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        container().check(me(), false).unwrap();
        for part in [Part::User, Part::Mount, Part::Cwd, Part::Environ] {
            let mut container = container();
            container.take(part);
            let error = container.check(me(), false).unwrap_err().to_string();
            assert_eq!(error, format!("the container's message has no {}", part.word()));
        }
        let mut privileged = container();
        privileged.take(Part::User);
        privileged.check(me(), true).unwrap();
        privileged.take(Part::Mount);
        privileged.check(me(), true).unwrap_err();
        assert!(Handover::new(vec![]).check(me(), true).is_err());
    }

    #[test]
    fn what_is_another_thing_than_it_is_called_is_refused() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let process = || {
            // SAFETY: numbers only, and a new descriptor.
            unsafe {
                let fd = libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0);
                OwnedFd::from_raw_fd(fd as i32)
            }
        };
        for helpers in [reader, writer, process()] {
            let mut container = container();
            container.put(Part::Helpers, helpers);
            container.check(me(), false).unwrap();
        }
        let file = |path: &str| -> OwnedFd { File::open(path).unwrap().into() };
        let (left, _) = pair();
        let growing: OwnedFd = memfd_create("x", MFdFlags::MFD_ALLOW_SEALING).unwrap();
        let huge = environ_file(&vec![b'x'; MAX_ENVIRON as usize + 1]).unwrap();
        let rows: Vec<(Part, OwnedFd)> = vec![
            // Our own.
            (Part::User, file("/proc/self/ns/user")),
            (Part::Mount, file("/proc/self/ns/mnt")),
            (Part::Net, file("/proc/self/ns/net")),
            (Part::Ipc, file("/proc/self/ns/ipc")),
            (Part::Uts, file("/proc/self/ns/uts")),
            (Part::Cgroup, file("/proc/self/ns/cgroup")),
            // Of another kind, or no namespace at all.
            (Part::User, container().take(Part::Mount).unwrap()),
            (Part::Mount, container().take(Part::User).unwrap()),
            (Part::Mount, path_of("/proc/self/ns/mnt")),
            (Part::Mount, file("/dev/null")),
            (Part::User, left.try_clone().unwrap()),
            (Part::Uts, file("/")),
            // A directory that is open, a file, no descriptor of a path at all.
            (Part::Cwd, file("/")),
            (Part::Cwd, path_of("/dev/null")),
            (Part::Cwd, left.try_clone().unwrap()),
            // What can change, or wait, or is too much.
            (Part::Environ, growing),
            (Part::Environ, file("/dev/zero")),
            (Part::Environ, file("/etc/passwd")),
            (Part::Environ, left.try_clone().unwrap()),
            (Part::Environ, huge),
            (Part::Helpers, left),
            (Part::Helpers, file("/dev/null")),
            (Part::Helpers, file("/etc/passwd")),
        ];
        for (part, odd) in rows {
            let mut container = container();
            container.take(part);
            let shown = std::fs::read_link(format!("/proc/self/fd/{}", odd.as_raw_fd())).unwrap();
            container.put(part, odd);
            let error = container.check(me(), false).expect_err(&shown.to_string_lossy());
            assert!(error.to_string().starts_with(part.word()), "{shown:?}: {error}");
        }
        // Somebody else's user namespace.
        container().check(me() + 1, false).unwrap_err();
    }

    #[test]
    fn nothing_is_sent_twice() {
        let (sender, queue) = pair();
        let null = File::open("/dev/null").unwrap();
        let fds = [null.as_raw_fd(); 2];
        let iov = [IoSlice::new(b"pyxis-container-1 mount mount")];
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(sender.as_raw_fd(), &iov, &rights, MsgFlags::empty(), None).unwrap();
        let error = Handover::dequeue(queue.as_fd()).unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
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
