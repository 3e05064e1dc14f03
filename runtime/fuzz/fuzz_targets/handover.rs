//! Any message on the socket that a container is handed over on: the sender runs as the user. It
//! is read or refused, and no descriptor of it is left open.
#![no_main]

use handover::Handover;
use libfuzzer_sys::fuzz_target;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};
use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// As many as a message can carry. Of a message with more, what was received stays open
/// (`RecvMsg::cmsgs` gives no access to it).
const MOST: usize = 16;

fuzz_target!(|data: &[u8]| {
    let Some((&count, text)) = data.split_first() else { return };
    let null = File::open("/dev/null").unwrap();
    let (sender, queue) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let fds = vec![null.as_raw_fd(); usize::from(count) % (MOST + 1)];
    let rights = [ControlMessage::ScmRights(&fds)];
    let rights = if fds.is_empty() { &rights[..0] } else { &rights[..] };
    sendmsg::<()>(sender.as_raw_fd(), &[IoSlice::new(text)], rights, MsgFlags::empty(), None)
        .unwrap();
    let free = lowest_free();
    let peeked = Handover::peek(queue.as_fd());
    let taken = Handover::dequeue(queue.as_fd());
    assert_eq!(peeked.is_ok(), taken.is_ok());
    drop((peeked, taken));
    assert_eq!(lowest_free(), free, "a descriptor was left open");
});

/// The kernel gives the lowest number that is free.
fn lowest_free() -> RawFd {
    File::open("/dev/null").unwrap().as_raw_fd()
}
