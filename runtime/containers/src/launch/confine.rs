//! What a program in a container must not get: privileges by executing a file.

use std::io;

use nix::unistd::geteuid;

use handover::seccomp;
use linux::sys;

/// Confines the calling process, before it executes the user's program. Root inside keeps its
/// capabilities, which reach no further than the container's user namespace. `filtered`: with the
/// [`seccomp`] filter, for containers in a user namespace of one id.
///
/// # Errors
/// From the kernel.
pub fn confine(filtered: bool) -> io::Result<()> {
    sys::set_no_new_privileges()?;
    if filtered {
        seccomp::install()?;
    }
    if !geteuid().is_root() {
        sys::drop_capabilities()?;
    }
    sys::close_on_exec_from(3)
}
