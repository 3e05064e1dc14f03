//! A copy of this process that goes on running Rust code.
//!
//! A fork takes one thread along and leaves every lock as it is: the allocator's, of a process with
//! two threads, may be locked for ever in the copy. So there is one way to make such a copy, and it
//! asks the kernel first. (What only executes a program needs none of this.)

use nix::errno::Errno;
use nix::libc;
use nix::unistd::ForkResult;

/// Forks, if this process has one thread.
///
/// # Errors
/// `EDEADLK` if it has more, which is what the copy would come to; or the kernel's.
pub fn fork() -> nix::Result<ForkResult> {
    // Nothing is changed: the kernel pretends to unshare what is not shared, and refuses where it is. It
    // takes a tenth of what a look into `/proc` does.
    // SAFETY: takes a number.
    match Errno::result(unsafe { libc::unshare(libc::CLONE_THREAD) }) {
        Err(Errno::EINVAL) => return Err(Errno::EDEADLK),
        asked => asked?,
    };
    // SAFETY: this process has one thread, so that no lock is held by another one.
    unsafe { nix::unistd::fork() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_not_copied() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || wait.recv().is_err());
        match fork() {
            Ok(ForkResult::Parent { child }) => {
                nix::sys::wait::waitpid(child, None).unwrap();
                panic!("copied");
            }
            // SAFETY: leaves the copy at once.
            Ok(ForkResult::Child) => unsafe { libc::_exit(0) },
            Err(errno) => assert_eq!(errno, Errno::EDEADLK),
        }
        drop(go);
        assert!(other.join().unwrap());
    }
}
