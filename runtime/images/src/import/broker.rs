//! Images for the store of all users, fetched by the account that owns it.
//!
//! A user's process ([`ask`]) and the account's ([`serve`]) are the ends of a socket that keeps
//! messages apart. The user sends the URI of one image by its digest; the account fetches it
//! without credentials, says meanwhile how that goes on, and then [`DONE`] or what went wrong. The
//! user then looks for the image in the store, and believes nothing else.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, recv, recvmsg, send, setsockopt, sockopt::PassCred,
};

use super::{ImportError, Importer, PullPolicy};
use crate::progress::Progress;
use crate::uri::Uri;

/// No message is longer.
const LIMIT: usize = 4096;
const DONE: &str = "done";
/// Before what went wrong.
const FAILED: &str = "failed: ";

/// Asks for an image, which is named by its digest.
///
/// # Errors
/// What the other side says, or that it is gone.
pub(super) fn ask(broker: BorrowedFd<'_>, uri: &str, progress: &Progress) -> Result<(), String> {
    send(broker.as_raw_fd(), uri.as_bytes(), MsgFlags::MSG_NOSIGNAL)
        .map_err(|errno| errno.desc().to_owned())?;
    loop {
        let text = receive(broker).map_err(|error| error.to_string())?;
        match text.trim_end() {
            "" => return Err("the account's process is gone".to_owned()),
            DONE => return Ok(()),
            text => match text.strip_prefix(FAILED) {
                Some(why) => return Err(why.to_owned()),
                None => progress.pass_on(text),
            },
        }
    }
}

/// Waits for the request, and says which process it is from, as the kernel has it.
///
/// # Errors
/// What the kernel says.
pub fn request(socket: BorrowedFd<'_>) -> io::Result<(String, Option<i32>)> {
    setsockopt(&socket, PassCred, &true)?;
    let mut message = [0; LIMIT];
    let mut space = nix::cmsg_space!(nix::libc::ucred);
    loop {
        let mut parts = [io::IoSliceMut::new(&mut message)];
        let received =
            recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty());
        let received = match received {
            Err(Errno::EINTR) => continue,
            received => received?,
        };
        let sender = received.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmCredentials(sender) => Some(sender.pid()),
            _ => None,
        });
        let count = received.bytes;
        return Ok((String::from_utf8_lossy(&message[..count]).into_owned(), sender));
    }
}

/// Answers one request. What is written to stderr is to go to the socket, too.
///
/// # Errors
/// A request that makes no sense, or why the image cannot be had; the other side knows it already.
pub fn serve(
    importer: &Importer,
    request: &str,
    socket: BorrowedFd<'_>,
) -> Result<(), ImportError> {
    let result = fetch(importer, request);
    let text = match &result {
        Ok(()) => DONE.to_owned(),
        Err(error) => format!("{FAILED}{error}"),
    };
    let text = &text.as_bytes()[..text.len().min(LIMIT)];
    // Who asked may be gone, or not listen.
    let _ = send(socket.as_raw_fd(), text, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
    result
}

fn fetch(importer: &Importer, request: &str) -> Result<(), ImportError> {
    let uri: Uri = request.parse()?;
    match &uri {
        // Only so is it the same for all users.
        Uri::Registry(reference) if reference.digest.is_some() && reference.user.is_none() => {
            importer.pull(&uri, PullPolicy::Missing)?;
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

/// Sleeps until nobody can be waiting for an answer any more.
pub fn wait_for_hangup(socket: BorrowedFd<'_>) {
    let mut hangup = [PollFd::new(socket, PollFlags::empty())];
    while poll(&mut hangup, PollTimeout::NONE) == Err(Errno::EINTR) {}
}
