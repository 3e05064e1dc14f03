//! A process that cannot be mistaken for a later one with its number, and whose it is.
//!
//! What a process shows of itself (its name, its mounts, its files) its owner can make look like a
//! container of somebody else's. Whose it is, the kernel says: by its uids, and by who has made the user
//! namespace that it is in and that its mounts belong to. Root, too, sees only its own.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::geteuid;

use handover::namespaces::{self, Namespace};
use linux::sys;

/// More than the kernel writes to `status` with 65536 groups.
const LONGEST_STATUS: u64 = 1 << 20;
/// More than a program can be given as arguments and environment: a process may show anything there.
const LONGEST_ENVIRON: u64 = 8 << 20;

/// A process, held on to.
pub(crate) struct Pinned {
    pidfd: OwnedFd,
    directory: OwnedFd,
}

/// Who a process is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// Real, effective and saved uid.
    pub(crate) uids: [u32; 3],
    /// Real gid.
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// The namespaces of a process, which the kernel says are the caller's own.
pub(crate) struct OwnNamespaces {
    pub(crate) user: OwnedFd,
    pub(crate) mount: OwnedFd,
}

impl Pinned {
    /// Holds on to the process with this number.
    pub(crate) fn open(pid: i32) -> io::Result<Pinned> {
        let pidfd = sys::pidfd_open(pid)?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = nix::fcntl::open(format!("/proc/{pid}").as_str(), flags, Mode::empty())?;
        Ok(Pinned { pidfd, directory })
    }

    pub(crate) fn is_alive(&self) -> bool {
        sys::is_alive(self.pidfd.as_fd())
    }

    pub(crate) fn open_file(&self, what: &str, flags: OFlag) -> io::Result<OwnedFd> {
        Ok(openat(&self.directory, what, flags | OFlag::O_CLOEXEC, Mode::empty())?)
    }

    /// Opens a namespace of the process.
    pub(crate) fn open_namespace(&self, which: Namespace) -> io::Result<OwnedFd> {
        self.open_file(&format!("ns/{}", which.file()), OFlag::O_RDONLY)
    }

    /// The same, unless it is the caller's own.
    pub(crate) fn namespace(&self, which: Namespace) -> io::Result<Option<OwnedFd>> {
        unless_ours(which, self.open_namespace(which)?)
    }

    /// Its environment, as it shows it.
    pub(crate) fn environ(&self) -> io::Result<Vec<u8>> {
        self.read("environ", LONGEST_ENVIRON)
    }

    pub(crate) fn read(&self, what: &str, longest: u64) -> io::Result<Vec<u8>> {
        let file = File::from(self.open_file(what, OFlag::O_RDONLY)?);
        let mut text = Vec::new();
        if file.take(longest + 1).read_to_end(&mut text)? as u64 > longest {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than it can be"));
        }
        Ok(text)
    }

    /// Who it is.
    pub(crate) fn credentials(&self) -> io::Result<Credentials> {
        let status = self.read("status", LONGEST_STATUS)?;
        credentials(&String::from_utf8_lossy(&status))
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// Its namespaces, if it is the caller's own: it has no other uid, and its user namespace is the
    /// caller's own or made by the caller, and its mounts belong to that one. So no forgery of
    /// another user is among them, nor what a program of root's has been led into.
    pub(crate) fn own(&self) -> io::Result<Option<OwnNamespaces>> {
        let me = geteuid().as_raw();
        if self.credentials()?.uids != [me; 3] {
            return Ok(None);
        }
        let user = self.open_namespace(Namespace::User)?;
        let ours = namespaces::same(&user, Namespace::User.own()?)?;
        if !ours && namespaces::owner(&user)? != me {
            return Ok(None);
        }
        let mount = self.open_namespace(Namespace::Mount)?;
        let belongs = match namespaces::user_of(&mount) {
            Ok(above) => namespaces::same(&above, &user)?,
            Err(error) if error.raw_os_error() == Some(nix::libc::EPERM) => false,
            Err(error) => return Err(error),
        };
        Ok(belongs.then_some(OwnNamespaces { user, mount }))
    }
}

/// An opened namespace, unless it is the one that the caller is in.
pub(crate) fn unless_ours(which: Namespace, theirs: OwnedFd) -> io::Result<Option<OwnedFd>> {
    let ours = namespaces::same(&theirs, which.own()?)?;
    Ok((!ours).then_some(theirs))
}

/// Of the text of `/proc/PID/status`, in which a program's name has no line breaks.
fn credentials(status: &str) -> Option<Credentials> {
    let numbers = |name: &str| -> Option<Vec<u32>> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().map(|number| number.parse().ok()).collect()
    };
    Some(Credentials {
        uids: numbers("Uid:")?.get(..3)?.try_into().ok()?,
        gid: *numbers("Gid:")?.first()?,
        groups: numbers("Groups:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_a_process_is_the_kernel_says() {
        let text =
            "Name:\tUid:\\n0\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \n";
        let expected = Credentials { uids: [1, 2, 3], gid: 5, groups: vec![9, 10] };
        assert_eq!(credentials(text), Some(expected));
        assert_eq!(credentials("Uid:\t1\t2\nGid:\t1\nGroups:\n"), None);
        let me = Pinned::open(std::process::id() as i32).unwrap();
        assert!(me.own().unwrap().is_some());
        assert_eq!(me.credentials().unwrap().uids, [geteuid().as_raw(); 3]);
    }
}
