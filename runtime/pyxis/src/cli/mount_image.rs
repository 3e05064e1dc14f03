//! `pyxis mount-image STORE`: root's process beside a step, which has the kernel mount an image of
//! the shared store for who asks. The plugin executes it when somebody asks for one.
//!
//! It reads its arguments, which are root's, and 64 digits, which are the user's: no setting, no variable, no
//! other file than those on the way to the image.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use containers::kernel_mount::{Requested, answer, lend, requested};
use images::store::published;
use nix::unistd::geteuid;

use super::{Exit, descriptor};

const VERB: &str = "mount-image";
/// Where the socket is.
const SOCKET: i32 = 3;

/// Whether the command was called so. It is no verb of those that people type.
pub(crate) fn is_asked_for() -> bool {
    std::env::args_os().nth(1).is_some_and(|word| word == VERB)
}

pub(crate) fn run() -> Exit {
    let words: Vec<OsString> = std::env::args_os().skip(2).collect();
    let ([store], Ok(socket)) = (&words[..], descriptor::given(SOCKET)) else {
        return Exit::FAILURE;
    };
    match mount(socket, Path::new(store)) {
        Ok(()) => Exit::SUCCESS,
        // Who asked waits for a mount, not for this process.
        Err(_) => Exit::FAILURE,
    }
}

fn mount(socket: BorrowedFd<'_>, store: &Path) -> io::Result<()> {
    let Requested { hex, user } = requested(socket)?;
    // Root's own containers have a server, as all had before.
    if !geteuid().is_root() || user.0 == 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let name = format!("{hex}.sqsh");
    let mounted = published(store, &hex).and_then(|image| {
        let mount = lend(&image, OsStr::new(&name), user)?;
        Ok((image, mount))
    });
    answer(socket, mounted)
}
