//! The container's root filesystem, put at `/root` of the stage: an image below a writable layer,
//! or a directory.
//!
//! The layer of an image lives on the namespace's own tmpfs. What is written there is gone with
//! the container, whoever is killed and when; it counts against the job's memory. Before Linux 6.6 that
//! of a container that can be written to lives on disk ([`super::scratch`]). The layer of a named
//! container lives in its directory.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use linux::file_error::FileError;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, fstat, stat};

use crate::HostSide;
use crate::start::error::StartError;
use crate::start::mounts::change;
use crate::start::rootfs::extract::extract;
use crate::start::rootfs::layers::NoLayers;
use crate::start::rootfs::server::{Mounted, Unavailable, Unserved};
use crate::start::rootfs::source::{Layers, Lower, RootfsSource, Upper};
use crate::start::rootfs::upper::{Filling, PrefilledUpper, begin_directories};
use crate::start::roots::{Roots, StageRoot, TREE};
use linux::detached;

const NONE: Option<&str> = None;
/// The layer below, on the stage.
const LOWER: &str = "/lower";
/// The upper one of [`IN_MEMORY`].
const NEW_UPPER: &str = "/upper";
/// Layers on the stage's own tmpfs.
const IN_MEMORY: &str = "upperdir=/upper,workdir=/work";
/// The upper one of a directory of the host's.
const UPPER_ON_DISK: &str = "/data/upper";
/// Layers in a named container's directory.
const KEPT: &str = "upperdir=/data/upper,workdir=/data/work";
/// The same, of a container that ends: nothing has to be on disk when it does.
const ON_DISK: &str = "upperdir=/data/upper,workdir=/data/work,volatile";

/// How a root filesystem is to be put together.
pub(in crate::start) struct Assembly<'a> {
    pub(in crate::start) host: &'a HostSide,
    /// What the root mount shows as its source.
    pub(in crate::start) mark: &'a str,
    pub(in crate::start) writable: bool,
    /// What a layer that is new is filled with before it is mounted.
    pub(in crate::start) filling: Option<Filling<'a>>,
}

impl Assembly<'_> {
    /// Puts the root filesystem at `/root` of the stage. Returns what was put into its upper layer
    /// first, if that layer is in use.
    pub(in crate::start) fn assemble(
        self,
        roots: &mut Roots,
        source: RootfsSource<Layers<Mounted>>,
    ) -> Result<Option<PrefilledUpper>, StartError> {
        match source {
            RootfsSource::RunningRoot(mount) => attach_running_root(roots, &mount).map(|()| None),
            RootfsSource::Directory(path) if self.writable => {
                bind_host_directory(roots, &path, TREE).map(|()| None)
            }
            RootfsSource::Directory(path) => self.above_directory(roots, &path),
            RootfsSource::Image(Layers { lower, upper: Upper::Kept(directory) }) => {
                self.with_kept_changes(roots, lower, &directory).map(|()| None)
            }
            RootfsSource::Image(Layers { lower: Lower::Extracted(unserved), .. }) => {
                self.unpacked(roots, &unserved).map(|()| None)
            }
            RootfsSource::Image(Layers {
                lower: Lower::Served(mut server),
                upper: Upper::Merged,
            }) => {
                answers(roots, Some(&mut server))?;
                bind_lower(&roots.stage()?).map(|()| None)
            }
            RootfsSource::Image(Layers { lower: Lower::Served(server), upper }) => {
                self.above_image(roots, server, &upper)
            }
        }
    }

    /// A directory that is not to be changed, below a layer for what every container gets.
    fn above_directory(
        mut self,
        roots: &mut Roots,
        path: &Path,
    ) -> Result<Option<PrefilledUpper>, StartError> {
        bind_host_directory(roots, path, LOWER)?;
        let filled = self.fill(roots, NEW_UPPER)?;
        match self.overlay(&roots.stage()?, IN_MEMORY) {
            Ok(()) => Ok(filled),
            // What would be added to it, such as the user's account, is left out.
            Err(errno) if no_overlay(errno) => bind_lower(&roots.stage()?).map(|()| None),
            Err(errno) => Err(overlay_failed(errno)),
        }
    }

    /// An image below a layer that is new.
    fn above_image(
        mut self,
        roots: &mut Roots,
        mut server: Mounted,
        upper: &Upper,
    ) -> Result<Option<PrefilledUpper>, StartError> {
        answers(roots, Some(&mut server))?;
        let (filled, layers) = match upper {
            Upper::OnDisk(directory, id) => {
                bind_new_directory(roots, directory, *id)?;
                (self.fill(roots, UPPER_ON_DISK)?, ON_DISK)
            }
            _ => (self.fill(roots, NEW_UPPER)?, IN_MEMORY),
        };
        let errno = match self.overlay(&roots.stage()?, layers) {
            Ok(()) => return Ok(filled),
            Err(errno) if no_overlay(errno) => errno,
            Err(errno) => return Err(not_mounted(Some(&mut server), errno)),
        };
        roots.stage()?;
        umount2(LOWER, MntFlags::MNT_DETACH)
            .map_err(|errno| StartError::mount("nothing (unmount)", LOWER, errno))?;
        let Mounted { file, image: path, .. } = server;
        let unserved = Unserved { file, path, reason: Unavailable::NoOverlay(errno) };
        self.unpacked(roots, &unserved).map(|()| None)
    }

    /// An image that is unpacked is private, and can be changed as it is.
    fn unpacked(&self, roots: &mut Roots, unserved: &Unserved) -> Result<(), StartError> {
        extract(roots, self.host, self.mark, unserved)?;
        bind_lower(&roots.stage()?)
    }

    /// An image below the changes that a named container keeps in `directory`.
    fn with_kept_changes(
        &self,
        roots: &mut Roots,
        lower: Lower<Mounted>,
        directory: &Path,
    ) -> Result<(), StartError> {
        let mut server = self.mount_lower(roots, lower)?;
        bind_host_directory(roots, directory, "/data")?;
        begin_directories(roots, Path::new("/data/upper"))?;
        self.overlay(&roots.stage()?, KEPT)
            .map_err(|errno| changes_not_mounted(server.as_mut(), directory, errno))
    }

    /// Makes the image's files readable at [`LOWER`] of the stage, by a server that answers or by
    /// unpacking them.
    fn mount_lower(
        &self,
        roots: &mut Roots,
        lower: Lower<Mounted>,
    ) -> Result<Option<Mounted>, StartError> {
        let mut server = match lower {
            Lower::Served(server) => Some(server),
            Lower::Extracted(unserved) => {
                extract(roots, self.host, self.mark, &unserved)?;
                None
            }
        };
        answers(roots, server.as_mut())?;
        Ok(server)
    }

    fn fill(
        &mut self,
        roots: &mut Roots,
        upper: &str,
    ) -> Result<Option<PrefilledUpper>, StartError> {
        let filling = self.filling.take();
        filling.map(|filling| filling.fill(roots, Path::new(upper))).transpose()
    }

    /// Mounts an overlay of [`LOWER`] and the layers `upper`.
    fn overlay(&self, _: &StageRoot<'_>, upper: &str) -> nix::Result<()> {
        if !self.host.overlay {
            return Err(nix::Error::ENODEV);
        }
        let layers = format!("lowerdir={LOWER},{upper},userxattr");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some(self.mark), TREE, Some("overlay"), flags, Some(layers.as_str()))
    }
}

/// The root of a container that runs already is the same mount.
fn attach_running_root(roots: &mut Roots, mount: &OwnedFd) -> Result<(), StartError> {
    roots.stage()?;
    open(TREE, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .and_then(|root| detached::attach(mount.as_fd(), root.as_fd()))
        .map_err(|errno| FileError::new("attach the running root of", "/", errno).into())
}

/// Shows a directory of the host at `target` of the stage, with what is mounted below.
pub(in crate::start) fn bind_host_directory(
    roots: &mut Roots,
    path: &Path,
    target: &str,
) -> Result<(), StartError> {
    let directory = roots
        .open_on_host(path)
        .map_err(|source| StartError::Source(FileError::new("mount", path, source)))?;
    roots.stage()?;
    change::bind_directory(&directory, target, true)
}

/// The first request to the server: one that cannot answer fails here.
fn answers(roots: &mut Roots, server: Option<&mut Mounted>) -> Result<(), StartError> {
    roots.stage()?;
    match (stat(LOWER), server) {
        (Err(errno), Some(server)) => Err(server.failure(&errno)),
        _ => Ok(()),
    }
}

/// Shows a directory at `/data` of the stage, if it is the one that was made.
fn bind_new_directory(roots: &mut Roots, path: &Path, id: (u64, u64)) -> Result<(), StartError> {
    let directory = roots
        .open_on_host(path)
        .map_err(|source| StartError::Source(FileError::new("mount", path, source)))?;
    let found = fstat(&directory).map_err(|errno| FileError::new("look at", path, errno))?;
    if (found.st_dev, found.st_ino) != id {
        return Err(FileError::new("use", path, nix::Error::ESTALE).into());
    }
    roots.stage()?;
    change::bind_directory(&directory, "/data", false)
}

/// Kernels before 5.11 know no overlay in user namespaces, and one to which a distribution has added it
/// not the option that we need (EINVAL).
fn no_overlay(errno: nix::Error) -> bool {
    matches!(errno, nix::Error::EPERM | nix::Error::ENODEV | nix::Error::EINVAL)
}

fn bind_lower(_: &StageRoot<'_>) -> Result<(), StartError> {
    mount(Some(LOWER), TREE, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
        .map_err(|errno| StartError::mount("the root filesystem", "/", errno))
}

/// Why there is no overlay: the image's server may have ended, and have said why.
fn not_mounted(server: Option<&mut Mounted>, errno: nix::Error) -> StartError {
    match server {
        Some(server) if !no_overlay(errno) => server.failure(&errno),
        _ => overlay_failed(errno),
    }
}

/// The same where changes are kept: the image's server says so if it is at fault. Otherwise the kernel has no overlays, or the
/// directory has come to a file system that takes no layer, with a home that is on NFS now perhaps.
fn changes_not_mounted(
    server: Option<&mut Mounted>,
    directory: &Path,
    errno: nix::Error,
) -> StartError {
    match server {
        Some(server) if server.complains() || stat(LOWER).is_err() => server.failure(&errno),
        _ => {
            let why = NoLayers::Overlay { directory: directory.to_owned(), source: errno.into() };
            match why.is_of_kernel() {
                true => overlay_failed(errno),
                false => StartError::Layer(why.to_string()),
            }
        }
    }
}

fn overlay_failed(errno: nix::Error) -> StartError {
    StartError::mount("overlay", "/", errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Debian's 5.10 with `permit_mounts_in_userns` has an overlay for users, and not its option.
    #[test]
    fn a_kernel_that_does_not_know_the_option_has_no_overlay_for_us() {
        for errno in [nix::Error::EINVAL, nix::Error::EPERM, nix::Error::ENODEV] {
            assert!(no_overlay(errno), "{errno}");
        }
        assert!(!no_overlay(nix::Error::ENOMEM));
    }
}
