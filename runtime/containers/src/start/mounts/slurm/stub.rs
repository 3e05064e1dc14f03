//! The program that stands in a container for one of the node's: it has the node's dynamic linker run that one with the
//! node's libraries. An image may have another C library, another shell or none at all, so it needs nothing of the image.
//!
//! It is an ELF file of one segment: headers, a few instructions, a table, strings. What it executes has the words of
//! the table before the arguments that it was given.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::slice;

/// Where its one segment is in memory.
const ADDRESS: u64 = 0x40_0000;
const HEADERS: usize = 64 + 56;
/// The numbers of ELF for a 64-bit program that is executed where it says, and the machine's.
const EXECUTABLE: u16 = 2;
#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;

unsafe extern "C" {
    static pyxis_stub_begin: u8;
    static pyxis_stub_end: u8;
}

// The table is right behind the code: how many words there are, what is said if the linker cannot be executed and how long
// that is, the words. The kernel has left the number of arguments on the stack, then the arguments, NULL, and the environment:
// the words go in front of the arguments, the last one in place of the stub's own name.
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".pushsection .rodata.pyxis_stub, \"a\", @progbits",
    ".balign 8",
    ".globl pyxis_stub_begin",
    ".hidden pyxis_stub_begin",
    "pyxis_stub_begin:",
    "mov rax, [rsp]",
    "lea rdx, [rsp + rax*8 + 16]",
    "lea rbx, [rip + pyxis_stub_end]",
    "mov rcx, [rbx]",
    "mov rsi, rcx",
    "neg rsi",
    "lea rsi, [rsp + rsi*8 + 16]",
    "xor r8d, r8d",
    "2:",
    "mov rax, [rbx + r8*8 + 24]",
    "mov [rsi + r8*8], rax",
    "inc r8",
    "cmp r8, rcx",
    "jb 2b",
    "mov rdi, [rbx + 24]",
    "mov eax, 59", // execve
    "syscall",
    "mov edi, 2",
    "mov rsi, [rbx + 8]",
    "mov rdx, [rbx + 16]",
    "mov eax, 1", // write
    "syscall",
    "mov edi, 127",
    "mov eax, 231", // exit_group
    "syscall",
    ".balign 8",
    ".globl pyxis_stub_end",
    ".hidden pyxis_stub_end",
    "pyxis_stub_end:",
    ".popsection",
);
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".pushsection .rodata.pyxis_stub, \"a\", @progbits",
    ".balign 8",
    ".globl pyxis_stub_begin",
    ".hidden pyxis_stub_begin",
    "pyxis_stub_begin:",
    "mov x9, sp",
    "ldr x0, [x9]",
    "add x2, x9, x0, lsl #3",
    "add x2, x2, #16",
    "adr x3, pyxis_stub_end",
    "ldr x4, [x3]",
    "sub x1, x9, x4, lsl #3",
    "add x1, x1, #16",
    "add x5, x3, #24",
    "mov x6, x1",
    "2:",
    "ldr x7, [x5], #8",
    "str x7, [x6], #8",
    "subs x4, x4, #1",
    "b.ne 2b",
    "ldr x0, [x3, #24]",
    "mov x8, #221", // execve
    "svc #0",
    "mov x0, #2",
    "ldr x1, [x3, #8]",
    "ldr x2, [x3, #16]",
    "mov x8, #64", // write
    "svc #0",
    "mov x0, #127",
    "mov x8, #94", // exit_group
    "svc #0",
    ".balign 8",
    ".globl pyxis_stub_end",
    ".hidden pyxis_stub_end",
    "pyxis_stub_end:",
    ".popsection",
);

fn code() -> &'static [u8] {
    let (begin, end) = (&raw const pyxis_stub_begin, &raw const pyxis_stub_end);
    // SAFETY: both are labels of the same section above, the second behind the first, and nobody writes there.
    unsafe { slice::from_raw_parts(begin, end as usize - begin as usize) }
}

/// The file of a program that executes the first of `words` with all of them before its own arguments, and says `message`
/// where it cannot.
pub(super) fn stub(words: &[&OsStr], message: &str) -> Vec<u8> {
    let code = code();
    let table = HEADERS + code.len();
    let mut strings = Vec::new();
    let first = table + (3 + words.len()) * 8;
    let mut place = |bytes: &[u8]| {
        let at = ADDRESS + (first + strings.len()) as u64;
        strings.extend_from_slice(bytes);
        strings.push(0);
        at
    };
    let mut numbers = vec![words.len() as u64, place(message.as_bytes()), message.len() as u64];
    numbers.extend(words.iter().map(|word| place(word.as_bytes())));
    let size = (first + strings.len()) as u64;
    let mut file = headers(size);
    file.extend_from_slice(code);
    file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    file.extend_from_slice(&strings);
    file
}

/// Of ELF, and of the one segment, which is the whole file: it is read and executed.
fn headers(size: u64) -> Vec<u8> {
    let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let (entry, programs) = (ADDRESS + HEADERS as u64, 64_u64);
    head.extend([EXECUTABLE, MACHINE].iter().flat_map(|number| number.to_le_bytes()));
    head.extend(1_u32.to_le_bytes());
    head.extend([entry, programs, 0].iter().flat_map(|number| number.to_le_bytes()));
    head.extend(0_u32.to_le_bytes());
    head.extend([64_u16, 56, 1, 64, 0, 0].iter().flat_map(|number| number.to_le_bytes()));
    // PT_LOAD, to be read and executed.
    head.extend([1_u32, 5].iter().flat_map(|number| number.to_le_bytes()));
    let numbers = [0, ADDRESS, ADDRESS, size, size, 0x1_0000];
    head.extend(numbers.iter().flat_map(|number: &u64| number.to_le_bytes()));
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    fn made(words: &[&str], message: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("stub");
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        fs::write(&path, stub(&words, message)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (top, path)
    }

    #[test]
    fn words_come_before_the_arguments_and_the_environment_is_as_it_was() {
        let (_top, path) = made(&["/bin/sh", "-c", "echo \"$A|$0|$*|$#\"", "zero", "one"], "no");
        let run = |arguments: &[&str]| {
            let mut command = Command::new(&path);
            let done = command.args(arguments).env_clear().env("A", "b c").output().unwrap();
            assert!(done.status.success(), "{done:?}");
            String::from_utf8(done.stdout).unwrap()
        };
        assert_eq!(run(&[]), "b c|zero|one|1\n");
        assert_eq!(run(&["", "two words", "3"]), "b c|zero|one  two words 3|4\n");
        let many: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(run(&many).ends_with(" 4999|5001\n"));
    }

    #[test]
    fn a_single_word_is_enough() {
        let (_top, path) = made(&["/bin/echo"], "no");
        let done = Command::new(&path).arg("a").output().unwrap();
        assert_eq!(done.stdout, b"a\n");
    }

    #[test]
    fn a_linker_that_is_not_there_is_said() {
        let (_top, path) = made(&["/nowhere/ld.so", "x"], "srun: gone\n");
        let done = Command::new(&path).arg("a").output().unwrap();
        assert_eq!(done.status.code(), Some(127));
        assert_eq!(done.stderr, b"srun: gone\n");
    }
}
