//! System calls that neither std nor nix offers, or offers at a price we cannot pay.

mod capabilities;
mod descriptors;
mod flock;
mod keys;
mod pidfd;
mod scheduling;
mod signals;
mod terminals;

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::sys::stat::{Mode, umask};

pub use capabilities::{drop_capabilities, raise_ambient_capabilities, set_no_new_privileges};
pub use descriptors::{
    close_all_but, close_on_exec_from, have_standard_files, inherit, memory_file, move_up, place,
    place_raw,
};
pub use flock::{FlockKind, flock};
pub use keys::leave_session_keyring;
pub use pidfd::{NamespaceId, ends_within, is_alive, kill_if_within, namespace_id, pidfd_open};
pub use scheduling::take_scheduling_of;
pub use signals::{
    die_by, die_with_parent, ends_with_us, ignore_closed_pipes, is_pending,
    survive_file_size_limit, wait_for_signal,
};
pub use terminals::{control_session, is_terminal, reopen_terminal, set_window_size, window_size};

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

/// The name that ps(1) shows, at most 15 bytes.
pub fn name_process(name: &CStr) {
    // SAFETY: the kernel copies the NUL-terminated name.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, name.as_ptr());
    }
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

fn check(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn counted(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
