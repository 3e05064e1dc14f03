//! A descriptor on its way from one process of ours to another: from a starting container to a helper
//! that was forked before there was such a thing, or out of a running one.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

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
