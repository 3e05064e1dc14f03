//! An image that nothing can serve is unpacked into memory, by the host's own unsquashfs.

use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Stdio;

use hygiene::{console, unsecure};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::sys::stat::Mode;

use crate::HostSide;
use crate::start::error::StartError;
use crate::start::rootfs::server::Unserved;
use crate::start::roots::Roots;

/// Unpacks the image to `/lower` of the stage, and tells the user so.
pub(in crate::start) fn extract(
    roots: &mut Roots,
    host: &HostSide,
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
    let lower = open("/lower", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())
        .map_err(|errno| StartError::file("open", Path::new("/lower"), errno))?;
    roots.host()?;
    let program = host
        .program("unsquashfs")
        .ok_or_else(|| impossible("unsquashfs is not installed (not in PATH)".to_owned()))?;
    fcntl(file, FcntlArg::F_SETFD(FdFlag::empty()))
        .map_err(|errno| StartError::file("inherit", image, errno))?;
    let output = unsecure::command(program)
        .args(["-no-progress", "-user-xattrs", "-force", "-dest"])
        .arg(format!("/proc/self/fd/{}", lower.as_raw_fd()))
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
