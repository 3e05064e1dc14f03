//! The process that serves a squashfs image to the kernel, on a `/dev/fuse` descriptor that is
//! already mounted, so that nobody has to poll for the mount. It reads the image itself, or is
//! squashfuse for an image that only that can read.
//!
//! It stays in the host's namespaces. When the container's last process is gone, the container's
//! mount namespace and with it the FUSE mount disappear, and the server exits by itself. In the
//! container's user namespace it would be a way to the host's files: whoever has capabilities there
//! may follow `/proc/PID/root`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use hygiene::console;
use hygiene::unsecure;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::ForkResult;

use crate::HostSide;
use crate::kernel_mount::Lender;
use crate::start::process::child::{exit_now, fail, inherit};

use crate::record;
use crate::start::error::StartError;
use crate::start::process::cores;
use crate::start::process::identity::Identity;
use crate::start::rootfs::merger::Merger;
use handover::fork::fork;
use linux::{channel, detached, sys};
use squashfs::{self, SquashfsError, fuse, sif};

/// What is needed to serve an image: found before anything is forked.
pub(in crate::start) struct Server {
    image: File,
    path: PathBuf,
    reader: Reader,
    ids: (u32, u32),
    log: File,
    /// The device goes to the server through it, once it is mounted.
    ours: OwnedFd,
    theirs: OwnedFd,
    held: Option<File>,
    /// The image's mount by the kernel, in place of one that is answered for here.
    by_kernel: Option<OwnedFd>,
    /// Of the step on this node.
    cpus: Option<usize>,
}

/// Who reads an image.
pub(in crate::start) enum Reader {
    /// The server itself.
    Own(Box<squashfs::Image>),
    /// squashfuse.
    Program(PathBuf),
    /// Nobody: its files are unpacked, and this shows them and what is changed.
    Merger(Merger),
}

/// What memory lacks as a place for changes.
pub(in crate::start) const NO_ATTRIBUTES: &str =
    "tmpfs has no user attributes before Linux 6.6, which changes of directories need";

/// Why FUSE cannot be used here; the image may still be extracted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unavailable {
    #[error(transparent)]
    Unreadable(SquashfsError),
    #[error("{0}, and squashfuse is not installed (not in PATH)")]
    NotInstalled(SquashfsError),
    #[error(
        "{} is linked with libfuse 2, which takes no mounted device (squashfuse 0.1.105 is not)",
        .0.display()
    )]
    OldLibrary(PathBuf),
    #[error("/dev/fuse cannot be opened: {0}")]
    Device(io::Error),
    #[error("the kernel has no overlay for us ({0})")]
    NoOverlay(nix::Error),
    #[error("{}", NO_ATTRIBUTES)]
    NoLayer,
}

/// An image that is not served, which is left to unpack it.
pub(in crate::start) struct Unserved {
    /// The opened image.
    pub(in crate::start) file: File,
    /// Its path, for messages.
    pub(in crate::start) path: PathBuf,
    /// Why it is not served.
    pub(in crate::start) reason: Unavailable,
}

/// Who can read the image, as far as its superblock says.
pub(in crate::start) fn reader(image: &File, host: &HostSide) -> Result<Reader, Unavailable> {
    let copy =
        image.try_clone().map_err(|error| Unavailable::Unreadable(SquashfsError::Read(error)))?;
    match squashfs::Image::open(copy) {
        Ok(image) => Ok(Reader::Own(Box::new(image))),
        Err(other @ SquashfsError::Unsupported(_)) => program(other, host).map(Reader::Program),
        Err(error) => Err(Unavailable::Unreadable(error)),
    }
}

/// squashfuse, where it can be used.
fn program(why: SquashfsError, host: &HostSide) -> Result<PathBuf, Unavailable> {
    let quick = host.program("squashfuse_ll").filter(|program| {
        let head = head(program);
        sys::contains(&head, OWNERS) && !sys::contains(&head, LIBFUSE_2)
    });
    let program = match quick {
        Some(program) => program,
        None => {
            let program = host.program("squashfuse").ok_or(Unavailable::NotInstalled(why))?;
            if sys::contains(&head(&program), LIBFUSE_2) {
                return Err(Unavailable::OldLibrary(program));
            }
            program
        }
    };
    Ok(program)
}

/// A connection to FUSE that is mounted nowhere yet.
pub(in crate::start) fn device() -> Result<OwnedFd, Unavailable> {
    let fuse = OpenOptions::new().read(true).write(true).open("/dev/fuse");
    Ok(fuse.map_err(Unavailable::Device)?.into())
}

/// In squashfuse_ll since 0.2: it can show every file as the user's, which squashfuse leaves to its
/// library. To ask would cost an exec.
const OWNERS: &[u8] = b"uid=%";
/// In the dynamic section: `/dev/fd/N` as the mount point is libfuse 3.3's.
const LIBFUSE_2: &[u8] = b"libfuse.so.2\0";

/// All of a small program, of which both are near the beginning.
fn head(program: &Path) -> Vec<u8> {
    // Room for more than there is: each is read by one call, and its end found by another.
    let mut head = Vec::with_capacity((1 << 17) + 1);
    let _ = File::open(program).and_then(|file| file.take(1 << 17).read_to_end(&mut head));
    head
}

impl Server {
    /// The server keeps `held` open as long as it lives.
    pub(in crate::start) fn prepare(
        (image, path): (File, &Path),
        identity: &Identity,
        held: Option<File>,
        host: &HostSide,
        log: &File,
    ) -> Result<Result<Server, Unserved>, StartError> {
        let reader = match reader(&image, host) {
            Ok(reader) => reader,
            Err(reason) => {
                return Ok(Err(Unserved { file: image, path: path.to_owned(), reason }));
            }
        };
        Server::with(reader, (image, path), identity, held, host, log).map(Ok)
    }

    /// The same, where it is known who reads the image.
    pub(in crate::start) fn with(
        reader: Reader,
        (image, path): (File, &Path),
        identity: &Identity,
        held: Option<File>,
        host: &HostSide,
        log: &File,
    ) -> Result<Server, StartError> {
        let (ours, theirs) = channel::pair().map_err(StartError::Process)?;
        Ok(Server {
            image,
            path: path.to_owned(),
            reader,
            ids: (identity.inside_uid, identity.inside_gid),
            log: log.try_clone().map_err(StartError::Process)?,
            ours,
            theirs,
            held,
            by_kernel: None,
            cpus: host.variable("SLURM_CPUS_ON_NODE").and_then(|n| n.to_str()?.parse().ok()),
        })
    }

    /// The image, if no program is needed to read it.
    pub(in crate::start) fn image(&self) -> Option<&squashfs::Image> {
        match &self.reader {
            Reader::Own(image) => Some(image),
            Reader::Program(_) | Reader::Merger(_) => None,
        }
    }

    /// Waits for the kernel's mount of the image, which then needs no server.
    pub(in crate::start) fn take_kernel_mount(&mut self, lender: Lender) -> io::Result<()> {
        self.by_kernel = Some(lender.mount(&self.image)?);
        Ok(())
    }

    /// What the forked server runs, if there is to be one.
    pub(in crate::start) fn serve(&self) -> Option<Serve<'_>> {
        self.by_kernel.is_none().then_some(Serve(self))
    }

    /// Mounts the image at `target`, with which the server starts to answer. Inside the
    /// container's user namespace: the kernel wants the device opened in the one that mounts it.
    pub(in crate::start) fn mount(
        self,
        target: &str,
    ) -> Result<Result<Mounted, Unserved>, StartError> {
        if let Some(mount) = &self.by_kernel {
            open(target, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
                .and_then(|target| detached::attach(mount.as_fd(), target.as_fd()))
                .map_err(|errno| StartError::mount("the image", target, errno))?;
            return Ok(Ok(Mounted { file: self.image, image: self.path, log: self.log }));
        }
        match device() {
            Ok(fuse) => {
                let target = Path::new(target);
                self.mount_device(fuse, (target, target), MsFlags::empty()).map(Ok)
            }
            Err(reason) => {
                let Server { image, path, .. } = self;
                Ok(Err(Unserved { file: image, path, reason }))
            }
        }
    }

    /// The same with a connection, and more flags; the target as it is now, and as it is called.
    pub(in crate::start) fn mount_device(
        self,
        fuse: OwnedFd,
        (target, shown): (&Path, &Path),
        flags: MsFlags,
    ) -> Result<Mounted, StartError> {
        let (user, group) = self.ids;
        let data = format!(
            "fd={},rootmode=40000,user_id={user},group_id={group},default_permissions,allow_other",
            fuse.as_raw_fd()
        );
        let (source, fstype, more) = match &self.reader {
            Reader::Merger(merger) => (&*merger.mark, "fuse.fuse-overlayfs", MsFlags::empty()),
            _ => ("pyxis-image", "fuse.squashfs", MsFlags::MS_RDONLY),
        };
        let flags = flags | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | more;
        mount(Some(source), target, Some(fstype), flags, Some(data.as_str()))
            .map_err(|errno| StartError::mount("the image", &shown.to_string_lossy(), errno))?;
        // With our copy closed, the server's death fails every request instead of hanging it.
        channel::send(&self.ours, &fuse).map_err(StartError::Process)?;
        Ok(Mounted { file: self.image, image: self.path, log: self.log })
    }
}

/// The server's side, in a process of its own.
pub(in crate::start) struct Serve<'a>(&'a Server);

impl<'a> Serve<'a> {
    /// Closes this process's copy of the other end: with it closed, a parent that gives up is noticed.
    pub(in crate::start) fn close_other_end(&self) {
        // SAFETY: nothing of this process uses it any more.
        unsafe { nix::libc::close(self.0.ours.as_raw_fd()) };
    }

    /// What the server has locked, and deletes at its end if it is to go with the container.
    pub(in crate::start) fn held(&self) -> Option<&'a File> {
        self.0.held.as_ref()
    }

    /// Waits until the image is mounted and answers for it until it no longer is.
    pub(in crate::start) fn serve(&self, alive: &OwnedFd, log: &File) -> ! {
        let Server { theirs, .. } = self.0;
        if let Reader::Own(image) = &self.0.reader {
            // While there is time, if nobody has looked yet. The root is asked for first of all.
            let _ = image.inode(image.root());
            cores::of_the_step(self.0.cpus);
        }
        let Ok(fuse) = channel::receive(theirs.as_raw_fd()) else {
            self.0.held.as_ref().map(record::finish_removal);
            exit_now(1)
        };
        match &self.0.reader {
            Reader::Own(image) => self.answer(image, fuse, alive),
            Reader::Program(program) => self.become_program(program, fuse, alive, log),
            Reader::Merger(merger) => self.merge(merger, fuse, alive, log),
        }
    }

    fn answer(&self, image: &squashfs::Image, fuse: OwnedFd, alive: &OwnedFd) -> ! {
        sys::name_process(c"pyxis-image");
        let held = self.0.held.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        sys::close_all_but(&[image.descriptor(), fuse.as_raw_fd(), alive.as_raw_fd(), held]);
        // A thread that is gone would leave its request, and whoever waits for it, hanging.
        std::panic::set_hook(Box::new(|panic| {
            console::tell(panic);
            exit_now(1);
        }));
        match fuse::Server::new(fuse, image, self.0.ids).run() {
            Ok(()) => {
                self.0.held.as_ref().map(record::finish_removal);
                exit_now(0)
            }
            Err(error) => {
                console::tell(error);
                exit_now(1)
            }
        }
    }

    /// Waits for the program that merges, and deletes the layer when it has ended.
    fn merge(&self, merger: &Merger, fuse: OwnedFd, alive: &OwnedFd, log: &File) -> ! {
        sys::name_process(c"pyxis-image");
        let held = self.0.held.as_ref().map(AsRawFd::as_raw_fd);
        match fork() {
            Ok(ForkResult::Child) => {
                let error = merger.run(self.0.ids, &fuse, &[held, Some(alive.as_raw_fd())]);
                fail(log, &error)
            }
            Ok(ForkResult::Parent { child }) => {
                sys::close_all_but(&[alive.as_raw_fd(), held.unwrap_or(-1)]);
                // Interrupted by no signal: all are ignored.
                let _ = waitpid(child, None);
                self.0.held.as_ref().map(record::finish_removal);
                exit_now(0)
            }
            Err(errno) => fail(log, &errno),
        }
    }

    fn become_program(&self, program: &Path, fuse: OwnedFd, alive: &OwnedFd, log: &File) -> ! {
        let Server { image, held, ids: (user, group), .. } = self.0;
        let held = held.as_ref().map_or(Ok(()), inherit);
        for inherited in [inherit(image), inherit(&fuse), inherit(alive), held] {
            if let Err(error) = inherited {
                fail(log, &error);
            }
        }
        let error = unsecure::command(program)
            .args(["-f", "-o", &format!("uid={user},gid={group},offset={}", sif::offset(image))])
            .arg(format!("/proc/self/fd/{}", image.as_raw_fd()))
            .arg(format!("/dev/fd/{}", fuse.as_raw_fd()))
            .exec();
        fail(log, &format_args!("{}: {error}", program.display()))
    }
}

/// A mounted image, perhaps not yet answering.
pub(in crate::start) struct Mounted {
    /// The opened image.
    pub(in crate::start) file: File,
    /// Its path, for messages.
    pub(in crate::start) image: PathBuf,
    log: File,
}

impl Mounted {
    /// Whether its server has said that something is wrong.
    pub(in crate::start) fn complains(&self) -> bool {
        !self.complaints().is_empty()
    }

    fn complaints(&self) -> String {
        let mut log = String::new();
        let _ = (&self.log).rewind();
        let _ = (&self.log).take(4096).read_to_string(&mut log);
        let lines = log.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join("; ")
    }

    /// The error to report when the file system does not answer.
    pub(in crate::start) fn failure(&mut self, source: &nix::Error) -> StartError {
        let log = self.complaints();
        let log = if log.is_empty() { source.desc().to_owned() } else { log };
        StartError::Server { image: self.image.clone(), log }
    }
}
