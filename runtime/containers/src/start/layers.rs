//! Whether changes of a container can be kept as a layer in a given directory.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, chdir};

use super::helpers::exit_now;
use super::identity::Identity;
use super::server::{self, Unavailable};
use handover::fork::fork;
use handover::namespaces::Namespace;

/// Why a container has to be extracted instead.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoLayers {
    #[error(transparent)]
    Image(Unavailable),
    #[error("the file system of {} takes no overlay ({source})", directory.display())]
    Overlay { directory: PathBuf, source: io::Error },
}

/// Whether the kernel's overlay may be used: enroot's variable says no where it misbehaves.
pub(super) fn overlay_allowed() -> bool {
    let value = std::env::var("ENROOT_NATIVE_OVERLAYFS").unwrap_or_default();
    !matches!(value.to_ascii_lowercase().as_str(), "n" | "no" | "f" | "false")
}

/// Tries it, with the empty directories `upper` and `work` in `directory`.
pub(crate) fn can_layer(image: &File, directory: &Path) -> Result<(), NoLayers> {
    server::reader(image).and_then(|_| server::device()).map_err(NoLayers::Image)?;
    let failed = |source| NoLayers::Overlay { directory: directory.to_owned(), source };
    if !overlay_allowed() {
        return Err(failed(io::Error::from_raw_os_error(nix::libc::ENODEV)));
    }
    let status = match fork() {
        Ok(ForkResult::Child) => {
            let code = try_overlay(directory).err().and_then(|error| error.raw_os_error());
            exit_now(code.unwrap_or(0).min(255));
        }
        Ok(ForkResult::Parent { child }) => waitpid(child, None),
        Err(error) => return Err(failed(error)),
    };
    match status {
        Ok(WaitStatus::Exited(_, 0)) => Ok(()),
        Ok(WaitStatus::Exited(_, code)) => Err(failed(io::Error::from_raw_os_error(code))),
        Ok(_) => Err(failed(io::ErrorKind::Interrupted.into())),
        Err(errno) => Err(failed(errno.into())),
    }
}

fn try_overlay(directory: &Path) -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        let identity = Identity::of_caller(false);
        identity.enter_user_namespace().map_err(io::Error::other)?;
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
    linux::sys::set_xattr(c"upper", c"user.overlay.opaque", b"n")
}
