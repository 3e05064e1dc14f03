//! The stamp of a build, read from its file: nothing of it is run before it is known to be ours.
//!
//! Read, not mapped: a file that shrinks meanwhile is an error here and would be a signal there.

use core::ffi::c_int;

/// What the loader must know of a build.
#[derive(Clone, Copy)]
pub(crate) struct Stamp {
    /// SLURM_VERSION_NUMBER it was built with.
    pub(crate) number: u32,
    /// What that Slurm's `slurm_api_version()` returns, shifted right by 16.
    pub(crate) api: u32,
}

/// Why there is no stamp.
pub(crate) enum ElfFault {
    /// Not an ELF library with a stamp in it.
    NoStamp,
    /// For another processor, as in a tree that several kinds of nodes share.
    OtherMachine,
    /// Shorter than its own tables say.
    Truncated,
}

use ElfFault::{NoStamp, OtherMachine, Truncated};

#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;

include!(concat!(env!("OUT_DIR"), "/stamp.rs"));

/// Bytes per entry of the section table, and more entries than a plugin has.
const ENTRY: usize = 64;
const ENTRIES: usize = 64;
/// SHT_NOBITS: a section that takes no place in the file.
const NO_BITS: u32 = 8;

/// Reads the stamp of an open file of that size.
pub(crate) fn stamp(file: c_int, size: u64) -> Result<Stamp, ElfFault> {
    let mut header = [0; 64];
    if read(file, 0, &mut header) != header.len() {
        return Err(NoStamp);
    }
    // Magic, 64 bits, little-endian.
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return Err(NoStamp);
    }
    if u16_at(&header, 0x12) != Some(MACHINE) {
        return Err(OtherMachine);
    }
    let table_at = u64_at(&header, 0x28).ok_or(NoStamp)?;
    let count = usize::from(u16_at(&header, 0x3c).ok_or(NoStamp)?);
    let names = usize::from(u16_at(&header, 0x3e).ok_or(NoStamp)?);
    let entry = u16_at(&header, 0x3a).map(usize::from);
    if entry != Some(ENTRY) || count > ENTRIES {
        return Err(NoStamp);
    }
    if end(table_at, (count * ENTRY) as u64) > size {
        return Err(Truncated);
    }
    let mut table = [0; ENTRY * ENTRIES];
    let table = table.get_mut(..count * ENTRY).ok_or(NoStamp)?;
    if read(file, table_at, table) != table.len() {
        return Err(Truncated);
    }
    for section in table.chunks_exact(ENTRY) {
        if end(place(section)?, length(section)?) > size && u32_at(section, 4) != Some(NO_BITS) {
            return Err(Truncated);
        }
    }
    let mut text = [0; 1024];
    let at = place(table.chunks_exact(ENTRY).nth(names).ok_or(NoStamp)?)?;
    let names = read(file, at, &mut text);
    let names = text.get(..names).ok_or(NoStamp)?;
    let stamp = table.chunks_exact(ENTRY).find(|section| {
        let name = u32_at(section, 0).and_then(|at| names.get(usize::try_from(at).ok()?..));
        name.is_some_and(|name| name.starts_with(NAME))
    });
    let (at, length) = stamp.map_or(Err(NoStamp), |stamp| Ok((place(stamp)?, length(stamp)?)))?;
    let mut text = [0; 1024];
    let length = usize::try_from(length).ok().filter(|length| *length <= text.len());
    let text = text.get_mut(..length.ok_or(NoStamp)?).ok_or(NoStamp)?;
    if read(file, at, text) != text.len() {
        return Err(Truncated);
    }
    parse(text).ok_or(NoStamp)
}

/// The two values, from the lines `api=42` and `number=0x180b07`.
fn parse(text: &[u8]) -> Option<Stamp> {
    let rest = text.strip_prefix(FIRST_LINES)?;
    let value = |key: &[u8], base| {
        let mut lines = rest.split(|byte| *byte == b'\n' || *byte == 0);
        number(lines.find_map(|line| line.strip_prefix(key))?, base)
    };
    Some(Stamp { number: value(b"number=0x", 16)?, api: value(b"api=", 10)? })
}

fn number(digits: &[u8], base: u32) -> Option<u32> {
    let add =
        |sum: u32, digit: &u8| sum.checked_mul(base)?.checked_add((*digit as char).to_digit(base)?);
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}

/// sh_offset
fn place(section: &[u8]) -> Result<u64, ElfFault> {
    u64_at(section, 0x18).ok_or(NoStamp)
}

/// sh_size
fn length(section: &[u8]) -> Result<u64, ElfFault> {
    u64_at(section, 0x20).ok_or(NoStamp)
}

fn end(start: u64, length: u64) -> u64 {
    start.saturating_add(length)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Fills `room` from the file as far as it goes: how many bytes.
fn read(file: c_int, at: u64, room: &mut [u8]) -> usize {
    let Ok(at) = libc::off_t::try_from(at) else { return 0 };
    // SAFETY: an open descriptor, and memory of that length to write to.
    let got = unsafe { libc::pread(file, room.as_mut_ptr().cast(), room.len(), at) };
    usize::try_from(got).unwrap_or(0)
}
