//! An image that nothing can serve, or that can have no layer above it, is unpacked into memory.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use hygiene::console;
use linux::file_error::FileError;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::unistd::geteuid;

use crate::HostSide;
use crate::start::error::StartError;
use crate::start::rootfs::server::{Unavailable, Unserved};
use crate::start::roots::Roots;
use crate::unpack::unpack;
use squashfs::UnpackError;
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
    let more = match reason {
        Unavailable::NoOverlay(_) if !geteuid().is_root() => {
            " (with fuse-overlayfs in PATH it is unpacked once, and kept)"
        }
        _ => "",
    };
    console::tell(format_args!("pyxis: {reason}; extracting {name} into memory{more}"));
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
    write_files(file, image, &File::from(lower), host)
        .map_err(|error| impossible(error.to_string()))
}

/// Writes the image's files to an empty directory.
pub(in crate::start) fn write_files(
    file: &File,
    image: &Path,
    to: &File,
    host: &HostSide,
) -> io::Result<()> {
    match unpack(file, to.as_fd(), &|| false) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => by_program(file, image, to, host),
        Err(UnpackError::File(error)) => Err(io::Error::new(error.source.kind(), error)),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// The same by the host's unsquashfs, of an image that is not read here.
fn by_program(file: &File, image: &Path, to: &File, host: &HostSide) -> io::Result<()> {
    let program = host
        .program(UNSQUASHFS)
        .ok_or_else(|| io::Error::other(format!("{UNSQUASHFS} is not installed (not in PATH)")))?;
    fcntl(file, FcntlArg::F_SETFD(FdFlag::empty()))
        .map_err(|errno| io::Error::other(FileError::new("inherit", image, errno)))?;
    let of = |fd: RawFd| PathBuf::from(format!("/proc/self/fd/{fd}"));
    let (from, to) = (of(file.as_raw_fd()), of(to.as_raw_fd()));
    let output = unsquashfs::command(&program, (file, &from), &to, true).output()?;
    match unsquashfs::succeeded(output.status) {
        true => Ok(()),
        false => {
            let words = unsquashfs::last_words(&output.stderr);
            Err(io::Error::other(format!("{UNSQUASHFS}: {words}")))
        }
    }
}
