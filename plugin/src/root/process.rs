//! Processes of users, as root may look at them: by descriptors that stand for them, and by a bounded part of what
//! `/proc` has.

use super::child::output::some_of_path;
use super::text::after;
use crate::options::components::number;
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::geteuid;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// How long what is left has to end.
const GRACE: Duration = Duration::from_secs(1);
const SLICE: Duration = Duration::from_millis(20);

/// What becomes of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    Stopped,
    /// It has been sent SIGKILL and has not ended yet: by whomever, or as another of its threads has it exit.
    Doomed,
    /// What may be left of it is for its parent to fetch, when all of its threads have ended.
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

/// What `/proc` says of it. Of one whose first thread has ended, while others go on, another one tells: one that is sent SIGKILL ends
/// with its process, as all do when one of them has it exit.
pub(crate) fn life(pid: i32) -> Life {
    match life_of_thread(pid) {
        Life::Ended => match other_thread(pid).map(life_of_thread) {
            Some(life @ (Life::Running | Life::Stopped)) => life,
            _ => Life::Ended,
        },
        life => life,
    }
}

fn life_of_thread(thread: i32) -> Life {
    let Ok(status) = status(thread) else { return Life::Ended };
    let field = |name: &str| after(&status, name.as_bytes()).unwrap_or_default();
    // The third hexadecimal digit from the right has the ninth signal as its lowest bit.
    let killed = |name: &str| {
        let mask = field(name).split(|byte| *byte == b'\n').next().unwrap_or_default();
        mask.iter().rev().nth(2).is_some_and(|digit| b"13579bdf".contains(digit))
    };
    match field("\nState:").trim_ascii_start().first() {
        None | Some(b'Z' | b'X') => Life::Ended,
        _ if killed("\nSigPnd:") || killed("\nShdPnd:") => Life::Doomed,
        Some(b'T' | b't') => Life::Stopped,
        _ => Life::Running,
    }
}

fn status(pid: i32) -> std::io::Result<Vec<u8>> {
    some_of_path(&format!("/proc/{pid}/status"))
}

/// A thread of the process but the first.
pub(crate) fn other_thread(pid: i32) -> Option<i32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let mut threads = threads.filter_map(|thread| number(thread.file_name().as_bytes()));
    threads.find(|thread| *thread as i32 != pid).map(|thread| thread as i32)
}

/// Kills, of all that a list of the kernel's has, what is not of this process's user and `is_one`, for as long as there are new ones
/// and a second at most. It goes by the user that a process really is, which no set-user-id program changes.
pub(crate) fn end_all(list: &dyn Fn() -> Vec<u8>, is_one: &dyn Fn(i32) -> bool) {
    let own = geteuid().as_raw();
    let others = |pid: i32| {
        let status = status(pid).unwrap_or_default();
        let user =
            after(&status, b"\nUid:\t").and_then(|user| user.split(|byte| *byte == b'\t').next());
        user.and_then(number).is_some_and(|user| user != own)
    };
    let begun = Instant::now();
    let mut found = true;
    while found && begun.elapsed() < GRACE {
        found = false;
        for pid in list().split(u8::is_ascii_whitespace).filter_map(number) {
            let Some(process) = descriptor(pid as i32) else { continue };
            // Those that have ended may stay in the list.
            if others(pid as i32) && is_one(pid as i32) && !ends_within(&process, Duration::ZERO) {
                kill(&process);
                found = true;
                ends_within(&process, SLICE);
            }
        }
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

    /// As what a user has taken over and made a process of its own, and goes on making others.
    #[test]
    #[ignore = "needs root, whose own processes stay"]
    fn what_users_have_left_ends_and_what_root_has_does_not() {
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        let mut own = Command::new("sleep").arg("60").spawn().unwrap();
        let script = "chain() { sleep 0.01; chain & }; chain > /dev/null 2>&1; \
            setsid sleep 60 > /dev/null 2>&1 & echo $!";
        let user = ["--reuid=65534", "--clear-groups", "sh", "-c", script];
        let output = Command::new("setpriv").args(user).output().unwrap();
        let pid = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        assert_eq!(life(pid), Life::Running);
        let all = format!("/proc/self/task/{}/children", std::process::id());
        let list = || [std::fs::read(&all).unwrap(), own.id().to_string().into_bytes()].concat();
        end_all(&list, &|_| true);
        assert_eq!(life(pid), Life::Ended);
        assert!(own.try_wait().unwrap().is_none());
        own.kill().unwrap();
        own.wait().unwrap();
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_is_judged_by_another() {
        let script = format!(
            "import ctypes, threading, time\n\
             threading.Thread(target=time.sleep, args=(60,)).start()\n\
             ctypes.CDLL(None).syscall({}, 0)",
            libc::SYS_exit
        );
        let mut child = Command::new("python3").args(["-c", &script]).spawn().unwrap();
        let pid = child.id() as i32;
        let ended = |_| {
            std::thread::sleep(Duration::from_millis(10));
            life_of_thread(pid) == Life::Ended
        };
        assert!((0..500).any(ended));
        assert_eq!(life(pid), Life::Running);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(life(pid), Life::Ended);
    }
}
