//! A filter by which changes of ownership and of ids succeed without doing anything: package
//! managers want them, and a user namespace with one id has nobody else to give files to.
//!
//! `setfsuid(-1)` and `setfsgid(-1)` are questions and go through, as does everything else.

use std::io;

use nix::libc::{self, c_long, sock_filter, sock_fprog};

/// Calls that pretend to succeed.
const PRETENDED: &[c_long] = &[
    #[cfg(any(target_arch = "x86_64", target_arch = "powerpc64"))]
    libc::SYS_chown,
    #[cfg(any(target_arch = "x86_64", target_arch = "powerpc64"))]
    libc::SYS_lchown,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
];
/// Calls that pretend to succeed unless their argument is -1.
const QUERIES: &[c_long] = &[libc::SYS_setfsuid, libc::SYS_setfsgid];

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;
#[cfg(all(target_arch = "powerpc64", target_endian = "little"))]
const ARCH: u32 = 0xc000_0015;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// Low half of the first argument, on little endian machines.
const ARGUMENT: u32 = 16;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

fn program() -> Vec<sock_filter> {
    let calls = PRETENDED.len() + QUERIES.len();
    // After the calls: load argument, compare, allow, pretend.
    let mut program = vec![
        statement(LOAD, ARCHITECTURE),
        sock_filter { code: EQUAL, jt: 1, jf: 0, k: ARCH },
        // Another architecture's numbers (32-bit programs) mean other calls.
        statement(RETURN, libc::SECCOMP_RET_ALLOW),
        statement(LOAD, NUMBER),
    ];
    for (index, &call) in PRETENDED.iter().enumerate() {
        let behind = calls - index - 1;
        program.push(sock_filter { code: EQUAL, jt: (behind + 3) as u8, jf: 0, k: call as u32 });
    }
    for (index, &call) in QUERIES.iter().enumerate() {
        let behind = QUERIES.len() - index - 1;
        let miss = if behind == 0 { 2 } else { 0 };
        program.push(sock_filter { code: EQUAL, jt: behind as u8, jf: miss, k: call as u32 });
    }
    program.push(statement(LOAD, ARGUMENT));
    program.push(sock_filter { code: EQUAL, jt: 0, jf: 1, k: u32::MAX });
    program.push(statement(RETURN, libc::SECCOMP_RET_ALLOW));
    program.push(statement(RETURN, libc::SECCOMP_RET_ERRNO));
    program
}

/// Installs the filter in this process for good. The process needs `no_new_privs`, or
/// capabilities over its user namespace.
///
/// # Errors
/// From the kernel: one without seccomp filters.
pub fn install() -> io::Result<()> {
    let mut program = program();
    let filter = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // Without the flag the kernel would turn on mitigations that slow every program down.
    for flags in [libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW, 0] {
        // SAFETY: the kernel copies the program, which lives through the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const filter,
            )
        };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINVAL) {
            return Err(error);
        }
    }
    Err(io::Error::last_os_error())
}
