//! Images for the store of all users, fetched by the account that owns it.
//!
//! A user's process ([`ask`]) and the account's ([`serve`]) are the ends of a socket that keeps
//! messages apart. The user sends the URI of one image by its digest; the account fetches it
//! without credentials, says meanwhile how that goes on, and then [`DONE`] or what went wrong. The
//! user then looks for the image in the store, and believes nothing else.
//!
//! Layers that the user has at hand go with the request, as open files. The account asks the registry for
//! the manifest all the same, and takes of those files what the manifest names by its digest: no byte
//! gets into the store that the registry would not have sent to anybody.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use linux::channel;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessage, MsgFlags, recv, send, sendmsg, setsockopt, sockopt::PassCred,
};

use super::{ImportError, Importer, PullPolicy};
use crate::progress::Progress;
use crate::uri::Uri;

/// No message is longer.
const LIMIT: usize = 4096;
/// So many layers come with a request at most (the kernel's own limit is 253); the account fetches the rest.
const BROUGHT: usize = 128;
const DONE: &str = "done";
/// Before what went wrong.
const FAILED: &str = "failed: ";
/// From time to time, where there is nothing to say.
const ALIVE: &str = ".";
const PULSE: Duration = Duration::from_secs(20);
/// The other side has ended if nothing comes for so long: that its end of the socket is closed may
/// not be seen, for slurmstepd may have it, too.
const SILENCE: Duration = Duration::from_secs(90);

/// Asks for an image, which is named by its digest.
///
/// # Errors
/// What the other side says, or that it is gone.
pub(super) fn ask(
    broker: BorrowedFd<'_>,
    uri: &str,
    offered: &[File],
    progress: &Progress,
) -> Result<(), String> {
    ask_for(broker, uri, offered, progress, SILENCE)
}

fn ask_for(
    broker: BorrowedFd<'_>,
    uri: &str,
    offered: &[File],
    progress: &Progress,
    silence: Duration,
) -> Result<(), String> {
    let descriptors: Vec<RawFd> =
        offered.iter().take(BROUGHT).map(|file| file.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let rights = if descriptors.is_empty() { &[][..] } else { &rights[..] };
    let text = [io::IoSlice::new(uri.as_bytes())];
    sendmsg::<()>(broker.as_raw_fd(), &text, rights, MsgFlags::MSG_NOSIGNAL, None)
        .map_err(|errno| errno.desc().to_owned())?;
    loop {
        let mut answer = [PollFd::new(broker, PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(silence).unwrap_or(PollTimeout::MAX);
        match poll(&mut answer, limit) {
            Ok(0) => return Err("the account's process says nothing any more".to_owned()),
            Err(errno) if errno != Errno::EINTR => return Err(errno.desc().to_owned()),
            _ => {}
        }
        if answer[0].revents().is_none_or(|events| events.is_empty()) {
            continue;
        }
        let text = receive(broker).map_err(|error| error.to_string())?;
        match text.trim_end() {
            "" => return Err("the account's process is gone".to_owned()),
            DONE => return Ok(()),
            ALIVE => {}
            text => match text.strip_prefix(FAILED) {
                Some(why) => return Err(why.to_owned()),
                None => progress.pass_on(text),
            },
        }
    }
}

/// A request as it has come.
#[derive(Debug)]
pub struct Asked {
    /// The image.
    pub uri: String,
    /// Which process it is from, as the kernel has it.
    pub sender: Option<i32>,
    /// What that has brought: of anything, and of nothing that is asked for.
    pub brought: Vec<File>,
}

/// Waits for the request.
///
/// # Errors
/// What the kernel says.
pub fn request(socket: BorrowedFd<'_>) -> io::Result<Asked> {
    setsockopt(&socket, PassCred, &true)?;
    let mut text = [0; LIMIT];
    let message = channel::receive_message::<BROUGHT>(socket, &mut text)?;
    Ok(Asked {
        uri: String::from_utf8_lossy(&text[..message.length]).into_owned(),
        sender: message.sender,
        brought: message.descriptors.into_iter().map(File::from).collect(),
    })
}

/// Answers one request. What is written to stderr is to go to the socket, too.
///
/// # Errors
/// A request that makes no sense, or why the image cannot be had; the other side knows it already.
pub fn serve(importer: &Importer, asked: Asked, socket: BorrowedFd<'_>) -> Result<(), ImportError> {
    let result = fetch(importer, asked);
    let text = match &result {
        Ok(()) => DONE.to_owned(),
        Err(error) => format!("{FAILED}{error}"),
    };
    let text = &text.as_bytes()[..text.len().min(LIMIT)];
    // Who asked may be gone, or not listen.
    let _ = send(socket.as_raw_fd(), text, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
    result
}

fn fetch(importer: &Importer, asked: Asked) -> Result<(), ImportError> {
    let uri: Uri = asked.uri.parse()?;
    match &uri {
        // Only so is it the same for all users.
        Uri::Registry(reference) if reference.digest.is_some() && reference.user.is_none() => {
            importer.pull_with(&uri, PullPolicy::Missing, asked.brought)?;
        }
        _ => return Err(ImportError::NoDigest(uri.to_string())),
    }
    Ok(())
}

fn receive(socket: BorrowedFd<'_>) -> io::Result<String> {
    let mut message = [0; LIMIT];
    loop {
        match recv(socket.as_raw_fd(), &mut message, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
            Ok(count) => return Ok(String::from_utf8_lossy(&message[..count]).into_owned()),
        }
    }
}

/// Returns when nobody can be waiting for an answer any more, and says from time to time that there
/// will be one.
pub fn wait_for_hangup(socket: BorrowedFd<'_>) {
    wait_and_tell(socket, PULSE);
}

fn wait_and_tell(socket: BorrowedFd<'_>, pulse: Duration) {
    let pulse = PollTimeout::try_from(pulse).unwrap_or(PollTimeout::MAX);
    let mut hangup = [PollFd::new(socket, PollFlags::empty())];
    loop {
        match poll(&mut hangup, pulse) {
            Ok(0) => {
                // Who does not listen is not waited for.
                let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
                let _ = send(socket.as_raw_fd(), ALIVE.as_bytes(), flags);
            }
            Err(Errno::EINTR) => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};
    use std::sync::mpsc::channel;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap()
    }

    fn ask(ours: OwnedFd) -> Result<(), String> {
        let (tell, told) = channel();
        std::thread::spawn(move || {
            tell.send(ask_for(
                ours.as_fd(),
                "x",
                &[],
                &Progress::SILENT,
                Duration::from_millis(300),
            ))
        });
        told.recv_timeout(Duration::from_secs(10)).expect("an end of the wait")
    }

    /// As where slurmstepd has the other end, too, and the account's process was killed.
    #[test]
    fn who_says_nothing_is_not_waited_for() {
        let (ours, _theirs) = pair();
        assert!(ask(ours).unwrap_err().contains("says nothing"));
    }

    #[test]
    fn who_works_says_so_and_is_waited_for() {
        let (ours, theirs) = pair();
        let working = theirs.try_clone().unwrap();
        let pulse = Duration::from_millis(50);
        std::thread::spawn(move || wait_and_tell(working.as_fd(), pulse));
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(1500));
            send(theirs.as_raw_fd(), DONE.as_bytes(), MsgFlags::empty())
        });
        assert_eq!(ask(ours), Ok(()));
    }
}
