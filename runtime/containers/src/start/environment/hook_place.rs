//! Where hooks see the container, and what they and a site's lists of variables are told of it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use linux::file_error::FileError;

use crate::start::environment::site::Site;
use crate::start::error::StartError;
use crate::start::plan::Plan;
use crate::start::roots::HostRoot;

/// Directories that can be covered for hooks, which hardly have anything there.
const PLACES: [&str; 3] = ["/media", "/srv", "/mnt"];
/// The variables of the container, one to a line, which hooks may change.
pub(super) const VARIABLES: &str = "environment";
/// Mount lines, to which hooks may add.
pub(super) const MOUNTS: &str = "fstab";

/// A directory of the host's tree: enroot's runtime directory, and the bundle of an OCI runtime's.
pub(in crate::start) struct HookPlace {
    pub(super) directory: PathBuf,
    /// Where the container is seen.
    pub(super) rootfs: PathBuf,
    /// The directory has another use on the host.
    pub(super) is_borrowed: bool,
}

impl HookPlace {
    /// That of a start without hooks, for which nothing is looked at or made.
    pub(in crate::start) fn unmade(plan: &Plan) -> HookPlace {
        HookPlace::at(plan.site.runtime.clone(), plan)
    }

    /// The directory that the user or the system has for hooks, which is made if need be, or else one that can be
    /// covered.
    pub(in crate::start) fn find(
        host: &HostRoot<'_>,
        plan: &Plan,
    ) -> Result<HookPlace, StartError> {
        if let Some(directory) = own_directory(host, &plan.site)? {
            return Ok(HookPlace::at(directory, plan));
        }
        let place = PLACES.iter().find(|place| Path::new(place).is_dir());
        let place = HookPlace::at(place.unwrap_or(&"/tmp").into(), plan);
        Ok(HookPlace { is_borrowed: true, ..place })
    }

    fn at(directory: PathBuf, plan: &Plan) -> HookPlace {
        let rootfs = directory.join("rootfs").join(plan.root.name(plan.label.as_ref()));
        HookPlace { directory, rootfs, is_borrowed: false }
    }

    /// The variables that say where everything is.
    pub(in crate::start) fn variables(&self) -> [(&'static str, OsString); 5] {
        [
            ("ENROOT_PID", std::process::id().to_string().into()),
            ("ENROOT_ROOTFS", self.rootfs.clone().into()),
            ("ENROOT_ENVIRON", self.directory.join(VARIABLES).into()),
            ("ENROOT_MOUNTS", self.directory.join(MOUNTS).into()),
            ("ENROOT_RUNTIME_PATH", self.directory.clone().into()),
        ]
    }
}

/// The directory that the user or the system has for this; `None` if there is none, or if somebody else could put
/// another one in its place: what is mounted there is mounted in our mount namespace only, and keeps nobody from that.
fn own_directory(_: &HostRoot<'_>, site: &Site) -> Result<Option<PathBuf>, StartError> {
    match fs::create_dir_all(&site.runtime) {
        Err(error) if site.runtime_is_wanted => {
            Err(FileError::new("create (ENROOT_RUNTIME_PATH)", &site.runtime, error).into())
        }
        made => Ok((made.is_ok() && site.runtime_is_closed).then(|| site.runtime.clone())),
    }
}
