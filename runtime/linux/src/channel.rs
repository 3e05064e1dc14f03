//! A descriptor on its way from one process of ours to another: from a starting container to a helper
//! that was forked before there was such a thing, or out of a running one.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};

/// The sending and the receiving end.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
}

/// Sends a duplicate of `descriptor`. Errors are those of `sendmsg(2)`.
pub fn send(end: &OwnedFd, descriptor: &OwnedFd) -> io::Result<()> {
    let rights = [descriptor.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&rights)];
    let word = [IoSlice::new(b"!")];
    sendmsg::<()>(end.as_raw_fd(), &word, &rights, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// A message of another process: how long it is, who sent it as the kernel has it, and what came along.
#[derive(Debug)]
pub struct Message {
    /// Bytes of its text.
    pub length: usize,
    /// The sender's process, where the socket tells.
    pub sender: Option<i32>,
    /// Descriptors of anything; what is more than the receiver takes the kernel has closed.
    pub descriptors: Vec<OwnedFd>,
}

/// Waits for a message, with `MOST` descriptors at most. Errors are those of `recvmsg(2)`.
pub fn receive_message<const MOST: usize>(
    end: BorrowedFd<'_>,
    text: &mut [u8],
) -> io::Result<Message> {
    let mut parts = [IoSliceMut::new(text)];
    let mut space = nix::cmsg_space!(libc::ucred, [RawFd; MOST]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = loop {
        match recvmsg::<()>(end.as_raw_fd(), &mut parts, Some(&mut space), flags) {
            Err(Errno::EINTR) => {}
            received => break received?,
        }
    };
    let mut message = Message { length: received.bytes, sender: None, descriptors: Vec::new() };
    for control in received.cmsgs()? {
        match control {
            ControlMessageOwned::ScmCredentials(sender) => message.sender = Some(sender.pid()),
            ControlMessageOwned::ScmRights(came) => {
                // SAFETY: the kernel has just made them for us alone.
                let own = came.into_iter().map(|one| unsafe { OwnedFd::from_raw_fd(one) });
                message.descriptors.extend(own);
            }
            _ => {}
        }
    }
    Ok(message)
}

/// Waits for it. A sender that is gone without a word is an error.
pub fn receive(end: RawFd) -> io::Result<OwnedFd> {
    let mut word = [0];
    let mut word = [IoSliceMut::new(&mut word)];
    let mut space = nix::cmsg_space!(RawFd);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(end, &mut word, Some(&mut space), flags)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            if let [descriptor] = received[..] {
                // SAFETY: the kernel has just made it for us alone.
                return Ok(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}
