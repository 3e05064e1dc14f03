//! Any message on the socket that a container is handed over on, with descriptors of every kind: the sender
//! runs as the user. It is read or refused, what is taken for a container is one, and no descriptor of it is
//! left open.
#![no_main]

#[path = "handover/kinds.rs"]
mod kinds;

use handover::{Handover, Part};
use kinds::Kind;
use libfuzzer_sys::fuzz_target;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};
use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// As many as are of use: there are fewer parts.
const MOST: usize = 16;

fuzz_target!(|data: &[u8]| {
    let kinds = kinds::all();
    let Some((&count, rest)) = data.split_first() else { return };
    let Some((chosen, rest)) = rest.split_at_checked(usize::from(count) % (MOST + 1)) else {
        return;
    };
    let chosen: Vec<&Kind> =
        chosen.iter().map(|byte| &kinds[usize::from(*byte) % kinds.len()]).collect();
    // Words of parts, or any text at all.
    let words = (count & 0x80 != 0).then(|| -> Vec<(Part, &str)> {
        rest.iter().take(MOST).map(|byte| Part::ALL[usize::from(*byte) % Part::ALL.len()]).collect()
    });
    let text = match &words {
        Some(words) => words
            .iter()
            .fold(String::from("pyxis-container-1"), |text, (_, word)| text + " " + word),
        None => String::new(),
    };
    let text = if words.is_some() { text.as_bytes() } else { rest };

    let (sender, queue) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let fds: Vec<RawFd> = chosen.iter().map(|kind| kind.fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let rights = if fds.is_empty() { &rights[..0] } else { &rights[..] };
    sendmsg::<()>(sender.as_raw_fd(), &[IoSlice::new(text)], rights, MsgFlags::empty(), None)
        .unwrap();
    let free = lowest_free();
    let peeked = Handover::peek(queue.as_fd());
    let taken = Handover::dequeue(queue.as_fd());
    assert_eq!(peeked.is_ok(), taken.is_ok());
    if let (Some(words), Ok(Some(container))) = (&words, &taken) {
        judge(words, &chosen, container);
    }
    drop((peeked, taken));
    assert_eq!(lowest_free(), free, "a descriptor was left open");
});

/// What `check` says of a container, beside what is known of the descriptors that were sent.
fn judge(words: &[(Part, &str)], chosen: &[&Kind], container: &Handover) {
    let me = nix::unistd::geteuid().as_raw();
    let sound = words.iter().zip(chosen).all(|((part, _), kind)| kind.sound_as.contains(part));
    let has = |part| words.iter().any(|(have, _)| *have == part);
    let whole = has(Part::Mount) && has(Part::Cwd) && has(Part::Environ);
    let names = || chosen.iter().map(|kind| kind.name).collect::<Vec<_>>();
    for privileged in [false, true] {
        let expected = sound && whole && (privileged || has(Part::User));
        let found = container.check(me, privileged);
        assert_eq!(found.is_ok(), expected, "{words:?} {:?} {found:?}", names());
    }
}

/// The kernel gives the lowest number that is free.
fn lowest_free() -> RawFd {
    File::open("/dev/null").unwrap().as_raw_fd()
}
