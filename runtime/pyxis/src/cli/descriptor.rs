//! Descriptors that are given by number on the command line.

use std::os::fd::{BorrowedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::CliError;

/// The descriptor that the caller has passed; what is executed from here on does not get it.
pub(crate) fn given(fd: RawFd) -> Result<BorrowedFd<'static>, CliError> {
    if fd < 0 {
        return Err(CliError::Descriptor(fd, nix::errno::Errno::EBADF));
    }
    // SAFETY: the caller passed this descriptor for us and nobody here closes it.
    let descriptor = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
        .map_err(|errno| CliError::Descriptor(fd, errno))?;
    Ok(descriptor)
}
