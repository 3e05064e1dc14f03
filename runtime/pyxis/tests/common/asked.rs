//! The command as the plugin executes it: with a request, and sockets.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, Output, Stdio};

use handover::Handover;
use handover::request::{ARGUMENT, Joining, Request, Start, Target};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::Place;

/// A descriptor that programs executed from here inherit.
pub(crate) fn passed_on<T: AsFd>(fd: T) -> T {
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    fd
}

/// The plugin's end, and the one for the command.
pub(crate) fn sockets() -> (OwnedFd, OwnedFd) {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
    (ours, passed_on(theirs))
}

/// A start of this, and nothing more.
pub(crate) fn plain(target: Target<'_>) -> Start<'_> {
    Start { target, joining: Joining::Never, entrypoint: false, mounts: vec![], env: vec![] }
}

/// As a step without a name has it.
pub(crate) fn file(path: &str) -> Target<'_> {
    Target::File { path: OsStr::new(path), label: OsStr::new("label") }
}

impl Place {
    /// The command, asked for this.
    pub(crate) fn asked(&self, request: &Request<'_>, with: &[&OwnedFd]) -> Command {
        self.given(request.verb(), request.file().unwrap(), with)
    }

    /// The command with what may be a request.
    pub(crate) fn given(&self, verb: &str, request: OwnedFd, with: &[&OwnedFd]) -> Command {
        let mut argument = format!("{ARGUMENT}0");
        for fd in with {
            argument += &format!(",{}", fd.as_raw_fd());
        }
        let mut command = self.pyxis([verb, &argument]);
        command.stdin(Stdio::from(request));
        command
    }

    /// How the start ends, and the container that it hands over; with these variables.
    pub(crate) fn started(
        &self,
        start: Start<'_>,
        variables: &[(&str, &str)],
    ) -> (Output, Option<Handover>) {
        let (ours, theirs) = sockets();
        let mut command = self.asked(&Request::Start(start), &[&theirs, &theirs]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        drop(theirs);
        (output, Handover::dequeue(ours.as_fd()).unwrap())
    }
}
