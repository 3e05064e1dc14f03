//! What a library says of itself to the dynamic linker. Whoever made the file may have written
//! anything: each number is checked, and only what is asked for is read.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// More than the tables of any library have.
const MOST: u64 = 1 << 20;
const SHT_NOTE: u32 = 7;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_SONAME: u64 = 14;
const DT_VERDEF: u64 = 0x6fff_fffc;
const DT_VERDEFNUM: u64 = 0x6fff_fffd;
const DT_VERNEED: u64 = 0x6fff_fffe;
const DT_VERNEEDNUM: u64 = 0x6fff_ffff;
/// glibc has two hundred.
const MOST_VERSIONS: u64 = 1000;

/// For whom a library is, as `ld.so.cache` marks it: FLAG_ELF_LIBC6 and one of the machine.
const LIBC6: u32 = 0x0003;
const X8664: u32 = 0x0300;
const PPC64: u32 = 0x0500;
const ARM_HARD_FLOAT: u32 = 0x0900;
const AARCH64: u32 = 0x0a00;
const RISCV64: u32 = 0x1000;

/// A file of the ELF format.
pub(crate) struct Elf<'a> {
    file: &'a File,
    wide: bool,
    /// Of the dynamic linker's cache.
    pub(crate) flags: u32,
    programs: Table,
    sections: Table,
    names: u16,
}

#[derive(Clone, Copy)]
struct Table {
    at: u64,
    size: u64,
    count: u64,
}

/// What the dynamic section says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Dynamic {
    /// The name that programs ask for.
    pub(crate) soname: Option<String>,
    /// Names of other libraries.
    pub(crate) needed: Vec<String>,
    /// Versions that these must have.
    pub(crate) wanted: Vec<(String, String)>,
    /// Versions that it has itself.
    pub(crate) defined: Vec<String>,
}

/// What the dynamic linker begins with: segments, and tags with their values.
struct Linked {
    loaded: Vec<Segment>,
    pairs: Vec<(u64, u64)>,
}

struct Segment {
    at: u64,
    address: u64,
    size: u64,
}

impl<'a> Elf<'a> {
    /// `None` if it is none, or of a kind that no library here has.
    pub(crate) fn of(file: &'a File) -> Option<Elf<'a>> {
        let mut head = [0; 64];
        let have = file.read_at(&mut head, 0).ok()?;
        let head = head.get(..have)?;
        if head.get(..4)? != b"\x7fELF" || head.get(5)? != &1 {
            return None;
        }
        let wide = match head.get(4)? {
            1 => false,
            2 => true,
            _ => return None,
        };
        let short =
            |at: usize| Some(u64::from(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?)));
        let word = |at: usize| number(head, at, wide);
        let table = |at: u64, size: u64, count: u64| Table { at, size, count };
        let (programs, sections, names) = match wide {
            true => (
                table(word(32)?, short(54)?, short(56)?),
                table(word(40)?, short(58)?, short(60)?),
                short(62)?,
            ),
            false => (
                table(word(28)?, short(42)?, short(44)?),
                table(word(32)?, short(46)?, short(48)?),
                short(50)?,
            ),
        };
        let flags = match (short(18)?, wide) {
            (3, false) => LIBC6,
            (62, true) => LIBC6 | X8664,
            (21, true) => LIBC6 | PPC64,
            (40, false) => LIBC6 | ARM_HARD_FLOAT,
            (183, true) => LIBC6 | AARCH64,
            (243, true) => LIBC6 | RISCV64,
            _ => return None,
        };
        Some(Elf { file, wide, flags, programs, sections, names: names as u16 })
    }

    fn bytes(&self, at: u64, size: u64) -> Option<Vec<u8>> {
        if size > MOST {
            return None;
        }
        let mut bytes = vec![0; size as usize];
        self.file.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    }

    /// The entries of a table.
    fn entries(&self, table: Table, least: u64) -> Option<Vec<Vec<u8>>> {
        if table.size < least {
            return None;
        }
        let bytes = self.bytes(table.at, table.size.checked_mul(table.count)?)?;
        Some(bytes.chunks_exact(table.size as usize).map(<[u8]>::to_vec).collect())
    }

    /// The dynamic linker that a program asks for.
    pub(crate) fn interpreter(&self) -> Option<PathBuf> {
        let (least, offset, size) = if self.wide { (56, 8, 32) } else { (32, 4, 16) };
        let entries = self.entries(self.programs, least)?;
        let kind = PT_INTERP.to_le_bytes();
        let entry = entries.iter().find(|entry| entry.get(..4) == Some(&kind[..]))?;
        let (at, size) = (number(entry, offset, self.wide)?, number(entry, size, self.wide)?);
        let mut bytes = self.bytes(at, size)?;
        bytes.truncate(bytes.iter().position(|byte| *byte == 0)?);
        Some(PathBuf::from(OsString::from_vec(bytes)))
    }

    /// Segments that are loaded, and the dynamic section.
    fn dynamic_section(&self) -> Option<Linked> {
        let (least, offset, address, size) =
            if self.wide { (56, 8, 16, 32) } else { (32, 4, 8, 16) };
        let mut loaded = Vec::new();
        let mut dynamic = None;
        for entry in self.entries(self.programs, least)? {
            let kind = u32::from_le_bytes(entry.get(..4)?.try_into().ok()?);
            let field = |at| number(&entry, at, self.wide);
            let (at, address, size) = (field(offset)?, field(address)?, field(size)?);
            match kind {
                PT_LOAD => loaded.push(Segment { at, address, size }),
                PT_DYNAMIC => dynamic = Some((at, size)),
                _ => {}
            }
        }
        let (at, size) = dynamic?;
        let bytes = self.bytes(at, size)?;
        let width = if self.wide { 8 } else { 4 };
        let pair =
            |pair: &[u8]| Some((number(pair, 0, self.wide)?, number(pair, width, self.wide)?));
        let pairs = bytes.chunks_exact(2 * width).filter_map(pair);
        Some(Linked { loaded, pairs: pairs.take_while(|(tag, _)| *tag != 0).collect() })
    }

    /// What the dynamic linker reads.
    pub(crate) fn dynamic(&self) -> Option<Dynamic> {
        let Linked { loaded, pairs } = self.dynamic_section()?;
        let value = |tag| pairs.iter().find(|(known, _)| *known == tag).map(|(_, value)| *value);
        // An address; the file has it where the segment around it is.
        let place = |address: u64| {
            let around = |segment: &&Segment| {
                address >= segment.address && address - segment.address < segment.size
            };
            let segment = loaded.iter().find(around)?;
            segment.at.checked_add(address - segment.address)
        };
        let strings = place(value(DT_STRTAB)?)?;
        let text = |value: u64| self.text(strings.checked_add(value)?);
        let needed = pairs.iter().filter(|(tag, _)| *tag == DT_NEEDED);
        let versions = |table: u64, count: u64| {
            Some((place(value(table)?)?, value(count)?.min(MOST_VERSIONS)))
        };
        let wanted = versions(DT_VERNEED, DT_VERNEEDNUM);
        let defined = versions(DT_VERDEF, DT_VERDEFNUM);
        Some(Dynamic {
            soname: value(DT_SONAME).and_then(text),
            needed: needed.filter_map(|(_, value)| text(*value)).collect(),
            wanted: wanted
                .and_then(|(at, count)| self.wanted(at, count, &text))
                .unwrap_or_default(),
            defined: defined
                .and_then(|(at, count)| self.defined(at, count, &text))
                .unwrap_or_default(),
        })
    }

    /// Versions that are asked of other libraries: a list of libraries, each with a list.
    fn wanted(
        &self,
        mut at: u64,
        count: u64,
        text: &dyn Fn(u64) -> Option<String>,
    ) -> Option<Vec<(String, String)>> {
        let mut wanted = Vec::new();
        for _ in 0..count {
            let library = self.bytes(at, 16)?;
            let (names, file) = (short(&library, 2)?, text(word(&library, 4)?)?);
            let mut name_at = at.checked_add(word(&library, 8)?)?;
            for _ in 0..names.min(MOST_VERSIONS) {
                let version = self.bytes(name_at, 16)?;
                wanted.push((file.clone(), text(word(&version, 8)?)?));
                name_at = name_at.checked_add(word(&version, 12)?)?;
            }
            at = at.checked_add(word(&library, 12)?)?;
        }
        Some(wanted)
    }

    /// Versions that the library has.
    fn defined(
        &self,
        mut at: u64,
        count: u64,
        text: &dyn Fn(u64) -> Option<String>,
    ) -> Option<Vec<String>> {
        let mut defined = Vec::new();
        for _ in 0..count {
            let version = self.bytes(at, 20)?;
            let name = self.bytes(at.checked_add(word(&version, 12)?)?, 8)?;
            defined.push(text(word(&name, 0)?)?);
            at = at.checked_add(word(&version, 16)?)?;
        }
        Some(defined)
    }

    /// A name that ends with a NUL.
    fn text(&self, at: u64) -> Option<String> {
        let mut bytes = [0; 256];
        let have = self.file.read_at(&mut bytes, at).ok()?;
        let end = bytes.get(..have)?.iter().position(|byte| *byte == 0)?;
        let text = String::from_utf8(bytes[..end].to_vec()).ok()?;
        let plain = !text.is_empty() && !text.contains(|c: char| c == '/' || c.is_control());
        plain.then_some(text)
    }

    /// Owner's name and contents of the first note in the section of this name.
    pub(crate) fn note(&self, section: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        let (least, offset, size, align) =
            if self.wide { (64, 24, 32, 48) } else { (40, 16, 20, 32) };
        let entries = self.entries(self.sections, least)?;
        let field = |entry: &[u8], at| number(entry, at, self.wide);
        let names = field(entries.get(usize::from(self.names))?, offset)?;
        let name = |entry: &[u8]| {
            let at = u32::from_le_bytes(entry.get(..4)?.try_into().ok()?);
            self.text(names.checked_add(u64::from(at))?)
        };
        let is_it = |entry: &&Vec<u8>| {
            entry.get(4..8) == Some(&SHT_NOTE.to_le_bytes()[..])
                && name(entry).as_deref() == Some(section)
        };
        let entry = entries.iter().find(is_it)?;
        let data = self.bytes(field(entry, offset)?, field(entry, size)?)?;
        let align = (field(entry, align)? as usize).clamp(1, 16);
        let length =
            |at: usize| Some(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?) as usize);
        let (owner, contents) = (length(0)?, length(4)?);
        let start = 12_usize.checked_add(owner.checked_next_multiple_of(align)?)?;
        let owner = data.get(12..12_usize.checked_add(owner)?)?;
        let contents = data.get(start..start.checked_add(contents)?)?;
        let trimmed = |bytes: &[u8]| {
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            bytes[..end].to_vec()
        };
        Some((trimmed(owner), trimmed(contents)))
    }
}

fn short(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    number(bytes, at, false)
}

/// A number of the file's width.
fn number(bytes: &[u8], at: usize, wide: bool) -> Option<u64> {
    Some(match wide {
        true => u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?),
        false => u64::from(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?)),
    })
}

/// Files for tests.
#[cfg(test)]
pub(crate) mod sample {
    /// The smallest 64-bit library with this name, and with a note if there is one.
    pub(crate) fn library(soname: &str, note: Option<(&str, &str, &str)>) -> Vec<u8> {
        let put = |out: &mut Vec<u8>, values: &[u64]| {
            values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        };
        let strings = format!("\0{soname}\0");
        let dynamic = 64 + 2 * 56;
        let table = dynamic + 3 * 16;
        let mut out = b"\x7fELF\x02\x01\x01".to_vec();
        out.resize(16, 0);
        out.extend_from_slice(&[3, 0, 62, 0, 1, 0, 0, 0]);
        put(&mut out, &[0, 64, 0]);
        out.extend_from_slice(&[0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 64, 0, 0, 0, 0, 0]);
        let size = (table + strings.len()) as u64;
        for (kind, at, size) in [(1_u32, 0, size), (2, dynamic as u64, 48)] {
            out.extend_from_slice(&kind.to_le_bytes());
            out.extend_from_slice(&[4, 0, 0, 0]);
            put(&mut out, &[at, at, at, size, size, 8]);
        }
        put(&mut out, &[5, table as u64, 14, 1, 0, 0]);
        out.extend_from_slice(strings.as_bytes());
        let Some((section, owner, contents)) = note else { return out };
        let at = out.len() as u64;
        let mut data = Vec::new();
        for word in [owner.len() as u32 + 1, contents.len() as u32, 1] {
            data.extend_from_slice(&word.to_le_bytes());
        }
        data.extend_from_slice(owner.as_bytes());
        data.push(0);
        data.resize(data.len().next_multiple_of(4), 0);
        data.extend_from_slice(contents.as_bytes());
        out.extend_from_slice(&data);
        let names = out.len() as u64;
        out.extend_from_slice(format!("\0{section}\0").as_bytes());
        let headers = out.len() as u64;
        for (name, kind, at, size) in
            [(0_u32, 3_u32, names, section.len() as u64 + 2), (1, 7, at, data.len() as u64)]
        {
            out.extend_from_slice(&name.to_le_bytes());
            out.extend_from_slice(&kind.to_le_bytes());
            put(&mut out, &[0, 0, at, size, 0, 4, 0]);
        }
        out[40..48].copy_from_slice(&headers.to_le_bytes());
        out[60..62].copy_from_slice(&2_u16.to_le_bytes());
        out
    }

    #[cfg(test)]
    mod tests {
        use super::super::*;
        use proptest::prelude::*;
        use std::io::Write;

        fn opened(bytes: &[u8]) -> File {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            file
        }

        #[test]
        fn the_name_and_the_note_of_a_library() {
            let file = opened(&super::library("libcuda.so.1", Some((".note.x", "NVIDIA", "{}"))));
            let elf = Elf::of(&file).unwrap();
            assert_eq!(elf.flags, 0x303);
            let dynamic = elf.dynamic().unwrap();
            assert_eq!(dynamic.soname.as_deref(), Some("libcuda.so.1"));
            assert_eq!(elf.note(".note.x").unwrap(), (b"NVIDIA".to_vec(), b"{}".to_vec()));
            assert!(elf.note(".note.y").is_none());
        }

        #[test]
        fn a_library_of_this_machine() {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let path = maps.split_whitespace().find(|word| word.ends_with("/libc.so.6"));
            let file = File::open(path.expect("tests are linked to libc.so.6")).unwrap();
            let dynamic = Elf::of(&file).unwrap().dynamic().unwrap();
            assert_eq!(dynamic.soname.as_deref(), Some("libc.so.6"));
            assert!(dynamic.needed[0].starts_with("ld-linux"), "{dynamic:?}");
            assert!(dynamic.defined.iter().any(|version| version == "GLIBC_2.17"), "{dynamic:?}");
            let of_linker = dynamic.wanted.iter().filter(|(file, _)| file.starts_with("ld-linux"));
            assert!(of_linker.count() > 0, "{dynamic:?}");
        }

        proptest! {
            #[test]
            fn no_change_of_a_library_panics(
                at in 0usize..600, with in prop::collection::vec(any::<u8>(), 0..16), cut in 0usize..800,
            ) {
                let mut bytes = super::library("libcuda.so.1", Some((".note.x", "NVIDIA", "{}")));
                let at = at.min(bytes.len());
                let end = (at + with.len()).min(bytes.len());
                bytes.splice(at..end, with);
                bytes.truncate(cut);
                let file = opened(&bytes);
                if let Some(elf) = Elf::of(&file) {
                    let _ = (elf.dynamic(), elf.note(".note.x"));
                }
            }
        }
    }
}
