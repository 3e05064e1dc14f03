//! What a 64-bit ELF file of this machine's byte order says of itself: enough to know a Slurm plugin, or the Slurm that a
//! program belongs to, without loading it.
//!
//! Everything but [`Library::read`] returns `None` where the file ends before its own tables do.

use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn, ElfFile64, FileHeader, SectionHeader, SectionTable, Sym};
use object::{Endianness, Object};
use std::collections::BTreeSet;

/// `e_machine` of the processors there are packages for.
pub const X86_64: u16 = elf::EM_X86_64.0;
/// The other.
pub const AARCH64: u16 = elf::EM_AARCH64.0;

/// No library needs more, and no path is longer.
const MOST_TEXTS: usize = 1000;
const LONGEST: usize = 4096;

type Header = FileHeader64<Endianness>;

/// Whether a string is this one, found out by no more than its length: in a file of somebody's
/// making all of many names may begin in one string without an end.
fn is_at(strings: &[u8], at: u32, name: &str) -> bool {
    let rest = strings.get(at as usize..).and_then(|rest| rest.strip_prefix(name.as_bytes()));
    rest.is_some_and(|rest| rest.first() == Some(&0))
}

/// An ELF file.
#[derive(Debug, Clone, Copy)]
pub struct Elf<'a> {
    file: &'a [u8],
    header: &'a Header,
    endian: Endianness,
}

/// A symbol that the file itself has: where it is and how long.
struct Symbol<'a> {
    section: &'a <Header as FileHeader>::SectionHeader,
    start: usize,
    size: usize,
}

impl<'a> Elf<'a> {
    /// `None` if this is no such file.
    pub fn parse(file: &'a [u8]) -> Option<Elf<'a>> {
        let header = Header::parse(file).ok()?;
        let native = header.is_little_endian() == cfg!(target_endian = "little");
        Some(Elf { file, header, endian: header.endian().ok()? }).filter(|_| native)
    }

    /// Its processor: [`X86_64`], [`AARCH64`] or another.
    pub fn machine(&self) -> u16 {
        self.header.e_machine(self.endian).0
    }

    /// The bytes of the section called `name`; `Some(None)` if there is none.
    pub fn section(&self, name: &str) -> Option<Option<&'a [u8]>> {
        let sections = self.sections()?;
        let index = self.header.section_strings_index(self.endian, self.file).ok()?;
        let names = self.content(sections.section(index).ok()?)?;
        match sections.iter().find(|s| is_at(names, s.sh_name(self.endian), name)) {
            Some(section) => self.content(section).map(Some),
            None => Some(None),
        }
    }

    /// The bytes of an exported datum; `None` too if they are all zero and not in the file.
    pub fn datum(&self, name: &str) -> Option<&'a [u8]> {
        let Symbol { section, start, size } = self.symbol(name)?;
        self.content(section)?.get(start..start.checked_add(size)?)
    }

    /// The same, as an `unsigned int`.
    pub fn number(&self, name: &str) -> Option<u32> {
        let symbol = self.symbol(name)?;
        if symbol.section.sh_type(self.endian) == elf::SHT_NOBITS {
            return (symbol.size == size_of::<u32>()).then_some(0);
        }
        Some(u32::from_ne_bytes(self.datum(name)?.try_into().ok()?))
    }

    /// The libraries it needs.
    pub fn needed(&self) -> Option<Vec<&'a str>> {
        self.dynamic(&[elf::DT_NEEDED])
    }

    /// Where those are looked for first: directories, several of them parted by colons.
    pub fn run_paths(&self) -> Option<Vec<&'a str>> {
        self.dynamic(&[elf::DT_RPATH, elf::DT_RUNPATH])
    }

    /// The id by which debuggers find its symbols.
    pub fn build_id(&self) -> Option<&'a [u8]> {
        ElfFile64::<Endianness>::parse(self.file).ok()?.build_id().ok()?
    }

    fn sections(&self) -> Option<SectionTable<'a, Header>> {
        self.header.sections(self.endian, self.file).ok()
    }

    fn content(&self, section: &'a <Header as FileHeader>::SectionHeader) -> Option<&'a [u8]> {
        section.data(self.endian, self.file).ok()
    }

    fn symbol(&self, name: &str) -> Option<Symbol<'a>> {
        let sections = self.sections()?;
        let symbols = sections.symbols(self.endian, self.file, elf::SHT_DYNSYM).ok()?;
        let names = self.content(sections.section(symbols.string_section()).ok()?)?;
        let mut all = symbols.enumerate();
        let (index, symbol) =
            all.find(|(_, symbol)| is_at(names, symbol.st_name(self.endian), name))?;
        // None: it is somebody else's.
        let index = symbols.symbol_section(self.endian, symbol, index).ok()??;
        let section = sections.section(index).ok()?;
        let start = symbol.st_value(self.endian).checked_sub(section.sh_addr(self.endian))?;
        let size = symbol.st_size(self.endian);
        Some(Symbol { section, start: start.try_into().ok()?, size: size.try_into().ok()? })
    }

    fn dynamic(&self, tags: &[elf::DynamicTag]) -> Option<Vec<&'a str>> {
        let sections = self.sections()?;
        let (entries, link) = sections.dynamic(self.endian, self.file).ok()??;
        let names = self.content(sections.section(link).ok()?)?;
        let texts = entries.iter().filter(|entry| tags.contains(&entry.tag(self.endian)));
        let text = |entry: &_| {
            let at = usize::try_from(Dyn::val(entry, self.endian)).ok()?;
            let rest = names.get(at..)?;
            let path = rest[..rest.len().min(LONGEST)].split(|byte| *byte == 0).next()?;
            std::str::from_utf8(path).ok()
        };
        texts.take(MOST_TEXTS).map(text).collect()
    }
}

/// The parts of a shared library that the checks of a build need.
#[derive(Debug, Default)]
pub struct Library {
    /// Symbols it offers.
    pub exports: BTreeSet<String>,
    /// Those of them that are functions which say what `dlsym` hands out (`STT_GNU_IFUNC`).
    pub indirect: BTreeSet<String>,
    /// Symbols it must get from somewhere and that have no version: not the C library's.
    pub wants: BTreeSet<String>,
    /// Versions it needs of the C library and its like, `GLIBC_2.34`.
    pub versions: BTreeSet<String>,
    /// Libraries it needs.
    pub needed: Vec<String>,
    /// DF_1_NODELETE: it stays when it is closed.
    pub nodelete: bool,
    /// It has a symbol table for debuggers, which only makes it larger.
    pub unstripped: bool,
}

impl Library {
    /// Reads a shared library.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub fn read(file: &[u8]) -> object::Result<Library> {
        let header = Header::parse(file)?;
        let endian = header.endian()?;
        let table = header.sections(endian, file)?;
        let mut found = Library::default();
        let symbols = table.symbols(endian, file, elf::SHT_DYNSYM)?;
        let versions = table.versions(endian, file)?;
        for (index, symbol) in symbols.enumerate() {
            let name = String::from_utf8_lossy(symbol.name(endian, symbols.strings())?);
            if name.is_empty() {
                continue;
            }
            if !symbol.is_undefined(endian) {
                if symbol.st_type() == elf::STT_GNU_IFUNC {
                    found.indirect.insert(name.clone().into_owned());
                }
                found.exports.insert(name.into_owned());
                continue;
            }
            let version = match &versions {
                Some(all) => all.version(all.version_index(endian, index).into())?,
                None => None,
            };
            match version {
                Some(version) => {
                    found.versions.insert(String::from_utf8_lossy(version.name()).into_owned());
                }
                None if symbol.is_weak() => {}
                None => drop(found.wants.insert(name.into_owned())),
            }
        }
        if let Some((entries, link)) = table.dynamic(endian, file)? {
            let names = table.strings(endian, file, link)?;
            for entry in entries {
                match entry.tag(endian) {
                    elf::DT_NEEDED => {
                        let name = entry.string(endian, names)?;
                        found.needed.push(String::from_utf8_lossy(name).into_owned());
                    }
                    elf::DT_FLAGS_1 => {
                        found.nodelete = entry.val(endian) & elf::DF_1_NODELETE.0 != 0;
                    }
                    _ => {}
                }
            }
        }
        found.unstripped = table.iter().any(|s| s.sh_type(endian) == elf::SHT_SYMTAB);
        Ok(found)
    }

    /// The newest version of glibc among those it needs, `2.34`.
    pub fn newest_glibc(&self) -> Option<String> {
        let versions = self.versions.iter().filter_map(|v| v.strip_prefix("GLIBC_"));
        versions.max_by_key(|v| numbers(v)).map(str::to_owned)
    }
}

/// `2.34` as numbers, which compare as versions do.
pub fn numbers(version: &str) -> Vec<u32> {
    version.split('.').filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn own() -> Vec<u8> {
        std::fs::read("/proc/self/exe").unwrap()
    }

    #[test]
    fn what_this_program_says_of_itself() {
        let file = own();
        let elf = Elf::parse(&file).unwrap();
        assert_eq!(elf.machine(), if cfg!(target_arch = "aarch64") { AARCH64 } else { X86_64 });
        assert!(elf.needed().unwrap().contains(&"libc.so.6"), "{:?}", elf.needed());
        assert_eq!(elf.section(".none"), Some(None));
        assert!(elf.section(".text").unwrap().is_some_and(|text| text.len() > 1000));
        assert_eq!(elf.datum("no_such_symbol"), None);
        let library = Library::read(&file).unwrap();
        assert!(library.needed.contains(&"libc.so.6".to_owned()));
        assert!(numbers(&library.newest_glibc().unwrap()) >= vec![2, 17]);
    }

    #[test]
    fn a_truncated_file_is_elf_and_nothing_in_it_is_found() {
        let file = own();
        let half = Elf::parse(&file[..file.len() / 2]).unwrap();
        assert_eq!(half.section(".text"), None);
        assert_eq!(half.needed(), None);
        assert!(Elf::parse(&file[..60]).is_none());
        assert!(Library::read(&file[..file.len() / 2]).is_err());
        // Of the other byte order, and of 32 bits.
        for (at, value) in [(5, 2), (4, 1)] {
            let mut other = file.clone();
            other[at] = value;
            assert!(Elf::parse(&other).is_none());
        }
    }

    /// A file of many symbols whose names all begin in one string without an end: looked through
    /// once per symbol, it would take hours.
    #[test]
    fn a_symbol_costs_no_more_than_its_name() {
        let (symbols, strings) = (2_000_000, 40 << 20);
        let mut file = vec![0; 0x40];
        file[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
        let mut section = |kind: u32, entry: u64, content: &[u8]| {
            let at = file.len() as u64;
            file.extend_from_slice(content);
            let mut header = vec![0; 64];
            header[4..8].copy_from_slice(&kind.to_le_bytes());
            header[0x18..0x20].copy_from_slice(&at.to_le_bytes());
            header[0x20..0x28].copy_from_slice(&(content.len() as u64).to_le_bytes());
            header[0x28..0x2c].copy_from_slice(&3u32.to_le_bytes());
            header[0x38..0x40].copy_from_slice(&entry.to_le_bytes());
            header
        };
        let needed = [1u64.to_le_bytes(), 0u64.to_le_bytes()].concat();
        let headers = [
            section(0, 0, &[]),
            section(11, 24, &vec![0; 24 * symbols]),
            section(6, 16, &needed.repeat(symbols)),
            section(3, 0, &[&vec![b'a'; strings][..], &[0]].concat()),
        ];
        let at = file.len() as u64;
        headers.iter().for_each(|header| file.extend_from_slice(header));
        file[0x28..0x30].copy_from_slice(&at.to_le_bytes());
        (file[0x34], file[0x3a], file[0x3c], file[0x3e]) = (64, 64, 4, 3);
        let elf = Elf::parse(&file).unwrap();
        assert_eq!(elf.number("plugin_version"), None);
        assert_eq!(elf.section(".pyxis.stamp"), Some(None));
        assert_eq!(elf.needed().unwrap().len(), MOST_TEXTS);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn damaged_files_are_no_panic(
            changes in prop::collection::vec((0..4096_usize, any::<u8>(), any::<bool>()), 1..8),
            cut in 0..4096_usize,
        ) {
            let mut file = own();
            for (place, value, front) in changes {
                let at = if front { place % 64 } else { file.len() - 1 - place };
                file[at] = value;
            }
            file.truncate(file.len() - cut);
            let _ = Library::read(&file);
            if let Some(elf) = Elf::parse(&file) {
                let _ = (elf.section(".text"), elf.datum("x"), elf.number("x"));
                let _ = (elf.needed(), elf.run_paths(), elf.build_id());
            }
        }
    }
}
