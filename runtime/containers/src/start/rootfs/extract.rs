//! An image that nothing can serve, or that can have no layer above it, is unpacked into memory.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use hygiene::console;
use linux::file_error::FileError;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;

use crate::HostSide;
use crate::start::error::StartError;
use crate::start::rootfs::server::Unserved;
use crate::start::roots::Roots;
use crate::unpack::unpack;
use squashfs::unsquashfs::{self, UNSQUASHFS};

/// Unpacks the image to a file system in memory at `/lower` of the stage, whose source is `mark`, and
/// tells the user so.
pub(in crate::start) fn extract(
    roots: &mut Roots,
    host: &HostSide,
    mark: &str,
    unserved: &Unserved,
) -> Result<(), StartError> {
    let Unserved { file, path: image, reason } = unserved;
    let name = image.display();
    console::tell(format_args!("pyxis: {reason}; extracting {name} into memory"));
    let impossible = |extraction: String| StartError::NoWayToRead {
        image: image.clone(),
        reason: reason.to_string(),
        extraction,
    };
    roots.stage()?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some(mark), "/lower", Some("tmpfs"), flags, Some("mode=755"))
        .map_err(|errno| StartError::mount("tmpfs", "/lower", errno))?;
    let lower = open("/lower", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())
        .map_err(|errno| FileError::new("open", Path::new("/lower"), errno))?;
    roots.host()?;
    match unpack(file, lower.as_fd(), &|| false) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => by_program(file, image, &lower, host, &impossible),
        Err(error) => Err(impossible(error.to_string())),
    }
}

/// The same by the host's unsquashfs, of an image that is not read here.
fn by_program(
    file: &File,
    image: &Path,
    lower: &OwnedFd,
    host: &HostSide,
    impossible: &dyn Fn(String) -> StartError,
) -> Result<(), StartError> {
    let program = host
        .program(UNSQUASHFS)
        .ok_or_else(|| impossible(format!("{UNSQUASHFS} is not installed (not in PATH)")))?;
    fcntl(file, FcntlArg::F_SETFD(FdFlag::empty()))
        .map_err(|errno| FileError::new("inherit", image, errno))?;
    let of = |fd: RawFd| PathBuf::from(format!("/proc/self/fd/{fd}"));
    let (from, to) = (of(file.as_raw_fd()), of(lower.as_raw_fd()));
    let output = unsquashfs::command(&program, (file, &from), &to, true)
        .output()
        .map_err(|error| impossible(error.to_string()))?;
    match unsquashfs::succeeded(output.status) {
        true => Ok(()),
        false => {
            Err(impossible(format!("{UNSQUASHFS}: {}", unsquashfs::last_words(&output.stderr))))
        }
    }
}
