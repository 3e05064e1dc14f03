//! The table by which the program that has loaded this plugin calls functions of libraries.

use nix::libc;
use std::ffi::{CStr, c_char, c_int, c_void};

/// An entry of the dynamic section.
#[repr(C)]
struct Dynamic {
    tag: i64,
    value: u64,
}

/// Where a table has to be filled in, with the address of what.
#[repr(C)]
struct Relocation {
    offset: u64,
    info: u64,
    _addend: i64,
}

/// Tags of the dynamic section, by the ELF specification: each is a place in [`Program::values`].
const CALLS_LENGTH: usize = 2;
const STRINGS: usize = 5;
const SYMBOLS: usize = 6;
const OTHERS: usize = 7;
const OTHERS_LENGTH: usize = 8;
const CALLS: usize = 23;
const TAGS: usize = 24;

/// The types of relocations that hold a function's address: `GLOB_DAT` and `JUMP_SLOT`.
const ADDRESSES: [u32; 2] = if cfg!(target_arch = "aarch64") { [1025, 1026] } else { [6, 7] };

/// Has the program call `function` for `name` from now on; `false` if it calls nothing of that name.
///
/// # Safety
/// `function` is what C calls a function of that name by, and stays. No other thread runs.
pub(super) unsafe fn replace(name: &CStr, function: *const c_void) -> bool {
    let mut program = Program { base: 0, values: [0; TAGS] };
    // SAFETY: the callback gets this pointer, and nothing is kept.
    unsafe { libc::dl_iterate_phdr(Some(read), (&raw mut program).cast()) };
    let mut found = false;
    for (table, length) in [(OTHERS, OTHERS_LENGTH), (CALLS, CALLS_LENGTH)] {
        let count = program.values[length] as usize / size_of::<Relocation>();
        for index in 0..count {
            // SAFETY: the dynamic linker has read these tables, of that length, and has written that word itself.
            unsafe {
                let entry = &*program.table::<Relocation>(table).add(index);
                let symbol =
                    &*program.table::<libc::Elf64_Sym>(SYMBOLS).add((entry.info >> 32) as usize);
                let called =
                    CStr::from_ptr(program.table::<c_char>(STRINGS).add(symbol.st_name as usize));
                if ADDRESSES.contains(&(entry.info as u32)) && called == name {
                    found |= write((program.base + entry.offset) as *mut *const c_void, function);
                }
            }
        }
    }
    found
}

/// Writes a word of a page that the dynamic linker may have made read-only. It stays writable: what is found later is
/// written there, too.
///
/// # Safety
/// The word is of this process's data.
unsafe fn write(word: *mut *const c_void, value: *const c_void) -> bool {
    // SAFETY: asks for a number.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let page = word.map_addr(|address| address & !(size - 1)).cast();
    // SAFETY: an aligned word lies in one page, which is the caller's promise to be data.
    let open = unsafe { libc::mprotect(page, size, libc::PROT_READ | libc::PROT_WRITE) } == 0;
    if open {
        // SAFETY: as above.
        unsafe { word.write(value) };
    }
    open
}

/// What the dynamic linker knows of the program itself.
struct Program {
    base: u64,
    values: [u64; TAGS],
}

impl Program {
    /// A table's address. Not every C library adds the program's own to it.
    fn table<T>(&self, tag: usize) -> *const T {
        let at = self.values[tag];
        (if at < self.base { self.base + at } else { at }) as *const T
    }
}

/// Reads the first object, which is the program.
unsafe extern "C" fn read(info: *mut libc::dl_phdr_info, _: usize, program: *mut c_void) -> c_int {
    // SAFETY: the dynamic linker's, for this call, with as many headers as it says; what `replace` has given; a section that
    // ends with the tag 0.
    unsafe {
        let (info, program) = (&*info, &mut *program.cast::<Program>());
        program.base = info.dlpi_addr;
        for index in 0..usize::from(info.dlpi_phnum) {
            let header = &*info.dlpi_phdr.add(index);
            if header.p_type == libc::PT_DYNAMIC {
                let mut entry = (info.dlpi_addr + header.p_vaddr) as *const Dynamic;
                while (*entry).tag != 0 {
                    if let Some(value) = program.values.get_mut((*entry).tag as usize) {
                        *value = (*entry).value;
                    }
                    entry = entry.add(1);
                }
            }
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn ours() -> libc::c_long {
        4711
    }

    #[test]
    fn calls_of_a_function_lead_elsewhere() {
        // SAFETY: gethostid takes nothing; no other test calls it.
        unsafe {
            let before = libc::gethostid();
            assert_ne!(before, 4711);
            assert!(replace(c"gethostid", ours as *const c_void));
            assert_eq!(libc::gethostid(), 4711);
            assert!(!replace(c"no_such_function", ours as *const c_void));
        }
    }
}
