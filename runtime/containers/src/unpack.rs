//! An image's files written to a directory: where FUSE, the kernel's overlay or a layer cannot be
//! had. By our own reader; what only other programs can read, by the host's unsquashfs.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use squashfs::{Image, LeftOut, Limits, SquashfsError, UnpackError};

/// How long threads that have done their work may take to end.
const PATIENCE: u32 = 1000;

/// Writes all files of `image` to the empty directory `to`, until `interrupted`. `None` for an image
/// that is left to other programs.
pub(crate) fn unpack(
    image: &File,
    to: BorrowedFd<'_>,
    interrupted: &(dyn Fn() -> bool + Sync),
) -> Result<Option<LeftOut>, UnpackError> {
    let image = match image.try_clone().map_err(SquashfsError::Read).and_then(Image::open) {
        Err(SquashfsError::Unsupported(_)) => return Ok(None),
        image => image?,
    };
    let unpacked = image.unpack(to, Limits::of(&image), interrupted);
    wait_until_alone();
    unpacked.map(Some)
}

/// The kernel counts threads that have been joined for a moment longer, and lets nobody who has some
/// be copied or enter a user namespace.
fn wait_until_alone() {
    for _ in 0..PATIENCE {
        // Changes nothing where there is one thread, and is refused where there are more.
        match unshare(CloneFlags::CLONE_THREAD) {
            Ok(()) => return,
            Err(_) => std::thread::sleep(Duration::from_micros(100)),
        }
    }
}
