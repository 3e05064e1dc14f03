//! Namespaces: the one table of them, whose they are, and the one way into a user namespace.
//!
//! A process that enters a container's user namespace is in reach of whoever has capabilities there:
//! its root, its directory and its descriptors may still be the host's. The kernel keeps everybody in
//! there from a process that is not dumpable, by its memory's user namespace, which is the one it was
//! executed in. So [`Namespace::join`] and [`NewUser::enter`] leave no process of ours dumpable; the next
//! program that is executed is again, and has its memory in the namespace that it is in.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::fstat;

use crate::Part;

/// `ioctl`s on a namespace's descriptor (ioctl_ns(2)).
const NS_GET_USERNS: libc::c_ulong = 0xb701;
const NS_GET_OWNER_UID: libc::c_ulong = 0xb704;

/// A kind of namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// Users and capabilities.
    User,
    /// Process numbers, of children.
    Pid,
    /// The view of cgroups.
    Cgroup,
    /// Mounts.
    Mount,
    /// System V IPC and message queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// Network.
    Net,
}

impl Namespace {
    /// In the order in which they can be joined: the user namespace gives the right to the others.
    pub const ALL: [Namespace; 7] = [
        Namespace::User,
        Namespace::Pid,
        Namespace::Cgroup,
        Namespace::Mount,
        Namespace::Ipc,
        Namespace::Uts,
        Namespace::Net,
    ];

    /// Its name below `/proc/PID/ns`.
    pub const fn file(self) -> &'static str {
        match self {
            Namespace::User => "user",
            Namespace::Pid => "pid",
            Namespace::Cgroup => "cgroup",
            Namespace::Mount => "mnt",
            Namespace::Ipc => "ipc",
            Namespace::Uts => "uts",
            Namespace::Net => "net",
        }
    }

    /// Its name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Namespace::User => "user",
            Namespace::Pid => "PID",
            Namespace::Cgroup => "cgroup",
            Namespace::Mount => "mount",
            Namespace::Ipc => "IPC",
            Namespace::Uts => "UTS",
            Namespace::Net => "network",
        }
    }

    /// Its flag for setns(2) and unshare(2).
    pub const fn flag(self) -> libc::c_int {
        match self {
            Namespace::User => libc::CLONE_NEWUSER,
            Namespace::Pid => libc::CLONE_NEWPID,
            Namespace::Cgroup => libc::CLONE_NEWCGROUP,
            Namespace::Mount => libc::CLONE_NEWNS,
            Namespace::Ipc => libc::CLONE_NEWIPC,
            Namespace::Uts => libc::CLONE_NEWUTS,
            Namespace::Net => libc::CLONE_NEWNET,
        }
    }

    /// What it is called in a [hand-over](crate::Handover). A PID namespace is in none.
    pub const fn part(self) -> Option<Part> {
        match self {
            Namespace::User => Some(Part::User),
            Namespace::Pid => None,
            Namespace::Cgroup => Some(Part::Cgroup),
            Namespace::Mount => Some(Part::Mount),
            Namespace::Ipc => Some(Part::Ipc),
            Namespace::Uts => Some(Part::Uts),
            Namespace::Net => Some(Part::Net),
        }
    }

    /// Joins the opened namespace. Nobody can trace the calling process from then on, until it
    /// executes a program.
    ///
    /// # Errors
    /// The kernel's.
    pub fn join(self, namespace: impl AsFd) -> nix::Result<()> {
        hide();
        // SAFETY: the descriptor is open.
        let joined = unsafe { libc::setns(namespace.as_fd().as_raw_fd(), self.flag()) };
        // With the sysctl fs.suid_dumpable=1 a change of credentials would show it again.
        hide();
        Errno::result(joined).map(drop)
    }

    /// Moves the calling process (of [`Namespace::Pid`], its children) to a new one. For a user
    /// namespace there is [`NewUser`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn unshare(self) -> nix::Result<()> {
        if self == Namespace::User {
            return Err(Errno::EINVAL);
        }
        // SAFETY: takes a number.
        Errno::result(unsafe { libc::unshare(self.flag()) }).map(drop)
    }

    /// The one that the calling process is in.
    ///
    /// # Errors
    /// The kernel's.
    pub fn own(self) -> io::Result<OwnedFd> {
        Ok(fs::File::open(format!("/proc/self/ns/{}", self.file()))?.into())
    }
}

/// A user namespace that is to be made, in which one uid and one gid of outside are known.
#[derive(Debug)]
pub struct NewUser {
    uids: String,
    gids: String,
}

impl NewUser {
    /// With these ids inside and outside.
    pub fn new((uid_inside, uid): (u32, u32), (gid_inside, gid): (u32, u32)) -> NewUser {
        NewUser { uids: format!("{uid_inside} {uid} 1"), gids: format!("{gid_inside} {gid} 1") }
    }

    /// Makes it and enters it, with all capabilities in there until the next exec. It allocates nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn enter(&self) -> io::Result<()> {
        // SAFETY: takes a number.
        Errno::result(unsafe { libc::unshare(libc::CLONE_NEWUSER) })?;
        // Only the owner of these files may write them, which of a process that is not dumpable is root.
        // As yet nobody else is in this namespace.
        // Without setgroups denied, the kernel refuses an unprivileged gid_map.
        let mapped = fs::write("/proc/self/setgroups", "deny")
            .and_then(|()| fs::write("/proc/self/uid_map", &self.uids))
            .and_then(|()| fs::write("/proc/self/gid_map", &self.gids));
        hide();
        mapped
    }
}

/// Keeps the calling process, until it executes a program, from everybody who has capabilities in
/// another user namespace than the one that it was executed in.
pub fn hide() {
    // SAFETY: sets an attribute of this process. There is no error that this could be.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

/// Who has made a user namespace, as a uid that the caller knows (Linux 4.11).
///
/// # Errors
/// The kernel's; it is no user namespace, for one.
pub fn owner(user: impl AsFd) -> io::Result<u32> {
    let mut uid: libc::uid_t = libc::uid_t::MAX;
    let fd = user.as_fd().as_raw_fd();
    // SAFETY: the kernel writes one uid to where the pointer says.
    Errno::result(unsafe { libc::ioctl(fd, NS_GET_OWNER_UID as _, &raw mut uid) })?;
    Ok(uid)
}

/// The user namespace that a namespace belongs to: who has capabilities there may change it.
///
/// # Errors
/// `EPERM` for one that is neither the caller's nor below it.
pub fn user_of(namespace: impl AsFd) -> io::Result<OwnedFd> {
    // SAFETY: an ioctl without argument.
    let fd = unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_USERNS as _) };
    let fd = Errno::result(fd)?;
    // SAFETY: the kernel has just made it for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether both are the same namespace.
///
/// # Errors
/// The kernel's.
pub fn same(one: impl AsFd, other: impl AsFd) -> io::Result<bool> {
    let (one, other) = (fstat(one)?, fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_namespace_is_what_the_kernel_calls_it() {
        for namespace in Namespace::ALL {
            let own = namespace.own().unwrap();
            let theirs = user_of(&own).err().and_then(|error| error.raw_os_error());
            // The one above ours is not for us to see.
            assert_eq!(theirs.is_some(), namespace == Namespace::User, "{namespace:?}");
            assert!(same(&own, namespace.own().unwrap()).unwrap());
        }
        let (user, mount) = (Namespace::User.own().unwrap(), Namespace::Mount.own().unwrap());
        assert!(!same(&user, &mount).unwrap());
        assert!(same(&user, user_of(&mount).unwrap()).unwrap());
        assert!(owner(&user).is_ok() && owner(&mount).is_err());
        assert_eq!(Namespace::User.unshare(), Err(Errno::EINVAL));
    }
}
