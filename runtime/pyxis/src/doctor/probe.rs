//! The child process that tries what a container's start does, each step in the namespaces of the
//! one before it, and prints how far it came.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

use handover::fork::fork;
use handover::namespaces::{Namespace, NewUser};
use hygiene::console;
use linux::{bounded, sys};
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::unistd::{
    ForkResult, chdir, dup2_stderr, dup2_stdin, dup2_stdout, getegid, geteuid, pipe2,
};

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
                "an AppArmor profile with `userns,` for pyxis, as in its package's share/apparmor/extra-profiles/pyxis"
            }
            Step::Overlay => {
                "modprobe overlay; overlays of users need Linux 5.11: before, install fuse-overlayfs"
            }
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

/// A process that tries what a start of an image needs, an overlay excepted (without one the image is
/// extracted). Nobody waits for its end: the kernel takes longer to take its namespaces down than for all
/// the rest.
pub struct Attempt(File);

impl Attempt {
    /// Begins it, in a process that has one thread.
    ///
    /// # Errors
    /// The kernel's.
    pub fn begin() -> io::Result<Attempt> {
        let (answer, said) = pipe2(OFlag::O_CLOEXEC)?;
        if let ForkResult::Parent { .. } = fork()? {
            return Ok(Attempt(answer.into()));
        }
        let _ = answer_with(File::from(said));
        std::process::exit(0)
    }

    /// What cannot be done, in words.
    pub fn failure(self) -> Option<String> {
        let mut words = String::new();
        match self.0.take(bounded::OF_PROCESS).read_to_string(&mut words) {
            Ok(_) if words == ALL => None,
            Ok(0) => Some("what tries what users can do on this node has died".to_owned()),
            Ok(_) => Some(words),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// What is said where nothing failed.
const ALL: &str = "yes";

/// Tries everything, and says what came of it.
fn answer_with(mut said: File) -> io::Result<()> {
    // Who has asked waits for what it says, and for nothing else that it holds: not for its output.
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    drop(null);
    sys::close_all_but(&[said.as_raw_fd()]);
    let needed = [Step::Namespace, Step::Mounts, Step::Fuse];
    match needed.into_iter().find_map(|step| Some((step.what(), step.attempt().err()?))) {
        None => said.write_all(ALL.as_bytes()),
        Some((what, why)) => write!(said, "users cannot {what} on this node: {why}"),
    }
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
    linux::xattr::set_by_path(c"upper", c"user.overlay.opaque", b"n")
}

/// Nobody serves it; that the kernel mounts it is what is asked.
fn fuse() -> io::Result<()> {
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
