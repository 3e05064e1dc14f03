//! Who the user is, on the host and inside, and the user namespace that says so.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid};

use crate::start::error::StartError;
use handover::namespaces::NewUser;
use linux::home::entry;

/// The calling user's ids, and those it is given inside the container.
#[derive(Debug)]
pub(in crate::start) struct Identity {
    uid: Uid,
    gid: Gid,
    /// Uid inside: 0 when remapped to root.
    pub(in crate::start) inside_uid: u32,
    /// Gid inside.
    pub(in crate::start) inside_gid: u32,
}

/// What the host's user database says about the calling user.
#[derive(Debug)]
pub(in crate::start) struct Account {
    pub(in crate::start) name: String,
    pub(in crate::start) group: String,
    pub(in crate::start) gecos: String,
    pub(in crate::start) home: PathBuf,
    pub(in crate::start) shell: PathBuf,
    /// Others who are to be known inside.
    pub(in crate::start) others: Vec<OtherAccount>,
}

/// An account that is known inside by a line of each file.
#[derive(Debug)]
pub(in crate::start) struct OtherAccount {
    pub(in crate::start) passwd: String,
    pub(in crate::start) group: String,
}

impl Identity {
    /// The calling user's.
    pub(in crate::start) fn of_caller(remap_root: bool) -> Identity {
        let (uid, gid) = (geteuid(), getegid());
        let inside = |id: u32| if remap_root { 0 } else { id };
        let (inside_uid, inside_gid) = (inside(uid.as_raw()), inside(gid.as_raw()));
        Identity { uid, gid, inside_uid, inside_gid }
    }

    /// Looks the caller up in the host's user database, on the host's tree; an unknown uid gets
    /// neutral values. Not as long as this process must have one thread: the modules of the
    /// database may start others.
    pub(in crate::start) fn account(&self) -> Account {
        let Identity { uid, gid, .. } = *self;
        let account = Account::of_file(uid).unwrap_or_else(|| Account::of_database(uid));
        let group = group_of_file(gid)
            .or_else(|| Group::from_gid(gid).ok().flatten().map(|group| group.name))
            .unwrap_or_else(|| format!("group{gid}"));
        Account { group, ..account }
    }

    /// Whether the caller has another uid inside.
    pub(in crate::start) fn is_remapped(&self) -> bool {
        self.inside_uid != self.uid.as_raw()
    }

    /// The caller under the ids of outside, and accounts of these names or numbers, as far as there are any: looked up as
    /// [`Identity::account`] does.
    pub(in crate::start) fn others(&self, caller: &Account, names: &[String]) -> Vec<OtherAccount> {
        let own = OtherAccount {
            passwd: passwd_line(&caller.name, self.uid, self.gid, &caller.home, &caller.shell),
            group: format!("{}:x:{}:", caller.group, self.gid),
        };
        let named = names.iter().filter_map(|name| {
            let user = match name.parse() {
                Ok(uid) => User::from_uid(Uid::from_raw(uid)),
                Err(_) => User::from_name(name),
            };
            let user = user.ok().flatten()?;
            let group = Group::from_gid(user.gid).ok().flatten();
            let group = group.map_or_else(|| user.name.clone(), |group| group.name);
            Some(OtherAccount {
                passwd: passwd_line(&user.name, user.uid, user.gid, &user.dir, &user.shell),
                group: format!("{group}:x:{}:", user.gid),
            })
        });
        self.is_remapped().then_some(own).into_iter().chain(named).collect()
    }

    /// Enters a user namespace in which the caller has one uid and one gid, and all capabilities
    /// until the next exec. Nobody in there can trace it until then.
    pub(in crate::start) fn enter_user_namespace(&self) -> Result<(), StartError> {
        let (uid, gid) = (self.uid.as_raw(), self.gid.as_raw());
        let user = NewUser::new((self.inside_uid, uid), (self.inside_gid, gid));
        user.enter()
            .map_err(|source| StartError::UserNamespace { hint: user_namespace_hint(), source })
    }
}

impl Account {
    /// From `/etc/passwd`: the database proper loads libraries and asks daemons first.
    fn of_file(uid: Uid) -> Option<Account> {
        let text = fs::read_to_string("/etc/passwd").ok()?;
        let fields = entry(&text, 7, &uid.to_string())?;
        Some(Account {
            name: fields[0].to_owned(),
            group: String::new(),
            gecos: fields[4].to_owned(),
            home: fields[5].into(),
            shell: if fields[6].is_empty() { "/bin/sh".into() } else { fields[6].into() },
            others: Vec::new(),
        })
    }

    fn of_database(uid: Uid) -> Account {
        let user = User::from_uid(uid).ok().flatten();
        Account {
            name: user.as_ref().map_or_else(|| format!("user{uid}"), |user| user.name.clone()),
            group: String::new(),
            gecos: user
                .as_ref()
                .and_then(|user| user.gecos.to_str().ok())
                .unwrap_or_default()
                .to_owned(),
            home: user.as_ref().map_or_else(|| "/".into(), |user| user.dir.clone()),
            shell: user
                .map(|user| user.shell)
                .filter(|shell| !shell.as_os_str().is_empty())
                .unwrap_or_else(|| "/bin/sh".into()),
            others: Vec::new(),
        }
    }
}

fn passwd_line(name: &str, uid: Uid, gid: Gid, home: &Path, shell: &Path) -> String {
    format!("{name}:*:{uid}:{gid}::{}:{}", home.display(), shell.display())
}

fn group_of_file(gid: Gid) -> Option<String> {
    let text = fs::read_to_string("/etc/group").ok()?;
    entry(&text, 3, &gid.to_string()).map(|fields| fields[0].to_owned())
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
            // A node is not weakened for what a profile allows.
            let how = match name.contains("apparmor") {
                true => "pyxis needs its profile in AppArmor; `pyxis doctor` says how".to_owned(),
                false => format!("`sysctl -w {name}={good}` allows them"),
            };
            format!(" ({name} is {bad} on this node; {how})")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_in_files_first() {
        let text = "+@netgroup:x:7:7:::\n#a:x:7:7::/a:/bin/sh\nshort:x:7\nb:x:7:8:B,,:/b:/bin/b\n";
        assert_eq!(entry(text, 7, "7").unwrap()[5], "/b");
        assert!(entry(text, 7, "8").is_none());
        let me = Identity::of_caller(false);
        let (file, database) = (me.account(), Account::of_database(me.uid));
        assert_eq!((file.name, file.home), (database.name, database.home));
    }
}
