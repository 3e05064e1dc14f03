//! Capabilities of this process (capabilities(7)), and what programs can gain.

use std::io;

use super::check;

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
