//! The container's root filesystem: an image below a writable layer in memory, or a directory.
//!
//! The layer lives on the namespace's own tmpfs. What is written there is gone with the
//! container, whoever is killed and when; it counts against the job's memory.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;

use super::StartError;
use super::identity::Identity;
use super::mounts;
use super::roots::Roots;
use super::server::{Mounted, Server, Unavailable, find_in_path};

/// How the image's files are read.
pub(super) enum Source {
    /// Served by squashfuse.
    Served(Server),
    /// To be unpacked into memory, because FUSE cannot be used.
    Extracted {
        /// The opened image.
        file: File,
        /// Its path, for messages.
        path: PathBuf,
        /// Why it is not served.
        reason: Unavailable,
    },
    /// A directory on the host.
    Directory(PathBuf),
}

const NONE: Option<&str> = None;

/// Puts the root filesystem at `/root` of the stage. `log` is what the server writes to.
pub(super) fn assemble(
    roots: &Roots,
    source: Source,
    identity: &Identity,
    writable: bool,
    log: File,
) -> Result<(), StartError> {
    let mut server: Option<Mounted> = None;
    match source {
        Source::Served(waiting) => {
            server = Some(roots.stage(|| waiting.mount("/lower", identity, log))??);
        }
        Source::Extracted { file, path, reason } => {
            eprintln!("pyxis: {reason}; extracting {} into memory", path.display());
            extract(roots, &file, &path, &reason)?;
        }
        Source::Directory(path) => {
            let directory = roots
                .open_on_host(&path)
                .map_err(|source| StartError::Source { path: path.clone(), source })?;
            let target = if writable { "/root" } else { "/lower" };
            roots.stage(|| mounts::bind_directory(&directory, target, true))??;
            if writable {
                return Ok(());
            }
        }
    }
    let overlaid = roots.stage(overlay)?;
    match overlaid {
        Ok(()) => Ok(()),
        // Kernels before 5.11 know no overlay in user namespaces: an extracted image is private
        // and writable as it is.
        Err(nix::Error::EPERM | nix::Error::ENODEV) if server.is_none() => {
            roots
                .stage(|| mount(Some("/lower"), "/root", NONE, MsFlags::MS_BIND, NONE))?
                .map_err(|errno| StartError::mount("the extracted image", "/", errno))?;
            Ok(())
        }
        Err(errno) => match &mut server {
            Some(server) if errno != nix::Error::EPERM => Err(server.failure(&errno)),
            _ => Err(StartError::mount("overlay", "/", errno)),
        },
    }
}

fn overlay() -> nix::Result<()> {
    // The first request to the server: a server that cannot answer fails here.
    nix::sys::stat::stat("/lower")?;
    let layers = "lowerdir=/lower,upperdir=/upper,workdir=/work,userxattr";
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("pyxis"), "/root", Some("overlay"), flags, Some(layers))
}

/// Unpacks the image to `/lower` of the stage, with the host's own unsquashfs.
fn extract(
    roots: &Roots,
    file: &File,
    image: &Path,
    reason: &Unavailable,
) -> Result<(), StartError> {
    let impossible = |extraction: String| StartError::NoWayToRead {
        image: image.to_owned(),
        reason: reason.to_string(),
        extraction,
    };
    let lower = roots
        .stage(|| open("/lower", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()))?
        .map_err(|errno| StartError::file("open", Path::new("/lower"), errno))?;
    let output = roots.host(|| {
        let program = find_in_path("unsquashfs")
            .ok_or_else(|| impossible("unsquashfs is not installed (not in PATH)".to_owned()))?;
        fcntl(file, FcntlArg::F_SETFD(FdFlag::empty()))
            .map_err(|errno| StartError::file("inherit", image, errno))?;
        Command::new(program)
            .args(["-no-progress", "-user-xattrs", "-force", "-dest"])
            .arg(format!("/proc/self/fd/{}", lower.as_raw_fd()))
            .arg(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| impossible(error.to_string()))
    })??;
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
