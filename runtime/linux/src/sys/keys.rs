//! Keys of this process (keyrings(7)).

use std::io;

use super::counted;

/// Leaves the session keyring, which becoming another user does not change: who possesses it reads the keys in it,
/// whoever's they are. The new one is empty, and is the caller's. To be called once the caller is who it is to be.
///
/// # Errors
/// From the kernel: the user may have no more keys, for one.
pub fn leave_session_keyring() -> io::Result<()> {
    let join = libc::KEYCTL_JOIN_SESSION_KEYRING;
    // SAFETY: a constant, and no name.
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, join, std::ptr::null::<libc::c_char>()) };
    match counted(joined) {
        // A kernel without keys, or a filter that holds for what is executed as well.
        Err(error) if !matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            Err(error)
        }
        _ => Ok(()),
    }
}
