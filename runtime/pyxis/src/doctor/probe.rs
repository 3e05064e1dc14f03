//! The child process that tries what a container's start does, each step in the namespaces of the
//! one before it, and prints how far it came.

use std::fs;
use std::io;
use std::path::Path;

use handover::namespaces::{Namespace, NewUser};
use hygiene::console;
use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, getegid, geteuid};

/// One thing tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Namespace,
    Mounts,
    Overlay,
    Layer,
    Fuse,
}

/// All, in order.
pub(super) const STEPS: [Step; 5] =
    [Step::Namespace, Step::Mounts, Step::Overlay, Step::Layer, Step::Fuse];

impl Step {
    pub(super) fn check(self) -> &'static str {
        match self {
            Step::Namespace => "kernel-namespace",
            Step::Mounts => "kernel-mount",
            Step::Overlay => "kernel-overlay",
            Step::Layer => "kernel-layer",
            Step::Fuse => "fuse-mount",
        }
    }

    fn attempt(self) -> io::Result<()> {
        match self {
            Step::Namespace => namespace(),
            Step::Mounts => mounts(),
            Step::Overlay => overlay(),
            Step::Layer => layer(),
            Step::Fuse => fuse(),
        }
    }

    pub(super) fn what(self) -> &'static str {
        match self {
            Step::Namespace => "make user namespaces",
            Step::Mounts => "mount in them",
            Step::Overlay => "mount overlays in them",
            Step::Layer => "keep all changes of a container in memory",
            Step::Fuse => "mount FUSE in them",
        }
    }

    pub(super) fn mend(self) -> &'static str {
        match self {
            Step::Namespace => {
                "sysctl -w user.max_user_namespaces=15000 (and look at seccomp filters and a chroot)"
            }
            Step::Mounts => {
                "an AppArmor profile with `userns,` for pyxis, as in its package's share/pyxis/apparmor"
            }
            Step::Overlay => "modprobe overlay; overlays of users need Linux 5.11",
            Step::Layer => {
                "set layers in [paths] of pyxis.toml to a directory on a local disk in which all \
                 users may write (mode 1777)"
            }
            Step::Fuse => "modprobe fuse && chmod 666 /dev/fuse",
        }
    }
}

/// Tries all; to be called in a process that does nothing else.
pub fn run() {
    for step in STEPS {
        let tried = step.attempt();
        // Who asked reads no more if this fails.
        let _ = match &tried {
            Ok(()) => console::print(format_args!("{} yes", step.check())),
            Err(error) => console::print(format_args!("{} no {error}", step.check())),
        };
        // Without namespaces there is nothing to mount in.
        if tried.is_err() && matches!(step, Step::Namespace | Step::Mounts) {
            return;
        }
    }
}

/// What cannot be done of all that a start of an image needs, an overlay excepted (without one the
/// image is extracted), and why; as [`run`], to be called in a process that does nothing else.
pub fn first_failure() -> Option<(&'static str, io::Error)> {
    let needed = [Step::Namespace, Step::Mounts, Step::Fuse];
    needed.into_iter().find_map(|step| Some((step.what(), step.attempt().err()?)))
}

fn namespace() -> io::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    NewUser::new((0, uid.as_raw()), (0, gid.as_raw())).enter()?;
    Ok(Namespace::Mount.unshare()?)
}

/// A file system of our own to work in; /proc is a directory that is everywhere.
fn mounts() -> io::Result<()> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("probe"), "/proc", Some("tmpfs"), MsFlags::empty(), none)?;
    chdir(Path::new("/proc"))?;
    ["lower", "upper", "work", "root", "fuse"].iter().try_for_each(fs::create_dir)
}

fn overlay() -> io::Result<()> {
    let layers = "userxattr,lowerdir=lower,upperdir=upper,workdir=work";
    mount(Some("probe"), "root", Some("overlay"), MsFlags::empty(), Some(layers))?;
    fs::write("root/written", "")
}

/// tmpfs has such attributes since Linux 6.6. Without, a directory of the image that is removed cannot
/// be told from one that is not.
fn layer() -> io::Result<()> {
    linux::sys::set_xattr(c"upper", c"user.overlay.opaque", b"n")
}

/// Nobody serves it; that the kernel mounts it is what is asked.
fn fuse() -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let device = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    let device = device.map_err(|error| io::Error::other(format!("/dev/fuse: {error}")))?;
    let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("probe"), "fuse", Some("fuse.probe"), flags, Some(data.as_str()))?;
    Ok(())
}

/// Whether a step was done, and why not, from what [`run`] printed.
pub(super) fn result(text: &str, step: Step) -> Option<(bool, &str)> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(step.check()));
    match lines.next()?.trim_start().split_once(' ') {
        Some(("no", why)) => Some((false, why)),
        _ => Some((true, "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read() {
        let text = "kernel-namespace yes\nkernel-mount no Permission denied (os error 13)\n";
        assert_eq!(result(text, Step::Namespace), Some((true, "")));
        let denied = (false, "Permission denied (os error 13)");
        assert_eq!(result(text, Step::Mounts), Some(denied));
        assert_eq!(result(text, Step::Overlay), None);
    }
}
