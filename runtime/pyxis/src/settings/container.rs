//! How containers are started.

use super::layers::Resolved;
use super::table::Id;

/// How containers are started, where the arguments do not say.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct ContainerSettings {
    /// The root file system can be written to.
    pub writable: bool,
    /// The user is root inside.
    pub remap_root: bool,
    /// The home directory is mounted.
    pub mount_home: bool,
    /// What an image's own `/etc/fstab` asks for of the host is mounted.
    pub image_mounts: bool,
    /// Slurm's commands work inside.
    pub slurm_commands: bool,
    /// Command scripts run in a login shell; `None` where nobody has said.
    pub login_shell: Option<bool>,
    /// `/dev` has the least devices.
    pub restrict_dev: bool,
    /// The kernel's overlay may be used.
    pub native_overlayfs: bool,
    /// Namespaces of the container's own.
    pub unshare: containers::start::Namespaces,
    /// Root keeps its privileges.
    pub allow_superuser: bool,
}

impl ContainerSettings {
    pub(super) fn of(resolved: &Resolved) -> ContainerSettings {
        ContainerSettings {
            writable: resolved.is_on(Id::Writable),
            remap_root: resolved.is_on(Id::RemapRoot),
            mount_home: resolved.is_on(Id::MountHome),
            image_mounts: resolved.is_on(Id::ImageMounts),
            slurm_commands: resolved.is_on(Id::SlurmCommands),
            login_shell: resolved.choice(Id::LoginShell),
            restrict_dev: resolved.is_on(Id::RestrictDev),
            native_overlayfs: resolved.is_on(Id::NativeOverlayfs),
            unshare: containers::start::Namespaces {
                pid: resolved.is_on(Id::UnsharePid),
                net: resolved.is_on(Id::UnshareNet),
                ipc: resolved.is_on(Id::UnshareIpc),
                uts: resolved.is_on(Id::UnshareUts),
            },
            allow_superuser: resolved.is_on(Id::AllowSuperuser),
        }
    }
}
