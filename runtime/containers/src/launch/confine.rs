//! What a program in a container must not get: privileges by executing a file.

use std::fs;
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
    leave_profile();
    sys::set_no_new_privileges()?;
    if filtered {
        seccomp::install()?;
    }
    if !geteuid().is_root() {
        sys::drop_capabilities()?;
    }
    sys::close_on_exec_from(3)
}

/// Our own profiles of AppArmor, which let us make user namespaces and nothing else: the package's, and that of `make install`.
const PROFILES: [&str; 2] = ["pyxis (unconfined)\n", "pyxis-make (unconfined)\n"];

/// What is executed next is no longer in our profile, but as a program of the user's on the node, or of a step: where those
/// may make no user namespaces, it may not. Another profile, which an administrator has written, stays. None of this has to
/// succeed: whoever wants to have our profile can execute us.
fn leave_profile() {
    let ours = fs::read_to_string("/proc/self/attr/apparmor/current");
    if ours.is_ok_and(|label| PROFILES.contains(&label.as_str())) {
        let _ = fs::write("/proc/self/attr/apparmor/exec", "exec unconfined");
    }
}
