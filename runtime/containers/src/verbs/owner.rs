//! Becoming who a process is, with nothing of root's, before anything of it is executed.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::libc::AT_SECURE;
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};

use super::exec_error::ExecError;
use crate::record::pinned::{Credentials, Pinned};
use crate::start::OwnSession;
use handover::namespaces::{self, Namespace};
use linux::limits::Limit;
use linux::{bounded, cgroups, sys};

/// Has root become who the process is, where that is somebody else, for good, and returns the session for what is
/// run then. Whoever else the caller is may not enter somebody's namespaces anyway.
pub(super) fn become_owner(
    pid: i32,
    process: &Pinned,
    user: &OwnedFd,
) -> Result<Option<OwnSession>, ExecError> {
    let failed = |what| move |source| ExecError::Open { pid, what, source };
    let Credentials { uids, gid, groups } = process.credentials().map_err(failed("the status"))?;
    let uid = uids[0];
    let ours = Namespace::User.own().and_then(|own| namespaces::same(user.as_fd(), own));
    let ours = ours.map_err(failed("a namespace"))?;
    let owner = match ours {
        true => uid,
        false => namespaces::owner(user).map_err(failed("a namespace"))?,
    };
    if uids != [owner; 3] {
        let uid = uids.into_iter().find(|uid| *uid != owner).unwrap_or(uid);
        return Err(ExecError::Foreign { pid, uid, owner });
    }
    if !geteuid().is_root() {
        return Ok(None);
    }
    if owner == 0 {
        let roots = is_roots_container(process).map_err(failed("the root directory"))?;
        return if roots { Ok(None) } else { Err(ExecError::NotContained { pid }) };
    }
    let groups: Vec<Gid> = groups.into_iter().map(Gid::from_raw).collect();
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let apart = OwnSession::begin(user).map_err(ExecError::Terminal)?;
    let limits = go_beside(pid, process).map_err(|source| ExecError::Limits { pid, source })?;
    setgroups(&groups)
        .and_then(|()| setresgid(group, group, group))
        .and_then(|()| setresuid(user, user, user))
        .map_err(io::Error::from)
        .and_then(|()| sys::leave_session_keyring())
        .map_err(|source| ExecError::Become { pid, uid, source })?;
    for limit in limits {
        limit.lower().map_err(|errno| ExecError::Limits { pid, source: errno.into() })?;
    }
    namespaces::hide();
    Ok(Some(apart))
}

/// Whether a process with root's ids is in a container that root has started. Others are nobody's to run programs by:
/// one that a user has started with root's rights (sudo, say) has that user's variables and directory.
fn is_roots_container(process: &Pinned) -> io::Result<bool> {
    if process.namespace(Namespace::Mount)?.is_none() {
        return Ok(false);
    }
    // Mounts alone: systemd's services have them, and jobs whose /tmp is their own.
    if namespaces::same(process.open_file("root", OFlag::O_PATH)?, File::open("/")?)? {
        return Ok(false);
    }
    Ok(!has_gained_rights(&process.read("auxv", bounded::OF_PROCESS)?))
}

/// Whether the kernel has given a process more rights than who executed it had: AT_SECURE (getauxval(3)), in pairs of
/// words of a `/proc/PID/auxv`. If it does not say, it has.
fn has_gained_rights(auxv: &[u8]) -> bool {
    // The number of an entry has no upper half, and in a program of 32 bits the first entry a value.
    let wide = auxv.get(4..8) == Some(&[0; 4]);
    let width = if wide { 8 } else { 4 };
    let word =
        |bytes: &[u8]| bytes.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    let mut entries = auxv.chunks_exact(2 * width).map(|entry| entry.split_at(width));
    let secure = entries.find(|(number, _)| word(number) == AT_SECURE);
    secure.is_none_or(|(_, value)| word(value) != 0)
}

/// Has the calling process, which is root's, go to where a process is, and returns the limits of that one: what is
/// executed may use what the job may, and ends with it.
fn go_beside(pid: i32, process: &Pinned) -> io::Result<Vec<Limit>> {
    let theirs = |what| process.read(what, bounded::OF_PROCESS).map(text);
    let own = |what: &str| bounded::beginning(what.as_ref(), bounded::OF_PROCESS).map(text);
    cgroups::join(&theirs("cgroup")?, &own("/proc/self/cgroup")?).map_err(io::Error::other)?;
    sys::take_scheduling_of(pid)?;
    let number = |text: &str| text.trim().parse::<i32>().unwrap_or_default();
    let (score, file) = (theirs("oom_score_adj")?, "/proc/self/oom_score_adj");
    // Nobody is ended later than root itself.
    if number(&score) > number(&own(file)?) {
        fs::write(file, score)?;
    }
    Ok(Limit::all(&theirs("limits")?).collect())
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<const WIDTH: usize>(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()[..WIDTH].to_vec()).collect()
    }

    #[test]
    fn whether_rights_were_gained_the_kernel_says() {
        for (secure, gained) in [(0, false), (1, true)] {
            let words = [33, 0x7fff_0000, 16, 23, 23, secure, 0, 0];
            assert_eq!(has_gained_rights(&of::<8>(&words)), gained);
            assert_eq!(has_gained_rights(&of::<4>(&words)), gained);
        }
        assert!(has_gained_rights(&of::<8>(&[33, 23, 0, 0])));
        assert!(has_gained_rights(b""));
        assert!(!has_gained_rights(&fs::read("/proc/self/auxv").unwrap()));
    }
}
