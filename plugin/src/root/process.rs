//! Processes of users, as root may look at them: by descriptors that stand for them, and by a bounded part of what
//! `/proc` has.

use super::child::output::some_of_path;
use super::text::after;
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// What becomes of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    Stopped,
    /// It has been sent SIGKILL and has not ended yet.
    Doomed,
    /// What may be left of it is for its parent to fetch.
    Ended,
}

/// A descriptor of the process, readable when it has ended (Linux 5.3).
pub(crate) fn descriptor(pid: i32) -> Option<OwnedFd> {
    // SAFETY: numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: just made for us.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// What the kernel knows of what a path leads to: a link of `/proc` may lead to a file system of the user's, whose server need
/// not answer.
pub(crate) fn look(path: &str) -> nix::Result<libc::statx> {
    let path = std::ffi::CString::new(path).map_err(|_| Errno::EINVAL)?;
    // SAFETY: all zero is a value of this type, of numbers.
    let mut at = unsafe { std::mem::zeroed::<libc::statx>() };
    // SAFETY: the pointers are valid; what is asked for is nothing beyond what is always there.
    let asked = unsafe {
        libc::statx(libc::AT_FDCWD, path.as_ptr(), libc::AT_STATX_DONT_SYNC, 0, &raw mut at)
    };
    Errno::result(asked).map(|_| at)
}

/// Its device and inode.
pub(crate) fn identity(path: &str) -> nix::Result<(u64, u64)> {
    look(path).map(|at| (libc::makedev(at.stx_dev_major, at.stx_dev_minor), at.stx_ino))
}

/// Whether it is that user's, by the directory that it has in `/proc`.
pub(crate) fn is_of(pid: i32, user: u32) -> bool {
    look(&format!("/proc/{pid}")).is_ok_and(|at| at.stx_uid == user)
}

/// Sends SIGKILL to the process of a descriptor, which cannot be another one.
pub(crate) fn kill(process: &OwnedFd) {
    // SAFETY: no information is sent along.
    unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            libc::SIGKILL,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        );
    }
}

/// What `/proc` says of it.
pub(crate) fn life(pid: i32) -> Life {
    let Ok(status) = some_of_path(&format!("/proc/{pid}/status")) else { return Life::Ended };
    let field = |name: &str| after(&status, name.as_bytes()).unwrap_or_default();
    let killed = |name: &str| {
        let mask = field(name).split(|byte| *byte == b'\n').next().unwrap_or_default();
        let mask = std::str::from_utf8(mask.trim_ascii()).unwrap_or_default();
        u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & (1 << (libc::SIGKILL - 1)) != 0)
    };
    match field("\nState:").trim_ascii_start().first() {
        None | Some(b'Z' | b'X') => Life::Ended,
        _ if killed("\nSigPnd:") || killed("\nShdPnd:") => Life::Doomed,
        Some(b'T' | b't') => Life::Stopped,
        _ => Life::Running,
    }
}

/// Whether it ends within that time.
#[allow(clippy::disallowed_methods)] // With a deadline.
pub(crate) fn ends_within(process: &impl AsFd, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut ended = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ended, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)) {
            Err(nix::Error::EINTR) if !left.is_zero() => {}
            ready => return ready.is_ok_and(|ready| ready > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn settles(pid: i32, life_then: Life) -> bool {
        (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            life(pid) == life_then
        })
    }

    /// As `stat` would be for as long as its server likes.
    #[test]
    fn a_root_that_a_user_serves_is_not_asked() {
        let script = "exec 5<>/dev/fuse && mount -i -t fuse \
            -o fd=5,rootmode=40000,user_id=0,group_id=0 x /mnt && pivot_root /mnt /mnt && echo done && read _";
        let mut child = Command::new("unshare")
            .args(["-rm", "sh", "-c", script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut done = [0; 4];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut done).unwrap();
        let root = format!("/proc/{}/root", child.id());
        let (tell, told) = std::sync::mpsc::channel();
        // As the process's owner, whom its server would be asked for.
        std::thread::spawn(move || tell.send((identity(&root), identity("/proc/self/root"))));
        let seen = told.recv_timeout(Duration::from_secs(5));
        child.kill().unwrap();
        child.wait().unwrap();
        let (theirs, own) = seen.expect("an answer without the server");
        assert!(theirs.is_ok() && own.is_ok() && theirs != own);
        let stat = nix::sys::stat::stat("/proc/self/root").unwrap();
        assert_eq!(own, Ok((stat.st_dev, stat.st_ino)));
    }

    #[test]
    fn stopped_and_killed_processes_are_told_from_others() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        assert!(settles(pid.as_raw(), Life::Running));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
        assert!(settles(pid.as_raw(), Life::Stopped));
        let descriptor = descriptor(pid.as_raw()).unwrap();
        assert!(!ends_within(&descriptor, Duration::from_millis(10)));
        kill(&descriptor);
        assert!(ends_within(&descriptor, Duration::from_secs(10)));
        assert_eq!(life(pid.as_raw()), Life::Ended);
        child.wait().unwrap();
        assert_eq!(life(pid.as_raw()), Life::Ended);
    }
}
