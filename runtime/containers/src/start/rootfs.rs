//! The container's root filesystem: an image below a writable layer, or a directory.
//!
//! The layer of an image lives on the namespace's own tmpfs. What is written there is gone with
//! the container, whoever is killed and when; it counts against the job's memory. The layer of a
//! named container lives in its directory.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use hygiene::console;
use hygiene::unsecure;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2};

use super::helpers::{Child, fork_helpers};
use crate::HostSide;

use super::identity::Identity;
use super::mounts;
use super::roots::{LOWER, Roots, TREE};
use super::server::{Mounted, Server, Unavailable};
use super::upper::begin_directories;
use super::{Root, StartError};
use crate::named::{Claim, State};
use linux::{channel, detached, sys};
use squashfs;
use squashfs::image::{Image, InUse};

/// What there is to start from, before any namespace is entered.
pub(super) enum Ground {
    /// A squashfs file, below changes in memory or those of a container.
    Image { file: File, path: PathBuf, changes: Option<Changes> },
    /// A directory on the host.
    Directory(PathBuf),
    /// The root mount of a running container.
    Mount(OwnedFd),
}

/// A container's own layer.
pub(super) struct Changes {
    /// The container's directory.
    directory: PathBuf,
    /// For the image server to hold, as long as the layer is mounted.
    used: File,
}

impl Ground {
    /// Opens what is to be started. The claim is to be dropped when the container runs.
    pub(super) fn find(root: &Root, in_use: InUse) -> Result<(Ground, Option<Claim>), StartError> {
        let (path, changes, claim) = match root {
            Root::Path(path) => (path.clone(), None, None),
            Root::Container(container) => match &container.layered {
                None => (container.path.clone(), None, None),
                Some(_) => {
                    let mut claim = container.claim()?;
                    let used = match claim.take_state() {
                        State::Running(mount) => return Ok((Ground::Mount(mount), Some(claim))),
                        State::Unused(used) => used,
                    };
                    let image = container.checked_image()?;
                    let directory = container.path.clone();
                    (image, Some(Changes { directory, used }), Some(claim))
                }
            },
        };
        let ground = match Image::open(&path, in_use)? {
            Image::Directory(path) => Ground::Directory(path),
            Image::Squashfs { file, path } => Ground::Image { file, path, changes },
        };
        Ok((ground, claim))
    }

    /// Finds what the image is to be served with; outside all namespaces.
    pub(super) fn prepare(
        self,
        identity: &Identity,
        host: &HostSide,
        log: &File,
    ) -> Result<Source, StartError> {
        Ok(match self {
            Ground::Directory(path) => Source::Directory(path),
            Ground::Mount(mount) => Source::Mount(mount),
            Ground::Image { file, path, changes } => {
                let (directory, held) =
                    changes.map(|changes| (changes.directory, changes.used)).unzip();
                let lower = match Server::prepare((file, &path), identity, held, host, log)? {
                    Ok(server) => Lower::Served(server),
                    Err((file, reason)) => Lower::Extracted { file, path, reason },
                };
                Source::Layers { lower, changes: directory }
            }
        })
    }
}

/// How the image's files are read.
pub(super) enum Lower {
    /// To be served.
    Served(Server),
    /// Served at `/lower` of the stage.
    Mounted(Mounted),
    /// To be unpacked into memory, because FUSE cannot be used.
    Extracted {
        /// The opened image.
        file: File,
        /// Its path, for messages.
        path: PathBuf,
        /// Why it is not served.
        reason: Unavailable,
    },
}

/// What the root filesystem is put together from.
pub(super) enum Source {
    /// An image below the changes in a directory, or in memory.
    Layers { lower: Lower, changes: Option<PathBuf> },
    /// A directory on the host.
    Directory(PathBuf),
    /// A mount that is complete already.
    Mount(OwnedFd),
}

impl Source {
    /// The image below a layer that is new, if we can read it ourselves.
    pub(super) fn image(&self) -> Option<&squashfs::Image> {
        match self {
            Source::Layers { lower: Lower::Served(server), changes: None } => server.image(),
            _ => None,
        }
    }

    /// Forks the helpers that the container needs, before there are namespaces: a mount namespace
    /// they must not keep, and within the user namespace they would be the container's prey.
    pub(super) fn fork_helpers(
        &self,
        lease: Option<RawFd>,
        log: &File,
    ) -> Result<Helpers, StartError> {
        let server = match self {
            Source::Layers { lower: Lower::Served(server), .. } => Some(server.serve()),
            _ => None,
        };
        if server.is_none() && lease.is_none() {
            return Ok(Helpers::default());
        }
        let (alive, running) =
            pipe2(OFlag::O_CLOEXEC).map_err(|errno| StartError::Process(errno.into()))?;
        Ok(match fork_helpers(server, lease, &running, log)? {
            // Kernels before 5.3 have no descriptor of a process: the pipe is nearly as good.
            Child::Keeper(keeper, told) => Helpers {
                ended: Some(sys::process_fd(keeper).unwrap_or(alive)),
                passing: None,
                keeper: Some(told),
            },
            Child::Passing(child) => {
                Helpers { ended: Some(alive), passing: Some(child), keeper: None }
            }
        })
    }
}

impl Source {
    /// Has the server begin, which needs a while, before anything else is done: for
    /// [`Roots::enter`].
    pub(super) fn serve(self) -> Result<Source, StartError> {
        Ok(match self {
            Source::Layers { lower: Lower::Served(server), changes } => {
                Source::Layers { lower: server.mount(LOWER)?, changes }
            }
            source => source,
        })
    }
}

/// The processes beside a container.
#[derive(Default)]
pub(super) struct Helpers {
    /// Can be read, or hangs up, when they are gone.
    pub(super) ended: Option<OwnedFd>,
    passing: Option<Pid>,
    keeper: Option<OwnedFd>,
}

impl Helpers {
    /// Tells the keeper whose processes it may have to kill: those of our user namespace.
    pub(super) fn tell_keeper(&mut self) -> io::Result<()> {
        match self.keeper.take() {
            Some(keeper) => channel::send(&keeper, &File::open("/proc/self/ns/user")?.into()),
            None => Ok(()),
        }
    }

    /// Leaves no child that whoever is executed next would find. In a PID namespace of its own
    /// the child is another process's.
    pub(super) fn settle(&mut self) {
        if let Some(child) = self.passing.take() {
            let _ = waitpid(child, None);
        }
    }
}

/// What helpers write to.
pub(super) fn helper_log() -> Result<File, StartError> {
    let log = memfd_create("helpers", MFdFlags::MFD_CLOEXEC);
    log.map(File::from).map_err(|errno| StartError::Process(errno.into()))
}

const NONE: Option<&str> = None;
/// The upper one of [`MEMORY`].
const NEW: &str = "/upper";
/// Layers on the stage's own tmpfs.
const MEMORY: &str = "upperdir=/upper,workdir=/work";
/// Layers in a container's directory.
const KEPT: &str = "upperdir=/data/upper,workdir=/data/work";

/// Puts the root filesystem at `/root` of the stage. A layer that is new and nobody else's is
/// filled first by `fill`, whose result is returned if the layer is in use.
pub(super) fn assemble<T>(
    roots: &Roots,
    host: &HostSide,
    source: Source,
    mark: &str,
    writable: bool,
    fill: impl FnOnce(&Path) -> Result<T, StartError>,
) -> Result<Option<T>, StartError> {
    let (lower, changes) = match source {
        Source::Layers { lower, changes } => (lower, changes),
        Source::Mount(mount) => {
            roots
                .stage(|| {
                    let root = open(TREE, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
                    detached::attach(mount.as_fd(), root.as_fd())
                })?
                .map_err(|errno| StartError::file("attach the running root of", "/", errno))?;
            return Ok(None);
        }
        Source::Directory(path) => {
            let target = if writable { "/root" } else { "/lower" };
            bind_host_directory(roots, &path, target)?;
            if writable {
                return Ok(None);
            }
            let filled = fill(Path::new(NEW))?;
            return match roots.stage(|| overlay(host, mark, "/lower", MEMORY))? {
                Ok(()) => Ok(Some(filled)),
                // What would be added to it, such as the user's account, is left out.
                Err(errno) if no_overlay(errno) => bind_lower(roots).map(|()| None),
                Err(errno) => Err(overlay_failed(errno)),
            };
        }
    };
    let mut server = mount_lower(roots, host, lower)?;
    // The first request to the server: one that cannot answer fails here.
    let answer = roots.stage(|| nix::sys::stat::stat("/lower"))?;
    if let (Err(errno), Some(server)) = (answer, &mut server) {
        return Err(server.failure(&errno));
    }
    let (layers, filled) = match &changes {
        None => (MEMORY, Some(fill(Path::new(NEW))?)),
        Some(directory) => {
            bind_host_directory(roots, directory, "/data")?;
            begin_directories(roots, Path::new("/data/upper"))?;
            (KEPT, None)
        }
    };
    match roots.stage(|| overlay(host, mark, "/lower", layers))? {
        Ok(()) => Ok(filled),
        // An extracted image is private and writable as it is.
        Err(errno) if no_overlay(errno) && changes.is_none() => {
            if let Some(Mounted { file, image, .. }) = server {
                let reason = Unavailable::NoOverlay(errno);
                roots
                    .stage(|| umount2("/lower", MntFlags::MNT_DETACH))?
                    .map_err(|errno| StartError::mount("nothing (unmount)", "/lower", errno))?;
                let name = image.display();
                console::tell(format_args!("pyxis: {reason}; extracting {name} into memory"));
                extract(roots, host, &file, &image, &reason)?;
            }
            bind_lower(roots).map(|()| None)
        }
        Err(errno) => match &mut server {
            Some(server) if !no_overlay(errno) => Err(server.failure(&errno)),
            _ => Err(overlay_failed(errno)),
        },
    }
}

/// Makes the image's files readable at `/lower` of the stage.
fn mount_lower(
    roots: &Roots,
    host: &HostSide,
    lower: Lower,
) -> Result<Option<Mounted>, StartError> {
    match lower {
        Lower::Mounted(server) => Ok(Some(server)),
        Lower::Served(server) => mount_lower(roots, host, roots.stage(|| server.mount("/lower"))??),
        Lower::Extracted { file, path, reason } => {
            let name = path.display();
            console::tell(format_args!("pyxis: {reason}; extracting {name} into memory"));
            extract(roots, host, &file, &path, &reason)?;
            Ok(None)
        }
    }
}

pub(super) fn bind_host_directory(
    roots: &Roots,
    path: &Path,
    target: &str,
) -> Result<(), StartError> {
    let directory = roots
        .open_on_host(path)
        .map_err(|source| StartError::Source { path: path.to_owned(), source })?;
    roots.stage(|| mounts::bind_directory(&directory, target, true))?
}

/// Kernels before 5.11 know no overlay in user namespaces.
fn no_overlay(errno: nix::Error) -> bool {
    matches!(errno, nix::Error::EPERM | nix::Error::ENODEV)
}

fn bind_lower(roots: &Roots) -> Result<(), StartError> {
    roots
        .stage(|| mount(Some("/lower"), "/root", NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE))?
        .map_err(|errno| StartError::mount("the root filesystem", "/", errno))
}

pub(super) fn overlay_failed(errno: nix::Error) -> StartError {
    StartError::mount("overlay", "/", errno)
}

/// Mounts an overlay at `/root` of the present root.
fn overlay(host: &HostSide, mark: &str, lower: &str, upper: &str) -> nix::Result<()> {
    if !host.overlay {
        return Err(nix::Error::ENODEV);
    }
    let layers = format!("lowerdir={lower},{upper},userxattr");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some(mark), "/root", Some("overlay"), flags, Some(layers.as_str()))
}

/// Unpacks the image to `/lower` of the stage, with the host's own unsquashfs.
fn extract(
    roots: &Roots,
    host: &HostSide,
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
        let program = host
            .program("unsquashfs")
            .ok_or_else(|| impossible("unsquashfs is not installed (not in PATH)".to_owned()))?;
        fcntl(file, FcntlArg::F_SETFD(FdFlag::empty()))
            .map_err(|errno| StartError::file("inherit", image, errno))?;
        unsecure::command(program)
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
