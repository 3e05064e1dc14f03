//! A page on its way from one terminal to another, neither of which is waited for.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::unistd::{read, write};

/// What was read and is to be written.
pub(super) struct Buffer {
    bytes: [u8; 4096],
    from: usize,
    to: usize,
}

impl Buffer {
    pub(super) fn new() -> Buffer {
        Buffer { bytes: [0; 4096], from: 0, to: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Reads, if it is empty, what is there. A terminal has no end but being hung up.
    pub(super) fn fill(&mut self, fd: &OwnedFd) -> Result<usize, Errno> {
        if !self.is_empty() {
            return Ok(0);
        }
        match read(fd, &mut self.bytes) {
            Ok(0) => Err(Errno::EIO),
            Ok(read) => {
                (self.from, self.to) = (0, read);
                Ok(read)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(errno) => Err(errno),
        }
    }

    /// Writes as much of it as there is room for.
    pub(super) fn flush(&mut self, fd: &OwnedFd) -> Result<(), Errno> {
        if self.is_empty() {
            return Ok(());
        }
        match write(fd, &self.bytes[self.from..self.to]) {
            Ok(written) => self.from += written,
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }
}
