//! What a root filesystem is made from, on its way from a path to something that can be mounted.
//!
//! The way is the same for each start: [`RootfsSource::open`] before anything else,
//! [`RootfsSource::prepare`] outside of all namespaces, [`RootfsSource::fork_helpers`] before there
//! are any, and [`RootfsSource::serve`] as soon as there is a place to mount the image at.

use std::fs::File;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2};

use handover::VERBOSE;
use hygiene::console;

use crate::HostSide;
use crate::kernel_mount::Lender;
use crate::record::scratch::ScratchLayer;
use crate::record::trash;
use crate::record::{Claim, Container, ContainerError, State};
use crate::start::error::StartError;
use crate::start::mounts::data_images::DataImages;
use crate::start::plan::Root;
use crate::start::process::helpers::{Child, fork_helpers};
use crate::start::process::identity::Identity;
use crate::start::rootfs::scratch::Changes;
use crate::start::rootfs::server::{Mounted, Reader, Server, Unavailable, Unserved};
use crate::start::rootfs::unlayered::find_merger;
use crate::start::roots::LOWER;
use linux::{channel, sys};
use squashfs::image::{Image, ImageError, InUse};
use squashfs::sif;

/// What a root filesystem is made from. An image is first an [`OpenedImage`], of which it is then
/// decided how it is read: [`Layers`].
pub(in crate::start) enum RootfsSource<I> {
    /// A squashfs file, below changes in memory or those of a named container.
    Image(I),
    /// A directory on the host.
    Directory(PathBuf),
    /// The root mount of a running container, which is complete already.
    RunningRoot(OwnedFd),
}

/// A squashfs file, of which no more is known than that it is one.
pub(in crate::start) struct OpenedImage {
    file: File,
    path: PathBuf,
    changes: Option<KeptChanges>,
}

/// The changes of a named container, above its image.
struct KeptChanges {
    /// The container's directory.
    directory: PathBuf,
    /// The image's server holds this file open as long as the layer is mounted.
    used: File,
}

/// An image and where what is changed above it is kept. `S` is the image's server: a [`Server`] that
/// is not begun yet, or [`Mounted`].
pub(in crate::start) struct Layers<S> {
    pub(in crate::start) lower: Lower<S>,
    pub(in crate::start) upper: Upper,
}

/// Where what is changed is kept.
pub(in crate::start) enum Upper {
    /// In memory, gone with the container.
    InMemory,
    /// In a directory that is new, of this file system and inode, and goes with the container.
    OnDisk(PathBuf, (u64, u64)),
    /// In a named container's directory.
    Kept(PathBuf),
    /// Where whoever serves the image keeps it.
    Merged,
}

/// How the image's files are read.
pub(in crate::start) enum Lower<S> {
    /// By the image's server.
    Served(S),
    /// From memory, into which the image is to be unpacked because FUSE cannot be used.
    Extracted(Unserved),
}

impl<S> From<Result<S, Unserved>> for Lower<S> {
    fn from(served: Result<S, Unserved>) -> Lower<S> {
        served.map_or_else(Lower::Extracted, Lower::Served)
    }
}

/// A source, and the claim that keeps others from starting the same named container. The claim is
/// to be dropped when the container runs.
pub(in crate::start) struct Opened {
    pub(in crate::start) source: RootfsSource<OpenedImage>,
    pub(in crate::start) claim: Option<Claim>,
}

impl RootfsSource<OpenedImage> {
    /// Opens what is to be started. From here on the descriptor is the image, whatever becomes of
    /// its path.
    pub(in crate::start) fn open(root: &Root, in_use: InUse) -> Result<Opened, StartError> {
        let source = match root {
            Root::Path(path) => open_file(path, None, in_use)?,
            Root::Container(container) if container.layered.is_some() => {
                return open_layered(container, in_use);
            }
            Root::Container(container) => {
                open_file(&container.path, None, in_use).map_err(|error| match error {
                    // Removed since it was found.
                    ImageError::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                        ContainerError::Absent { path: container.path.clone() }.into()
                    }
                    error => StartError::from(error),
                })?
            }
        };
        Ok(Opened { source, claim: None })
    }

    /// Whether the image is that of a SIF file; of a container that runs, the one below its changes.
    pub(in crate::start) fn is_sif(&self, root: &Root) -> bool {
        match (self, root) {
            (RootfsSource::Image(image), _) => sif::offset(&image.file) > 0,
            (RootfsSource::RunningRoot(_), Root::Container(container)) => {
                File::open(container.image()).is_ok_and(|image| sif::offset(&image) > 0)
            }
            _ => false,
        }
    }

    /// The image's path, for messages.
    pub(in crate::start) fn image_path(&self) -> Option<&Path> {
        match self {
            RootfsSource::Image(image) => Some(&image.path),
            RootfsSource::Directory(_) | RootfsSource::RunningRoot(_) => None,
        }
    }

    /// Finds what the image is to be served with, and where changes of a `writable` container are to
    /// be kept; outside all namespaces. The server will write its complaints to `log`. `mark` is what the root mount shows as
    /// its source.
    pub(in crate::start) fn prepare(
        self,
        identity: &Identity,
        (mark, writable): (&str, bool),
        host: &HostSide,
        log: &File,
    ) -> Result<RootfsSource<Layers<Server>>, StartError> {
        let OpenedImage { file, path, changes } = match self {
            RootfsSource::Directory(path) => return Ok(RootfsSource::Directory(path)),
            RootfsSource::RunningRoot(mount) => return Ok(RootfsSource::RunningRoot(mount)),
            RootfsSource::Image(image) => image,
        };
        let merger = changes.is_none().then(|| find_merger((&file, &path), mark, host)).flatten();
        if let Some((merger, layer)) = merger {
            let (reader, image, used) = (Reader::Merger(merger), (file, &*path), Some(layer.used));
            let server = Server::with(reader, image, identity, used, host, log)?;
            let lower = Lower::Served(server);
            return Ok(RootfsSource::Image(Layers { lower, upper: Upper::Merged }));
        }
        let (upper, used) = match changes {
            Some(KeptChanges { directory, used }) => (Upper::Kept(directory), Some(used)),
            None if !writable => (Upper::InMemory, None),
            None => match Changes::place(&file, host, log) {
                Changes::InMemory => (Upper::InMemory, None),
                Changes::OnDisk(ScratchLayer { path, id, used }) => {
                    (Upper::OnDisk(path, id), Some(used))
                }
                Changes::Unpacked => {
                    let lower =
                        Lower::Extracted(Unserved { file, path, reason: Unavailable::NoLayer });
                    return Ok(RootfsSource::Image(Layers { lower, upper: Upper::InMemory }));
                }
            },
        };
        let lower = Server::prepare((file, &path), identity, used, host, log)?.into();
        // What is unpacked needs no layer.
        if let (Lower::Extracted(_), Upper::OnDisk(layer, _)) = (&lower, &upper) {
            trash::discard_layer(layer);
        }
        Ok(RootfsSource::Image(Layers { lower, upper }))
    }
}

/// Opens a named container that has an image below its changes. Of one that runs the root mount is enough.
fn open_layered(container: &Container, in_use: InUse) -> Result<Opened, StartError> {
    let mut claim = container.claim()?;
    tell_of_strangers(container);
    let source = match claim.take_state() {
        State::Running(mount) => RootfsSource::RunningRoot(mount),
        State::Unused(used) => {
            let changes = KeptChanges { directory: container.path.clone(), used };
            open_file(&container.checked_image()?, Some(changes), in_use)?
        }
    };
    Ok(Opened { source, claim: Some(claim) })
}

/// Scripts that put files into the directory of a container of enroot's find an image and changes here.
fn tell_of_strangers(container: &Container) {
    let names = container.strangers();
    if names.is_empty() {
        return;
    }
    let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
    let (names, directory) = (names.join(", "), container.path.display());
    console::tell(format_args!(
        "pyxis: not in the container: {names} in {directory}, which has an image and what was changed; \
         files go there by start --rw or --mount; or remove it and make a tree: unsquashfs -user-xattrs -d {directory} IMAGE"
    ));
}

/// Opens an image, with the changes that are kept above it, or a directory.
fn open_file(
    path: &Path,
    changes: Option<KeptChanges>,
    in_use: InUse,
) -> Result<RootfsSource<OpenedImage>, ImageError> {
    Ok(match Image::open(path, in_use)? {
        Image::Directory(path) => RootfsSource::Directory(path),
        Image::Squashfs { file, path } => RootfsSource::Image(OpenedImage { file, path, changes }),
    })
}

impl RootfsSource<Layers<Server>> {
    /// The image below a layer that is new, if this process can read it without the server.
    pub(in crate::start) fn readable_image(&self) -> Option<&squashfs::Image> {
        match self {
            RootfsSource::Image(Layers { upper: Upper::Kept(_), .. }) => None,
            RootfsSource::Image(Layers { lower: Lower::Served(server), .. }) => server.image(),
            _ => None,
        }
    }

    /// The image below whatever layer there is, if this process can read it.
    pub(in crate::start) fn image_below(&self) -> Option<&squashfs::Image> {
        match self {
            RootfsSource::Image(Layers { lower: Lower::Served(server), .. }) => server.image(),
            _ => None,
        }
    }

    /// Has the kernel read the image, where root mounts it for us. No process holds what then stands for changes
    /// that are kept: those that are have a server.
    pub(in crate::start) fn take_kernel_mount(&mut self, lender: Option<Lender>) {
        let RootfsSource::Image(Layers { lower: Lower::Served(server), upper: Upper::InMemory }) =
            self
        else {
            return;
        };
        let Some(lender) = lender else { return };
        if let Err(error) = server.take_kernel_mount(lender) {
            console::tell(format_args!(
                "{VERBOSE}pyxis: the kernel does not mount the image: {error}"
            ));
        }
    }

    /// Forks the helpers that the container needs, before there are namespaces: a mount namespace
    /// they must not keep, and within the user namespace they would be the container's prey.
    ///
    /// With `step_socket` a keeper is among them: it kills the container when the socket's other
    /// end, which slurmstepd holds, is closed without a word. `others` are served as well.
    pub(in crate::start) fn fork_helpers(
        &self,
        others: &DataImages,
        step_socket: Option<RawFd>,
        log: &File,
    ) -> Result<Helpers, StartError> {
        let server = match self {
            RootfsSource::Image(Layers { lower: Lower::Served(server), .. }) => server.serve(),
            _ => None,
        };
        let servers: Vec<_> = server.into_iter().chain(others.serve()).collect();
        if servers.is_empty() && step_socket.is_none() {
            return Ok(Helpers::default());
        }
        let (alive, running) =
            pipe2(OFlag::O_CLOEXEC).map_err(|errno| StartError::Process(errno.into()))?;
        Ok(match fork_helpers(&servers, step_socket, &running, log)? {
            // Kernels before 5.3 have no descriptor of a process: the pipe is nearly as good.
            Child::Keeper(keeper, its_socket) => Helpers {
                ended: Some(sys::pidfd_open(keeper.as_raw()).unwrap_or(alive)),
                intermediate: None,
                keeper: Some(its_socket),
            },
            Child::Intermediate(child) => {
                Helpers { ended: Some(alive), intermediate: Some(child), keeper: None }
            }
        })
    }

    /// Mounts the image on the stage, which is the working directory. With that its server begins,
    /// which needs a while: there is other work to be done meanwhile.
    pub(in crate::start) fn serve(self) -> Result<RootfsSource<Layers<Mounted>>, StartError> {
        let Layers { lower, upper } = match self {
            RootfsSource::Directory(path) => return Ok(RootfsSource::Directory(path)),
            RootfsSource::RunningRoot(mount) => return Ok(RootfsSource::RunningRoot(mount)),
            RootfsSource::Image(layers) => layers,
        };
        let lower = match lower {
            Lower::Served(server) => server.mount(LOWER)?.into(),
            Lower::Extracted(unserved) => Lower::Extracted(unserved),
        };
        Ok(RootfsSource::Image(Layers { lower, upper }))
    }
}

/// The processes beside a container.
#[derive(Default)]
pub(in crate::start) struct Helpers {
    /// Can be read, or hangs up, when they are gone.
    pub(in crate::start) ended: Option<OwnedFd>,
    /// The process that has forked the servers and ends.
    intermediate: Option<Pid>,
    /// Where the keeper waits for the container's user namespace.
    keeper: Option<OwnedFd>,
}

impl Helpers {
    /// Sends the keeper the user namespace that this process has entered: its processes are those
    /// that the keeper may have to kill.
    pub(in crate::start) fn send_user_namespace_to_keeper(&mut self) -> io::Result<()> {
        match self.keeper.take() {
            Some(keeper) => channel::send(&keeper, &File::open("/proc/self/ns/user")?.into()),
            None => Ok(()),
        }
    }

    /// Leaves no child that whoever is executed next would find. In a PID namespace of its own
    /// the child is another process's.
    pub(in crate::start) fn reap_intermediate(&mut self) {
        if let Some(child) = self.intermediate.take() {
            let _ = waitpid(child, None);
        }
    }
}

/// A file in memory that helpers write their complaints to.
pub(in crate::start) fn helper_log() -> Result<File, StartError> {
    let log = memfd_create("helpers", MFdFlags::MFD_CLOEXEC);
    log.map(File::from).map_err(|errno| StartError::Process(errno.into()))
}
