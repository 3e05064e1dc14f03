//! Serves a squashfs image to the kernel: FUSE's protocol, as include/uapi/linux/fuse.h and
//! Documentation/filesystems/fuse of Linux describe it.
//!
//! What an image holds never changes, so that the kernel may keep all it was told. A node's number
//! is where its inode is in the image: nothing is to be remembered, and nothing to be forgotten.

mod ahead;
mod answer;
mod request;

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;

use crate::Image;
use ahead::{Ahead, Answered};
use answer::Answer;
use request::Request;

/// What a request may be long, and more than the kernel asks for: a name, no data.
const LONGEST: usize = 16 << 10;
/// What may be asked for at once.
const MOST_BYTES: usize = 1 << 20;
/// Requests after which other threads join in: a start takes fewer, and threads take time.
const WARM_UP: u32 = 100;
/// More do not help a reader of one image.
const MOST_THREADS: usize = 8;

/// The number of the root directory's node, by the protocol.
const ROOT: u64 = 1;

/// A mounted image.
pub struct Server<'a> {
    device: File,
    image: &'a Image,
    /// Whom everything belongs to.
    owner: (u32, u32),
    complained: AtomicBool,
    ahead: Ahead,
}

impl Server<'_> {
    /// For a descriptor of `/dev/fuse` that is mounted.
    pub fn new(device: OwnedFd, image: &Image, owner: (u32, u32)) -> Server<'_> {
        let (complained, ahead) = (AtomicBool::new(false), Ahead::new());
        Server { device: device.into(), image, owner, complained, ahead }
    }

    /// Answers the kernel until the file system is unmounted.
    ///
    /// # Errors
    /// From the device.
    pub fn run(&self) -> io::Result<()> {
        std::thread::scope(|scope| {
            let mut buffers = Buffers::new();
            for _ in 0..WARM_UP {
                if !self.serve_one(&mut buffers)? {
                    return Ok(());
                }
            }
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            // Two at least: one gives ahead while the other answers.
            for _ in 1..cores.clamp(2, MOST_THREADS) {
                // One less where there may be no more of them.
                let builder = std::thread::Builder::new();
                // Whoever of the two is the first to answer knows that there are two.
                let joining = || {
                    self.ahead.joined();
                    self.serve_all(&mut Buffers::new())
                };
                if builder.spawn_scoped(scope, joining).is_ok() {
                    self.ahead.joined();
                }
            }
            self.serve_all(&mut buffers)
        })
    }

    fn serve_all(&self, buffers: &mut Buffers) -> io::Result<()> {
        while self.serve_one(buffers)? {}
        Ok(())
    }

    /// Returns `false` when it is unmounted.
    fn serve_one(&self, buffers: &mut Buffers) -> io::Result<bool> {
        let length = match (&self.device).read(&mut buffers.request) {
            // The end of what is no device.
            Ok(0) => return Ok(false),
            Ok(length) => length,
            Err(error) => {
                return match error.raw_os_error() {
                    Some(nix::libc::ENODEV) => Ok(false),
                    // ENOENT: who had asked was interrupted.
                    Some(nix::libc::ENOENT | nix::libc::EINTR | nix::libc::EAGAIN) => Ok(true),
                    _ => Err(error),
                };
            }
        };
        let Some(request) = Request::of(&buffers.request[..length]) else { return Ok(true) };
        let answer = self.answer(&request, &mut buffers.data);
        let (error, payload) = match &answer {
            Ok(Answer::Nothing) => return Ok(true),
            Ok(Answer::Bytes(bytes)) => (0, bytes.as_slice()),
            Ok(Answer::Data(_, length)) => (0, &buffers.data[..*length]),
            Err(errno) => (*errno as i32, &[][..]),
        };
        let mut head = [0; 16];
        head[..4].copy_from_slice(&((16 + payload.len()) as u32).to_ne_bytes());
        head[4..8].copy_from_slice(&(-error).to_ne_bytes());
        head[8..].copy_from_slice(&request.unique.to_ne_bytes());
        match (&self.device).write_vectored(&[IoSlice::new(&head), IoSlice::new(payload)]) {
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(false),
            // ENOENT: as above. A limit of ours that the kernel does not share is its error to tell.
            _ => {
                if let Ok(Answer::Data(offset, length)) = answer {
                    let answered = Answered { node: request.node, offset, length };
                    self.give_ahead(answered, &mut buffers.data);
                }
                Ok(true)
            }
        }
    }
}

/// A thread's own.
struct Buffers {
    request: Vec<u8>,
    data: Vec<u8>,
}

impl Buffers {
    fn new() -> Buffers {
        Buffers { request: vec![0; LONGEST], data: Vec::new() }
    }
}
