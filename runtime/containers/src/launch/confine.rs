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

/// Our own profiles of AppArmor, which let us make user namespaces and nothing else: the package's, and that of `make install`,
/// which may have its directory in its name (`pyxis-make.opt.pyxis.bin`). Not one that is stacked with another.
fn is_ours(label: &str) -> bool {
    let name = label.strip_suffix(" (unconfined)\n").unwrap_or_default();
    matches!(name, "pyxis" | "pyxis-make")
        || name.starts_with("pyxis-make.") && !name.contains("//")
}

/// What is executed next is no longer in our profile, but as a program of the user's on the node, or of a step: where those
/// may make no user namespaces, it may not. Another profile, which an administrator has written, stays. None of this has to
/// succeed: whoever wants to have our profile can execute us.
fn leave_profile() {
    let ours = fs::read_to_string("/proc/self/attr/apparmor/current");
    if ours.is_ok_and(|label| is_ours(&label)) {
        let _ = fs::write("/proc/self/attr/apparmor/exec", "exec unconfined");
    }
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn profiles_of_our_own_are_known_and_no_others() {
        for name in ["pyxis", "pyxis-make", "pyxis-make.opt.pyxis.bin"] {
            assert!(is_ours(&format!("{name} (unconfined)\n")), "{name}");
            assert!(!is_ours(&format!("{name} (enforce)\n")), "{name}");
        }
        for name in
            ["", "pyxis-make2", "pyxis.opt", "site", "pyxis//&site", "pyxis-make.opt//&site"]
        {
            assert!(!is_ours(&format!("{name} (unconfined)\n")), "{name}");
        }
        assert!(!is_ours("unconfined\n"));
    }
}
