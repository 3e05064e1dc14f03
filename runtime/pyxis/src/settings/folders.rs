//! Folders of what a site and a user add to containers.

use std::path::{Path, PathBuf};

use super::layers::Resolved;
use super::table::Id;

/// Folders, in the order in which they count, the user's last.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Of `*.fstab`.
    pub mounts: Vec<PathBuf>,
    /// Of `*.env`.
    pub environ: Vec<PathBuf>,
    /// Of `*.sh`.
    pub hooks: Vec<PathBuf>,
    /// With enroot's `common.sh`; `None` for our own.
    pub library: Option<PathBuf>,
    /// Of a user's.
    pub user: Option<PathBuf>,
}

impl Folders {
    pub(super) fn of(resolved: &Resolved, sysconf: &Path) -> Folders {
        let user = resolved.path(Id::UserConfig);
        let with_users = |id, below: &str| {
            let mut folders = match resolved.is_said(id) {
                true => resolved.paths(id),
                false => vec![sysconf.join(below)],
            };
            folders.extend(user.iter().map(|user| user.join(below)));
            folders
        };
        Folders {
            mounts: with_users(Id::Mounts, "mounts.d"),
            environ: with_users(Id::EnvironFolders, "environ.d"),
            hooks: with_users(Id::Hooks, "hooks.d"),
            // It goes with enroot; a node may have its configuration only.
            library: resolved.path(Id::Library).filter(|path| path.join("common.sh").exists()),
            user,
        }
    }
}
