//! What an ELF file says of itself.

use object::Endianness;
use object::elf;
use object::read::elf::{Dyn, ElfFile64, SectionHeader, Sym};
use std::collections::BTreeSet;

/// The parts of a shared library that the checks need.
#[derive(Debug, Default)]
pub(crate) struct Library {
    /// Symbols it offers.
    pub(crate) exports: BTreeSet<String>,
    /// Symbols it must get from somewhere and that have no version: not the C library's.
    pub(crate) wants: BTreeSet<String>,
    /// Versions it needs of the C library and its like, `GLIBC_2.34`.
    pub(crate) versions: BTreeSet<String>,
    /// Libraries it needs.
    pub(crate) needed: Vec<String>,
    /// DF_1_NODELETE: it stays when it is closed.
    pub(crate) nodelete: bool,
    /// It has a symbol table for debuggers, which only makes it larger.
    pub(crate) unstripped: bool,
}

/// Reads a shared library.
pub(crate) fn library(file: &[u8]) -> object::Result<Library> {
    let elf = ElfFile64::<Endianness>::parse(file)?;
    let (endian, table) = (elf.endian(), elf.elf_section_table());
    let mut found = Library::default();

    let strings = table.symbols(endian, file, elf::SHT_DYNSYM)?;
    let versions = table.versions(endian, file)?;
    for (index, symbol) in strings.enumerate() {
        let name = String::from_utf8_lossy(symbol.name(endian, strings.strings())?).into_owned();
        if name.is_empty() {
            continue;
        }
        if !symbol.is_undefined(endian) {
            found.exports.insert(name);
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
            None => {
                found.wants.insert(name);
            }
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
                elf::DT_FLAGS_1 => found.nodelete = entry.val(endian) & elf::DF_1_NODELETE.0 != 0,
                _ => {}
            }
        }
    }
    found.unstripped = table.iter().any(|s| s.sh_type(endian) == elf::SHT_SYMTAB);
    Ok(found)
}
