//! Who the user is, on the host and inside, and the user namespace that says so.

use std::fs;
use std::path::PathBuf;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid};

use super::StartError;

/// The calling user and the ids it is given inside the container.
#[derive(Debug)]
pub(super) struct Identity {
    uid: Uid,
    gid: Gid,
    /// Uid inside: 0 when remapped to root.
    pub(super) inside_uid: u32,
    /// Gid inside.
    pub(super) inside_gid: u32,
    pub(super) name: String,
    pub(super) group: String,
    pub(super) gecos: String,
    pub(super) home: PathBuf,
    pub(super) shell: PathBuf,
}

impl Identity {
    /// Looks the caller up in the host's user database; an unknown uid gets neutral values.
    pub(super) fn of_caller(remap_root: bool) -> Identity {
        let (uid, gid) = (geteuid(), getegid());
        let user = User::from_uid(uid).ok().flatten();
        let group = Group::from_gid(gid).ok().flatten();
        let inside = |id: u32| if remap_root { 0 } else { id };
        Identity {
            inside_uid: inside(uid.as_raw()),
            inside_gid: inside(gid.as_raw()),
            name: user.as_ref().map_or_else(|| format!("user{uid}"), |user| user.name.clone()),
            group: group.map_or_else(|| format!("group{gid}"), |group| group.name),
            gecos: user
                .as_ref()
                .and_then(|user| user.gecos.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
            home: user.as_ref().map_or_else(|| "/".into(), |user| user.dir.clone()),
            shell: user.map_or_else(|| "/bin/sh".into(), |user| user.shell),
            uid,
            gid,
        }
    }

    /// Enters a user namespace in which the caller has one uid and one gid, and all capabilities
    /// until the next exec.
    pub(super) fn enter_user_namespace(&self) -> Result<(), StartError> {
        let failed = |source: std::io::Error| StartError::UserNamespace {
            hint: user_namespace_hint(),
            source,
        };
        unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| failed(errno.into()))?;
        // Without setgroups denied, the kernel refuses an unprivileged gid_map.
        fs::write("/proc/self/setgroups", "deny").map_err(failed)?;
        fs::write("/proc/self/uid_map", format!("{} {} 1", self.inside_uid, self.uid))
            .map_err(failed)?;
        fs::write("/proc/self/gid_map", format!("{} {} 1", self.inside_gid, self.gid))
            .map_err(failed)
    }
}

/// The sysctls that forbid user namespaces, as far as they do so here.
fn user_namespace_hint() -> String {
    let knobs = [
        ("user.max_user_namespaces", "/proc/sys/user/max_user_namespaces", "0", "15000"),
        (
            "kernel.unprivileged_userns_clone",
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "1",
        ),
        (
            "kernel.apparmor_restrict_unprivileged_userns",
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "0",
        ),
    ];
    knobs
        .iter()
        .filter(|(_, path, bad, _)| fs::read_to_string(path).is_ok_and(|text| text.trim() == *bad))
        .map(|(name, _, bad, good)| {
            format!(" ({name} is {bad} on this node; `sysctl -w {name}={good}` allows them)")
        })
        .collect()
}
