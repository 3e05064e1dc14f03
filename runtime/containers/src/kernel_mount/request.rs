//! What is said between who starts a container and root's process: a digest, and where its image is mounted.
//!
//! Root takes 64 digits and nothing else; descriptors that come with them are the kernel's to close.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, send, sendmsg};

/// Of SHA-256, in hexadecimal.
const DIGITS: usize = 64;
/// Why there is no mount: root's words, which are short.
const REASON: usize = 256;
/// How long root is waited for: it answers in a millisecond or two, and the image can be served at any time.
const PATIENCE: Duration = Duration::from_secs(5);

/// What root is asked for.
#[derive(Debug)]
pub struct Requested {
    /// The image's digest, as 64 digits.
    pub hex: String,
    /// Who asks, uid and gid, by the kernel's word.
    pub user: (u32, u32),
}

/// Root's part: the request that has come. The kernel says who sent it where the socket was told to have it
/// (`SO_PASSCRED`) before that.
///
/// # Errors
/// The kernel's; `InvalidData` for anything else than a digest.
pub fn requested(socket: BorrowedFd<'_>) -> io::Result<Requested> {
    // More than it may have.
    let mut bytes = [0; DIGITS + 1];
    // There is no room for descriptors.
    let mut space = nix::cmsg_space!(nix::libc::ucred);
    let (length, user) = {
        let mut bytes = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<()>(socket.as_raw_fd(), &mut bytes, Some(&mut space), flags)?;
        let user = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmCredentials(sender) => Some((sender.uid(), sender.gid())),
            _ => None,
        });
        (message.bytes, user)
    };
    let text = std::str::from_utf8(&bytes[..length]).unwrap_or_default();
    match user {
        Some(user) if is_digest(text) => Ok(Requested { hex: text.to_owned(), user }),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Root's part: answers with the mount of the image, or with why there is none. Nobody is waited for.
///
/// # Errors
/// The kernel's.
pub fn answer(socket: BorrowedFd<'_>, mounted: io::Result<(File, OwnedFd)>) -> io::Result<()> {
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    match mounted {
        Ok((image, mount)) => {
            let rights = [mount.as_raw_fd()];
            let rights = [ControlMessage::ScmRights(&rights)];
            let identity = identity(&image)?;
            sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&identity)], &rights, flags, None)?;
        }
        Err(error) => {
            let reason = error.to_string();
            let reason = &reason.as_bytes()[..reason.len().min(REASON)];
            send(socket.as_raw_fd(), reason, flags)?;
        }
    }
    Ok(())
}

/// By which both sides know that they mean the same file.
fn identity(image: &File) -> io::Result<[u8; 16]> {
    let data = image.metadata()?;
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&data.dev().to_ne_bytes());
    bytes[8..].copy_from_slice(&data.ino().to_ne_bytes());
    Ok(bytes)
}

/// The way to root's process, which was asked for the mount before this one was executed.
#[derive(Clone, Copy, Debug)]
pub struct Lender(BorrowedFd<'static>);

impl Lender {
    /// Behind the socket, of which the plugin has the other end.
    pub fn new(socket: BorrowedFd<'static>) -> Lender {
        Lender(socket)
    }

    /// Waits for the mount of the image, which is the opened file; or for why there is none.
    pub(crate) fn mount(self, image: &File) -> io::Result<OwnedFd> {
        self.wait()?;
        let mut bytes = [0; REASON];
        let mut space = nix::cmsg_space!(i32);
        let (length, mount) = {
            let mut bytes = [IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
            let message = recvmsg::<()>(self.0.as_raw_fd(), &mut bytes, Some(&mut space), flags)?;
            let received = message.cmsgs()?.find_map(|control| match control {
                ControlMessageOwned::ScmRights(fds) => {
                    // SAFETY: the kernel has just made it for us alone; there is room for one.
                    fds.first().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) })
                }
                _ => None,
            });
            (message.bytes, received)
        };
        match mount {
            Some(mount) if bytes[..length] == identity(image)? => Ok(mount),
            Some(_) => Err(io::Error::other("it is not the image of the shared store")),
            None if length == 0 => Err(io::Error::other("root's process has ended")),
            None => Err(io::Error::other(String::from_utf8_lossy(&bytes[..length]).into_owned())),
        }
    }

    fn wait(&self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut answer = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            match poll(&mut answer, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)) {
                Err(Errno::EINTR) => {}
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                done => return Ok(done.map(drop)?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linux::channel;
    use nix::sys::socket::setsockopt;
    use nix::sys::socket::sockopt::PassCred;
    use std::os::fd::IntoRawFd;

    fn lender() -> (Lender, OwnedFd) {
        let (ours, theirs) = channel::pair().unwrap();
        setsockopt(&theirs, PassCred, &true).unwrap();
        // SAFETY: it is never closed.
        (Lender::new(unsafe { BorrowedFd::borrow_raw(ours.into_raw_fd()) }), theirs)
    }

    #[test]
    fn a_digest_is_asked_for_and_nothing_else_is_heard() {
        let (lender, root) = lender();
        let hex = "0123456789abcdef".repeat(4);
        send(lender.0.as_raw_fd(), hex.as_bytes(), MsgFlags::empty()).unwrap();
        let Requested { hex: asked, user } = requested(root.as_fd()).unwrap();
        let own = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        assert_eq!((asked, user), (hex.clone(), own));
        let long = format!("{hex}0");
        let path = format!("../{}", &hex[3..]);
        for wrong in ["", "x", &hex[1..], &long, &path, &hex.to_uppercase()] {
            send(lender.0.as_raw_fd(), wrong.as_bytes(), MsgFlags::empty()).unwrap();
            let error = requested(root.as_fd()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{wrong}");
        }
    }

    /// None of theirs is ever root's.
    #[test]
    fn descriptors_that_come_with_a_request_are_not_taken() {
        let (lender, root) = lender();
        let hex = "0".repeat(64);
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let rights = [writer.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&rights)];
        let text = [IoSlice::new(hex.as_bytes())];
        let flags = MsgFlags::empty();
        sendmsg::<()>(lender.0.as_raw_fd(), &text, &rights, flags, None).unwrap();
        drop(writer);
        // Such a request is none.
        assert!(requested(root.as_fd()).is_err());
        // Nobody has it any more.
        assert_eq!(nix::unistd::read(&reader, &mut [0]).unwrap(), 0);
    }

    #[test]
    fn the_answer_is_of_the_same_file_or_why_there_is_none() {
        let image = tempfile::tempfile().unwrap();
        let other = tempfile::tempfile().unwrap();
        let asked = |answered: &dyn Fn(&OwnedFd)| {
            let (lender, root) = lender();
            answered(&root);
            drop(root);
            lender.mount(&image)
        };
        let mounted =
            |image: &File| Ok((image.try_clone().unwrap(), File::open("/").unwrap().into()));
        asked(&|root| answer(root.as_fd(), mounted(&image)).unwrap()).unwrap();
        let error = asked(&|root| answer(root.as_fd(), mounted(&other)).unwrap()).unwrap_err();
        assert!(error.to_string().contains("not the image"), "{error}");
        let none = || Err(io::Error::other("no such image"));
        let error = asked(&|root| answer(root.as_fd(), none()).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "no such image");
        let error = asked(&|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "root's process has ended");
    }
}
