//! Whether changes of a container can be kept as a layer in a given directory.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, chdir, fork, getegid, geteuid};

use crate::HostSide;

use crate::start::process::child::exit_now;
use crate::start::rootfs::server::{self, Unavailable};
use handover::namespaces::{Namespace, NewUser};

/// Why a container has to be extracted instead.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoLayers {
    #[error(transparent)]
    Image(Unavailable),
    #[error("the file system of {} takes no overlay ({source})", directory.display())]
    Overlay { directory: PathBuf, source: io::Error },
}

impl NoLayers {
    /// Whether the kernel has no overlays for us: then no other place has any.
    pub(in crate::start) fn is_of_kernel(&self) -> bool {
        matches!(self, NoLayers::Overlay { source, .. } if matches!(
            source.raw_os_error(),
            Some(nix::libc::EPERM | nix::libc::ENODEV)
        ))
    }

    /// What can be done about it, at the end of the line that says so: network file systems take no layer, and homes are often
    /// on one.
    pub(crate) fn mend(&self) -> &'static str {
        match self {
            NoLayers::Overlay { .. } if !self.is_of_kernel() => {
                " (named containers start at once where ENROOT_DATA_PATH, or data in [paths] of pyxis.toml, names a \
                 directory on a local disk)"
            }
            _ => "",
        }
    }
}

/// Tries it, with the empty directories `upper` and `work` in `directory`.
pub(crate) fn can_layer(image: &File, directory: &Path, host: &HostSide) -> Result<(), NoLayers> {
    server::reader(image, host).and_then(|_| server::device()).map_err(NoLayers::Image)?;
    takes_layer(directory, host)
}

/// Whether an overlay works with the empty directories `upper` and `work` in `directory`.
pub(in crate::start) fn takes_layer(directory: &Path, host: &HostSide) -> Result<(), NoLayers> {
    let failed = |source| NoLayers::Overlay { directory: directory.to_owned(), source };
    if !host.overlay {
        return Err(failed(io::Error::from_raw_os_error(nix::libc::ENODEV)));
    }
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let user = (uid != 0).then(|| NewUser::new((uid, uid), (gid, gid)));
    // SAFETY: until it exits, the child makes system calls on what is there, and allocates nothing: what
    // has fetched the image may have left threads.
    let status = match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            let code =
                try_overlay(user.as_ref(), directory).err().and_then(|error| error.raw_os_error());
            exit_now(code.unwrap_or(0).min(255));
        }
        Ok(ForkResult::Parent { child }) => waitpid(child, None),
        Err(errno) => return Err(failed(errno.into())),
    };
    match status {
        Ok(WaitStatus::Exited(_, 0)) => Ok(()),
        Ok(WaitStatus::Exited(_, code)) => Err(failed(io::Error::from_raw_os_error(code))),
        Ok(_) => Err(failed(io::ErrorKind::Interrupted.into())),
        Err(errno) => Err(failed(errno.into())),
    }
}

fn try_overlay(user: Option<&NewUser>, directory: &Path) -> io::Result<()> {
    if let Some(user) = user {
        user.enter()?;
    }
    Namespace::Mount.unshare()?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    // Relative, so that no character of the path has a meaning to overlayfs.
    chdir(directory)?;
    // A lower layer of another file system, as an image is.
    mount(Some("probe"), "/proc", Some("tmpfs"), MsFlags::empty(), Some("mode=755,size=4k"))?;
    let layers = "lowerdir=/proc,upperdir=upper,workdir=work,userxattr";
    mount(Some("probe"), "/proc", Some("overlay"), MsFlags::empty(), Some(layers))?;
    // Removing a directory of the image and making it anew needs this attribute.
    linux::xattr::set_by_path(c"upper", c"user.overlay.opaque", b"n")
}
