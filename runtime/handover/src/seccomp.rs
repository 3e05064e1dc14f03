//! A filter by which changes of ownership and of ids succeed without doing anything: package
//! managers want them, and a user namespace with one id has nobody else to give files to.
//!
//! `setfsuid(-1)` and `setfsgid(-1)` are questions and go through, as does everything else. Nor is there a device
//! to be made in a user namespace: `mknod` of one succeeds, and there is none; a FIFO, a socket, a file are made,
//! and so is an overlay's whiteout (a character device of number 0), which users may make.

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

/// Calls that pretend to succeed for devices, with the place of the mode among the arguments; the device's
/// number follows.
const MAKING: &[(c_long, u32)] = &[
    (libc::SYS_mknodat, 2),
    #[cfg(any(target_arch = "x86_64", target_arch = "powerpc64"))]
    (libc::SYS_mknod, 1),
];

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
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

/// `yes` and `no` are how many instructions are skipped.
const fn equal(k: u32, yes: usize, no: usize) -> sock_filter {
    sock_filter { code: EQUAL, jt: yes as u8, jf: no as u8, k }
}

const LENGTH: usize = 4 + PRETENDED.len() + 3 * QUERIES.len() + 7 * MAKING.len() + 2;

/// Each call is followed by what decides about it; the last two are "allow" and "pretend".
static PROGRAM: [sock_filter; LENGTH] = {
    let mut program = [statement(RETURN, libc::SECCOMP_RET_ALLOW); LENGTH];
    program[0] = statement(LOAD, ARCHITECTURE);
    // Another architecture's numbers (32-bit programs) mean other calls.
    program[1] = equal(ARCH, 1, 0);
    program[3] = statement(LOAD, NUMBER);
    let (pretend, allow) = (LENGTH - 1, LENGTH - 2);
    let (mut at, mut call) = (4, 0);
    while call < PRETENDED.len() {
        program[at] = equal(PRETENDED[call] as u32, pretend - at - 1, 0);
        at += 1;
        call += 1;
    }
    call = 0;
    while call < QUERIES.len() {
        program[at] = equal(QUERIES[call] as u32, 0, 2);
        program[at + 1] = statement(LOAD, ARGUMENT);
        program[at + 2] = equal(u32::MAX, allow - at - 3, pretend - at - 3);
        at += 3;
        call += 1;
    }
    call = 0;
    while call < MAKING.len() {
        let (number, mode) = MAKING[call];
        program[at] = equal(number as u32, 0, 6);
        program[at + 1] = statement(LOAD, ARGUMENT + 8 * mode);
        program[at + 2] = statement(AND, libc::S_IFMT);
        program[at + 3] = equal(libc::S_IFBLK, pretend - at - 4, 0);
        program[at + 4] = equal(libc::S_IFCHR, 0, allow - at - 5);
        program[at + 5] = statement(LOAD, ARGUMENT + 8 * (mode + 1));
        program[at + 6] = equal(0, allow - at - 7, pretend - at - 7);
        at += 7;
        call += 1;
    }
    program[pretend] = statement(RETURN, libc::SECCOMP_RET_ERRNO);
    program
};

/// Installs the filter in this process for good. The process needs `no_new_privs`, or
/// capabilities over its user namespace.
///
/// # Errors
/// From the kernel: one without seccomp filters.
pub fn install() -> io::Result<()> {
    // The kernel only reads it.
    let filter = sock_fprog { len: LENGTH as u16, filter: PROGRAM.as_ptr().cast_mut() };
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
