//! System calls that neither std nor nix offers, or offers at a price we cannot pay.

use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, signal};
use nix::sys::stat::{Mode, umask};

/// `ioctl` on a namespace's descriptor for the one above it (ioctl_ns(2)).
const NS_GET_PARENT: libc::c_ulong = 0xb702;

/// The mask that this process's own files are made with, as long as this lives: what is made for a
/// container is what it is to be, whatever the user's mask takes from new files.
#[derive(Debug)]
pub struct Umask(Mode);

impl Umask {
    /// From now on.
    pub fn ours() -> Umask {
        Umask(umask(Mode::S_IWGRP | Mode::S_IWOTH))
    }

    /// The user's again, for a program that is about to be executed.
    pub fn restore(&self) {
        umask(self.0);
    }
}

impl Drop for Umask {
    fn drop(&mut self) {
        self.restore();
    }
}

/// Puts /dev/null where standard input, output or error is closed: the next file to be opened would
/// otherwise be one of them, and messages would be written into it.
pub fn have_standard_files() {
    for fd in 0..=2 {
        // SAFETY: asks for the flags of a number; that it may be closed is the question.
        let closed = unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1;
        // SAFETY: the path is a C string. The lowest free number, which is `fd`, stays open for good.
        if closed && unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } != fd {
            std::process::abort();
        }
    }
}

/// Has a write into a pipe that nobody reads fail instead of ending this process. What it executes
/// gets the signal again: std sees to that.
pub fn ignore_closed_pipes() {
    // SAFETY: no handler is installed.
    let set = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
    debug_assert!(set.is_ok());
}

/// Has a write beyond the limit on a file's size fail instead of ending this process, so that it can
/// say why. What it executes gets the signal again: handlers end there, ignored signals would not.
pub fn survive_file_size_limit() {
    extern "C" fn nothing(_: libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing at all, which it may at any time.
    let set = unsafe { sigaction(Signal::SIGXFSZ, &action) };
    debug_assert!(set.is_ok());
}

/// How `flock` locks a file.
#[derive(Clone, Copy, Debug)]
pub enum FlockKind {
    /// Wait until nobody else has it locked.
    Exclusive,
    /// Do not wait.
    TryExclusive,
    /// Beside others who have it shared; do not wait.
    TryShared,
}

/// Locks an open file, for as long as any copy of its descriptor is open in any process; std's
/// and nix's guards would unlock it for all of them. Returns whether it is locked now.
pub fn flock(file: &File, how: FlockKind) -> io::Result<bool> {
    let operation = match how {
        FlockKind::Exclusive => libc::LOCK_EX,
        FlockKind::TryExclusive => libc::LOCK_EX | libc::LOCK_NB,
        FlockKind::TryShared => libc::LOCK_SH | libc::LOCK_NB,
    };
    loop {
        // SAFETY: changes nothing but the lock of an open descriptor.
        if unsafe { libc::flock(file.as_raw_fd(), operation) } == 0 {
            return Ok(true);
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            error => return Err(error),
        }
    }
}

/// A descriptor that stands for one process, whoever gets its number later; readable when it has ended
/// (Linux 5.3).
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    owned(fd)
}

/// Whether the process of a pidfd has not ended.
pub fn is_alive(pidfd: BorrowedFd<'_>) -> bool {
    let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure, as said.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 0 }
}

/// Whether `needle`, which is not empty, is in `haystack`: at the price of a memory access, unlike
/// what std has.
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    // SAFETY: both pointers are valid for their lengths.
    let found = unsafe {
        libc::memmem(haystack.as_ptr().cast(), haystack.len(), needle.as_ptr().cast(), needle.len())
    };
    !found.is_null()
}

/// Whether the process of a pidfd ends within so many seconds.
pub fn ends_within(pidfd: BorrowedFd<'_>, seconds: u32) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let milliseconds = i32::try_from(u64::from(seconds) * 1000).unwrap_or(i32::MAX);
    loop {
        // SAFETY: one structure, as said.
        match unsafe { libc::poll(&raw mut poll, 1, milliseconds) } {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            -1 => return Err(io::Error::last_os_error()),
            ended => return Ok(ended > 0),
        }
    }
}

/// Sets an extended attribute.
pub fn set_xattr(path: &CStr, name: &CStr, value: &[u8]) -> io::Result<()> {
    let (data, length) = (value.as_ptr().cast(), value.len());
    // SAFETY: path and name are NUL-terminated, the value has the given length.
    let result = unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), data, length, 0) };
    check(result.into())
}

/// Has overlayfs look no further than this directory of an upper layer.
pub fn mark_opaque(directory: &Path) -> io::Result<()> {
    let path = CString::new(directory.as_os_str().as_bytes())?;
    set_xattr(&path, c"user.overlay.opaque", b"y")
}

/// A file in memory with these contents.
pub fn memory_file(name: &str, contents: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
    file.write_all(contents)?;
    Ok(file.into())
}

/// Units of times in `/proc/PID/stat`, per second.
pub fn clock_ticks() -> i64 {
    // SAFETY: reads a constant of the system.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1)
}

/// Bytes of a page.
pub fn page_size() -> usize {
    // SAFETY: reads a constant of the system.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096).max(1)
}

/// A time as ps(1) shows when a process started: `15:04`, or `Jan02` on another day, or the year.
pub fn local_time(time: i64, now: i64) -> String {
    let (then, today) = (broken_down(time), broken_down(now));
    let format = if (then.tm_year, then.tm_yday) == (today.tm_year, today.tm_yday) {
        c"%H:%M"
    } else if then.tm_year == today.tm_year {
        c"%b%d"
    } else {
        c"%Y"
    };
    let mut text = [0u8; 32];
    // SAFETY: writes at most the given size; the format and the structure live through the call.
    let length = unsafe {
        libc::strftime(text.as_mut_ptr().cast(), text.len(), format.as_ptr(), &raw const then)
    };
    String::from_utf8_lossy(&text[..length]).into_owned()
}

fn broken_down(time: i64) -> libc::tm {
    // SAFETY: all zeroes is a valid value; localtime_r fills it.
    unsafe {
        let mut parts: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const time, &raw mut parts);
        parts
    }
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The name that ps(1) shows, at most 15 bytes.
pub fn name_process(name: &CStr) {
    // SAFETY: the kernel copies the NUL-terminated name.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, name.as_ptr());
    }
}

/// Layout of the structures of capset(2).
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// No program that is executed from now on gives privileges (setuid, file capabilities).
pub fn set_no_new_privileges() -> io::Result<()> {
    // SAFETY: sets an attribute of this process.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())
}

/// Gives up all capabilities, for good.
pub fn drop_capabilities() -> io::Result<()> {
    for capability in 0..64 {
        // SAFETY: sets an attribute of this process. EINVAL is the end of the capabilities this kernel has.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } < 0 {
            break;
        }
    }
    // `struct __user_cap_header_struct` and two of `__user_cap_data_struct`.
    let header: [u32; 2] = [CAPABILITY_VERSION_3, 0];
    let none = [0u32; 6];
    // SAFETY: both structures are as version 3 of the interface wants them.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) })
}

/// Sets close-on-exec on all descriptors from `first` on.
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    // SAFETY: changes flags of descriptors only.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 {
        return Ok(());
    }
    // Kernels before 5.11.
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(fd) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if fd >= first {
            // SAFETY: as above; a descriptor that is closed by now is an error without effect.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Hands a descriptor on to the program that is about to be executed.
pub fn inherit(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: clears a flag of an open descriptor.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) }.into())
}

/// The same open file under a number that nobody has a use for.
pub fn move_up(fd: OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: makes a new descriptor.
    owned(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 64) }.into())
}

/// Makes `number` a descriptor of the same open file, for the program about to be executed.
pub fn place(fd: &OwnedFd, number: RawFd) -> io::Result<()> {
    place_raw(fd.as_raw_fd(), number)
}

/// As [`place`], between fork and exec.
pub fn place_raw(fd: RawFd, number: RawFd) -> io::Result<()> {
    // SAFETY: the caller is about to execute a program and uses `number` for nothing else.
    match unsafe { libc::dup2(fd, number) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Has the kernel kill this process when its parent dies.
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: sets an attribute of this process.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }.into())
}

/// Has the kernel send a signal to the program that `command` starts, when the thread that starts it ends.
pub fn ends_with_us(command: &mut Command, signal: Signal) {
    let parent = nix::unistd::getpid();
    let ask = move || {
        nix::sys::prctl::set_pdeathsig(signal)?;
        // It may have ended before.
        if nix::unistd::getppid() == parent {
            Ok(())
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    };
    // SAFETY: between fork and exec the closure makes system calls and nothing else.
    unsafe { command.pre_exec(ask) };
}

/// Waits for one of `signals`, which are blocked. Returns its number and whether the kernel sent
/// it, as it does for a key on the terminal.
pub fn wait_for_signal(signals: &SigSet) -> io::Result<(i32, bool)> {
    // SAFETY: all zeroes is a valid value; the kernel fills it. Both live through the call.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        match libc::sigwaitinfo(signals.as_ref(), &raw mut info) {
            -1 => Err(io::Error::last_os_error()),
            signal => Ok((signal, info.si_code == libc::SI_KERNEL)),
        }
    }
}

/// Whether one of `signals`, which are blocked, waits for this process.
pub fn is_pending(signals: &[Signal]) -> bool {
    // SAFETY: all zeroes is a valid value, which the kernel fills; numbers of signals are valid.
    unsafe {
        let mut pending: libc::sigset_t = std::mem::zeroed();
        libc::sigpending(&raw mut pending);
        signals.iter().any(|signal| libc::sigismember(&raw const pending, *signal as i32) == 1)
    }
}

/// Ends this process by a signal, without a core file of its own.
pub fn die_by(signal: Signal) {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure lives through the call; the default action runs no code of ours.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        libc::signal(signal as i32, libc::SIG_DFL);
        libc::raise(signal as i32);
    }
}

/// Brings the loopback device of this network namespace up.
pub fn loopback_up() -> io::Result<()> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: makes a new descriptor.
    let socket = owned(unsafe { libc::socket(libc::AF_INET, kind, 0) }.into())?;
    // SAFETY: all zeroes is a valid value; the structure lives through both calls.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = *from as libc::c_char;
        }
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request).into())?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request).into())
    }
}

/// Has the programs executed from now on keep this process's capabilities, whatever their uid.
pub fn raise_ambient_capabilities() -> io::Result<()> {
    let header: [u32; 2] = [CAPABILITY_VERSION_3, 0];
    let mut sets = [[0u32; 3]; 2];
    // SAFETY: both structures are as version 3 of the interface wants them.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) })?;
    for [_, permitted, inheritable] in &mut sets {
        *inheritable = *permitted;
    }
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) })?;
    for (word, [_, permitted, _]) in sets.iter().enumerate() {
        for bit in (0..32).filter(|bit| permitted & (1 << bit) != 0) {
            let capability = (32 * word + bit) as libc::c_ulong;
            let raise = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
            // SAFETY: sets an attribute of this process.
            check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, capability, 0, 0) }.into())?;
        }
    }
    Ok(())
}

/// Closes every descriptor except stdio and `kept`, in a process that will use no other.
pub fn close_all_but(kept: &[RawFd]) {
    let mut kept: Vec<RawFd> = kept.iter().copied().filter(|fd| *fd > 2).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept.into_iter().chain([RawFd::MAX]) {
        if first < fd {
            close_range(first, fd - 1);
        }
        first = fd.saturating_add(1);
    }
}

/// Closes what is open from `first` to `last`.
fn close_range(first: RawFd, last: RawFd) {
    // SAFETY: nothing of this process uses these any more.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
        return;
    }
    // Kernels before 5.9.
    let open: Vec<RawFd> = match std::fs::read_dir("/proc/self/fd") {
        Ok(entries) => entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
            .collect(),
        Err(_) => (first..last.min(1024)).collect(),
    };
    for fd in open.into_iter().filter(|fd| (first..=last).contains(fd)) {
        // SAFETY: as above; a closed one is an error at most.
        unsafe { libc::close(fd) };
    }
}

/// What makes a namespace itself: its device and inode.
pub type NamespaceId = (u64, u64);

/// The identity of an opened namespace.
pub fn namespace_id(namespace: &OwnedFd) -> io::Result<NamespaceId> {
    let stat = nix::sys::stat::fstat(namespace)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Kills the process whose `/proc/PID` is at `path` if its user namespace is `container` or below
/// it. The directory's descriptor stands for the process: no PID is reused in between.
pub fn kill_if_within(path: &Path, container: NamespaceId) -> bool {
    let directory =
        OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_CLOEXEC).open(path);
    let Ok(directory) = directory else { return false };
    // SAFETY: the descriptor is open and the name NUL-terminated.
    let namespace = unsafe {
        libc::openat(directory.as_raw_fd(), c"ns/user".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC)
    };
    if namespace < 0 {
        return false;
    }
    // SAFETY: just opened, owned by nobody else.
    let mut namespace = File::from(unsafe { OwnedFd::from_raw_fd(namespace) });
    loop {
        let Ok(metadata) = namespace.metadata() else { return false };
        if (metadata.dev(), metadata.ino()) == container {
            return kill(&directory);
        }
        // SAFETY: an ioctl without argument; it fails at the top of what we may see.
        let parent = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_PARENT) };
        if parent < 0 {
            return false;
        }
        // SAFETY: just made for us.
        namespace = File::from(unsafe { OwnedFd::from_raw_fd(parent) });
    }
}

fn kill(process: &File) -> bool {
    // SAFETY: a descriptor of /proc/PID is one of the process (pidfd_send_signal(2)).
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            libc::SIGKILL,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    result == 0
}
