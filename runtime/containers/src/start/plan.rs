//! What is to be started, and how.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::HostSide;
use crate::devices::Wanted;
use crate::fstab::Entry;
use crate::kernel_mount::Lender;
use crate::record;
use crate::start::environment::site::Site;
use crate::start::slurm_commands::SlurmCommands;

/// Namespaces that a container may have for itself, beside user, mount and cgroup.
#[derive(Clone, Copy, Debug, Default)]
pub struct Namespaces {
    /// Process numbers; the first process is the container's init.
    pub pid: bool,
    /// A network with nothing but an idle loopback device.
    pub net: bool,
    /// System V IPC and POSIX message queues.
    pub ipc: bool,
    /// Host and domain name.
    pub uts: bool,
}

/// What a root filesystem is made of.
#[derive(Clone, Debug)]
pub enum Root {
    /// A squashfs file or a directory; changes are gone with the container.
    Path(PathBuf),
    /// A named container, which keeps its changes.
    Container(record::Container),
}

impl Root {
    /// What running processes show as the source of their root mount.
    pub(super) fn mark(&self, label: Option<&record::Name>) -> String {
        match (self, label) {
            (Root::Container(container), _) => container.mark(),
            (Root::Path(_), Some(label)) => record::label_mark(label),
            (Root::Path(_), None) => "pyxis".to_owned(),
        }
    }

    /// What the directory is called at which hooks see the container: by it they tell containers apart.
    pub(super) fn name<'a>(&'a self, label: Option<&'a record::Name>) -> &'a OsStr {
        match (self, label) {
            (Root::Container(container), _) => container.name.as_os_str(),
            (Root::Path(_), Some(label)) => label.as_os_str(),
            // As enroot calls it.
            (Root::Path(_), None) => OsStr::new("overlay"),
        }
    }
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the root filesystem is made of.
    pub root: Root,
    /// What a container that has no name of its own is called while it runs.
    pub label: Option<record::Name>,
    /// Be uid and gid 0 inside.
    pub remap_root: bool,
    /// Let the root filesystem be written to.
    pub writable: bool,
    /// Mount the user's home directory.
    pub mount_home: bool,
    /// Start in the home directory where the image does not say where, as after a login.
    pub at_home: bool,
    /// Use no user namespace (superuser only).
    pub privileged: bool,
    /// Mounts asked for, in order.
    pub mounts: Vec<Entry>,
    /// `NAME` (value from the host) or `NAME=VALUE`, set over the image's environment.
    pub env: Vec<OsString>,
    /// Namespaces of its own.
    pub unshare: Namespaces,
    /// Show the least devices in `/dev`.
    pub restrict_dev: bool,
    /// Devices by CDI.
    pub devices: Wanted,
    /// Carry out all mount lines of the image's own `/etc/fstab`, those of the host's files, too.
    pub image_mounts: bool,
    /// What the site adds.
    pub site: Site,
    /// Slurm's commands, if they are to work inside.
    pub slurm: Option<SlurmCommands>,
    /// The host.
    pub host: HostSide,
    /// A configuration script: bash with functions `environ`, `mounts`, `hooks` and `rc`.
    pub conf: Option<PathBuf>,
    /// The program to run and its arguments, which that script may look at.
    pub words: Vec<OsString>,
    /// Who may have the kernel mount the image.
    pub lender: Option<Lender>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_others_find_by_a_label_is_called_so() {
        let (image, label) =
            (Root::Path("/x/a.sqsh".into()), record::Name::new("pyxis_7.0").unwrap());
        assert_eq!(image.name(Some(&label)), "pyxis_7.0");
        assert_eq!(image.name(None), "overlay");
    }
}
