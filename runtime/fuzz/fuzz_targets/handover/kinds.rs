//! One descriptor of each kind that a user can have, and what it may be called in a message.

use handover::{Handover, Part, environ_file};
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, fork, pause};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;

/// A namespace's file in /proc, and the part that it may be.
const NAMESPACES: [(&str, Part); 6] = [
    ("user", Part::User),
    ("cgroup", Part::Cgroup),
    ("mnt", Part::Mount),
    ("ipc", Part::Ipc),
    ("uts", Part::Uts),
    ("net", Part::Net),
];

pub struct Kind {
    pub name: &'static str,
    pub fd: OwnedFd,
    pub sound_as: Vec<Part>,
}

pub fn all() -> &'static [Kind] {
    static KINDS: OnceLock<Vec<Kind>> = OnceLock::new();
    KINDS.get_or_init(make)
}

fn make() -> Vec<Kind> {
    let path_of = |path: &str| open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
    let file = |path: &str| -> OwnedFd { File::open(path).unwrap().into() };
    let pair = |kind| socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let growing = memfd_create("growing", MFdFlags::MFD_ALLOW_SEALING).unwrap();
    // SAFETY: numbers only, and a new descriptor each.
    let (process, event, epoll) = unsafe {
        let process = libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0) as i32;
        let [event, epoll] = [libc::eventfd(0, libc::EFD_CLOEXEC), libc::epoll_create1(0)];
        (OwnedFd::from_raw_fd(process), OwnedFd::from_raw_fd(event), OwnedFd::from_raw_fd(epoll))
    };
    let [stream, datagram] = [SockType::Stream, SockType::Datagram].map(|kind| pair(kind).0);
    let mut kinds: Vec<Kind> = Vec::new();
    let mut add = |name, fd, sound_as: &[Part]| {
        kinds.push(Kind { name, fd, sound_as: sound_as.to_vec() });
    };
    add("directory by path", path_of("/"), &[Part::Cwd]);
    add("sealed memory", environ_file(b"A=1\0").unwrap(), &[Part::Environ]);
    add("pipe, read", reader, &[Part::Helpers]);
    add("pipe, write", writer, &[Part::Helpers]);
    add("process", process, &[Part::Helpers]);
    for (name, odd) in [
        ("directory, open", file("/")),
        ("file", file("/etc/passwd")),
        ("file by path", path_of("/etc/passwd")),
        ("device", file("/dev/zero")),
        ("device of FUSE", file("/dev/fuse")),
        ("memory that grows", growing),
        ("socket, stream", stream),
        ("socket, datagram", datagram),
        ("socket, network", TcpListener::bind("127.0.0.1:0").unwrap().into()),
        ("event", event),
        ("epoll", epoll),
        ("file of proc", file("/proc/self/environ")),
        ("namespace by path", path_of("/proc/self/ns/mnt")),
    ] {
        add(name, odd, &[]);
    }
    for (name, _) in NAMESPACES {
        add(name, file(&format!("/proc/self/ns/{name}")), &[]);
    }
    let mut foreign = elsewhere();
    for (name, part) in NAMESPACES {
        add(name, foreign.take(part).unwrap(), &[part]);
    }
    // The file system answers no question about it, so that it is not known for a directory.
    add("directory of FUSE by path", foreign.take(Part::Cwd).unwrap(), &[]);
    add("directory of FUSE, open", foreign.take(Part::Helpers).unwrap(), &[]);
    kinds
}

/// Namespaces and a file system of a child's, which stays as long as this process.
fn elsewhere() -> Handover {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    // SAFETY: no thread has been started that could hold a lock.
    if let ForkResult::Parent { .. } = unsafe { fork() }.unwrap() {
        drop(theirs);
        loop {
            if let Some(all) = Handover::dequeue(ours.as_fd()).unwrap() {
                return all;
            }
        }
    }
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let [uid, gid] = [nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()];
    let all = [CloneFlags::CLONE_NEWUSER, CloneFlags::CLONE_NEWNS, CloneFlags::CLONE_NEWCGROUP]
        .into_iter()
        .chain([CloneFlags::CLONE_NEWIPC, CloneFlags::CLONE_NEWUTS, CloneFlags::CLONE_NEWNET])
        .fold(CloneFlags::empty(), |all, one| all | one);
    unshare(all).unwrap();
    std::fs::write("/proc/self/setgroups", "deny").unwrap();
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).unwrap();
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).unwrap();
    let mut parts: Vec<(Part, OwnedFd)> = NAMESPACES
        .iter()
        .map(|(name, part)| (*part, File::open(format!("/proc/self/ns/{name}")).unwrap().into()))
        .collect();
    let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    mount(Some("fuzz"), "/mnt", Some("fuse"), MsFlags::empty(), Some(options.as_str())).unwrap();
    let server = std::thread::spawn(move || serve(device));
    let flags = OFlag::O_CLOEXEC | OFlag::O_DIRECTORY;
    parts.push((Part::Cwd, open("/mnt", flags | OFlag::O_PATH, Mode::empty()).unwrap()));
    parts.push((Part::Helpers, open("/mnt", flags, Mode::empty()).unwrap()));
    Handover::new(parts).send(theirs.as_fd()).unwrap();
    server.join().unwrap();
    loop {
        pause();
    }
}

/// Greets, and can do nothing.
fn serve(mut device: File) {
    const FUSE_INIT: u32 = 26;
    const FUSE_HEADER: usize = 16;
    let mut request = vec![0; 1 << 17];
    while let Ok(length) = device.read(&mut request) {
        let number = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        let greeting = number(4) == FUSE_INIT;
        let answer_length = FUSE_HEADER + if greeting { 64 } else { 0 };
        let mut answer = vec![0; answer_length];
        answer[..4].copy_from_slice(&(answer_length as u32).to_ne_bytes());
        answer[4..8].copy_from_slice(&(if greeting { 0 } else { -libc::ENOSYS }).to_ne_bytes());
        answer[8..16].copy_from_slice(&request[8..16]);
        if greeting && length >= 48 {
            answer[16..24].copy_from_slice(&request[40..48]);
        }
        let _ = device.write_all(&answer);
    }
}
