//! An image that nothing can serve, or that can have no layer above it, is unpacked into memory.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;

use hygiene::{console, unsecure};
use linux::file_error::FileError;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;

use crate::HostSide;
use crate::start::error::StartError;
use crate::start::rootfs::server::Unserved;
use crate::start::roots::Roots;
use crate::unpack::unpack;
use squashfs::sif;

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
        .program("unsquashfs")
        .ok_or_else(|| impossible("unsquashfs is not installed (not in PATH)".to_owned()))?;
    fcntl(file, FcntlArg::F_SETFD(FdFlag::empty()))
        .map_err(|errno| FileError::new("inherit", image, errno))?;
    let output = unsecure::command(program)
        .args(["-no-progress", "-user-xattrs", "-force"])
        .args(sif::arguments_of_unsquashfs(file))
        .args(["-dest", &format!("/proc/self/fd/{}", lower.as_raw_fd())])
        .arg(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| impossible(error.to_string()))?;
    // 2: some attributes (device nodes, foreign xattrs) could not be restored.
    match output.status.code() {
        Some(0 | 2) => Ok(()),
        _ => {
            let log = String::from_utf8_lossy(&output.stderr);
            let last = log.lines().last().unwrap_or("was killed").trim().to_owned();
            Err(impossible(format!("unsquashfs: {last}")))
        }
    }
}
