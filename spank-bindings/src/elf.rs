//! What a 64-bit ELF file of this machine's byte order says of itself, from its section headers:
//! enough to know a Slurm plugin without loading it.
//!
//! Everything returns `None` where the file ends before its own tables do.

/// SHT_DYNSYM and SHT_DYNAMIC.
const DYNAMIC_SYMBOLS: usize = 11;
const DYNAMIC: usize = 6;
/// SHT_NOBITS: zeroes, which take no place in the file.
const NO_BITS: usize = 8;
/// DT_NEEDED: a library it needs.
pub const NEEDED: usize = 1;
/// DT_RPATH and DT_RUNPATH: where those are looked for.
pub const RUNPATHS: [usize; 2] = [15, 29];

/// An ELF file.
#[derive(Debug, Clone, Copy)]
pub struct Elf<'a> {
    file: &'a [u8],
    /// e_shoff, e_shentsize, e_shnum
    headers: usize,
    size: usize,
    count: usize,
}

/// A section header, by its place in the file.
#[derive(Debug, Clone, Copy)]
struct Section(usize);

impl<'a> Elf<'a> {
    /// `None` if this is no such file.
    pub fn parse(file: &'a [u8]) -> Option<Elf<'a>> {
        // e_ident: magic, 64 bits, this machine's byte order.
        let order = if cfg!(target_endian = "little") { 1 } else { 2 };
        if file.get(..6)? != [0x7f, b'E', b'L', b'F', 2, order] {
            return None;
        }
        let (headers, size) = (number::<8>(file, 0x28)?, number::<2>(file, 0x3a)?);
        Some(Elf { file, headers, size, count: number::<2>(file, 0x3c)? })
    }

    /// e_machine: 62 is x86_64, 183 aarch64.
    pub fn machine(&self) -> Option<usize> {
        number::<2>(self.file, 0x12)
    }

    /// The bytes of the section called `name`; `Some(None)` if there is none.
    pub fn section(&self, name: &str) -> Option<Option<&'a [u8]>> {
        let names = self.content(self.header(number::<2>(self.file, 0x3e)?)?)?; // e_shstrndx
        for index in 0..self.count {
            let section = self.header(index)?;
            let at = number::<4>(self.file, section.0)?; // sh_name
            if c_string(names, at)? == name.as_bytes() {
                return self.content(section).map(Some);
            }
        }
        Some(None)
    }

    /// The bytes of an exported datum; `None` too if they are all zero and not in the file.
    pub fn datum(&self, name: &str) -> Option<&'a [u8]> {
        let (section, start, size) = self.symbol(name)?;
        self.content(section)?.get(start..start.checked_add(size)?)
    }

    /// The same, as an `unsigned int`.
    pub fn number(&self, name: &str) -> Option<u32> {
        let (section, _, size) = self.symbol(name)?;
        if self.kind(section) == Some(NO_BITS) {
            return (size == size_of::<u32>()).then_some(0);
        }
        Some(u32::from_ne_bytes(self.datum(name)?.try_into().ok()?))
    }

    /// An exported symbol: its section, its place in there and its size.
    fn symbol(&self, name: &str) -> Option<(Section, usize, usize)> {
        let table = self.of_type(DYNAMIC_SYMBOLS)?;
        let names = self.linked(table)?;
        let mut symbols = self.content(table)?.chunks_exact(24);
        let symbol = symbols.find(|symbol| {
            let named = number::<4>(symbol, 0).and_then(|at| c_string(names, at));
            named == Some(name.as_bytes())
        })?;
        // st_shndx 0: it is somebody else's.
        let index = number::<2>(symbol, 6).filter(|index| *index != 0)?;
        let section = self.header(index)?;
        let (address, size) = (number::<8>(symbol, 8)?, number::<8>(symbol, 16)?);
        Some((section, address.checked_sub(self.value(section, 0x10)?)?, size)) // sh_addr
    }

    /// The texts of the dynamic section under that tag.
    pub fn dynamic(&self, tag: usize) -> Option<Vec<&'a str>> {
        let table = self.of_type(DYNAMIC)?;
        let names = self.linked(table)?;
        let entries = self.content(table)?.chunks_exact(16);
        let texts = entries.filter(|entry| number::<8>(entry, 0) == Some(tag));
        texts
            .map(|entry| std::str::from_utf8(c_string(names, number::<8>(entry, 8)?)?).ok())
            .collect()
    }

    fn header(&self, index: usize) -> Option<Section> {
        self.headers.checked_add(index.checked_mul(self.size)?).map(Section)
    }

    fn of_type(&self, wanted: usize) -> Option<Section> {
        let mut sections = (0..self.count).filter_map(|index| self.header(index));
        sections.find(|section| self.kind(*section) == Some(wanted))
    }

    fn kind(&self, section: Section) -> Option<usize> {
        number::<4>(self.file, section.0.checked_add(4)?) // sh_type
    }

    /// The strings that belong to a section.
    fn linked(&self, section: Section) -> Option<&'a [u8]> {
        let index = number::<4>(self.file, section.0.checked_add(0x28)?)?; // sh_link
        self.content(self.header(index)?)
    }

    fn content(&self, section: Section) -> Option<&'a [u8]> {
        if self.kind(section)? == NO_BITS {
            return Some(&[]);
        }
        let start = self.value(section, 0x18)?; // sh_offset
        self.file.get(start..start.checked_add(self.value(section, 0x20)?)?) // sh_size
    }

    fn value(&self, section: Section, at: usize) -> Option<usize> {
        number::<8>(self.file, section.0.checked_add(at)?)
    }
}

/// The bytes up to a NUL.
fn c_string(strings: &[u8], at: usize) -> Option<&[u8]> {
    strings.get(at..)?.split(|byte| *byte == 0).next()
}

/// An unsigned number of `N` bytes.
fn number<const N: usize>(file: &[u8], at: usize) -> Option<usize> {
    let mut bytes = [0; 8];
    let place = if cfg!(target_endian = "little") { 0 } else { 8 - N };
    bytes[place..place + N].copy_from_slice(file.get(at..at.checked_add(N)?)?);
    usize::try_from(u64::from_ne_bytes(bytes)).ok()
}
