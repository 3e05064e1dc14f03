//! The dynamic linker's cache, `/etc/ld.so.cache`: which libraries there are, and where. Read on the
//! node to find a driver, and in an image to add the driver's libraries to it, as ldconfig(8) would.
//!
//! The format is glibc's own (sysdeps/generic/dl-cache.h): a header, entries in the order of
//! names, strings, and since 2.33 an extension that names the kinds of processors in use.

use std::cmp::Ordering;

const OLD_MAGIC: &[u8] = b"ld.so-1.7.0\0";
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
const EXTENSION_MAGIC: u32 = 0xeaa4_2174;
const TAG_HWCAPS: u32 = 1;
/// Set in `hwcap` where its lower half is a place in the table of kinds of processors.
const OF_TABLE: u64 = 1 << 62;
/// More entries than any node has.
const MOST: usize = 1 << 17;

/// A library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name that programs ask for.
    pub(crate) name: String,
    /// The file.
    pub(crate) path: String,
    /// The kind of machine.
    pub(crate) flags: u32,
    osversion: u32,
    hwcap: u64,
}

impl Entry {
    /// One for every processor of a kind of machine.
    pub(crate) fn new(name: &str, path: &str, flags: u32) -> Entry {
        Entry { name: name.to_owned(), path: path.to_owned(), flags, osversion: 0, hwcap: 0 }
    }

    /// Whether it is a library of 64 bits.
    pub(crate) fn is_wide(&self) -> bool {
        matches!(self.flags & 0xff00, 0x0300 | 0x0500 | 0x0a00 | 0x1000)
    }
}

/// The libraries, in the order of the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Cache {
    pub(crate) entries: Vec<Entry>,
    /// Names of kinds of processors.
    hwcaps: Vec<String>,
}

impl Cache {
    /// Reads a cache. `None` if it is none.
    pub(crate) fn parse(file: &[u8]) -> Option<Cache> {
        let start = match file.starts_with(OLD_MAGIC) {
            // glibc before 2.32 writes both formats, the newer one behind the older one.
            true => {
                let count = word(file, OLD_MAGIC.len())? as usize;
                let end = count.checked_mul(12)?.checked_add(OLD_MAGIC.len() + 4)?;
                end.checked_next_multiple_of(8)?
            }
            false => 0,
        };
        // Places of strings count from here.
        let file = file.get(start..)?;
        if !file.starts_with(MAGIC) {
            return None;
        }
        let count = word(file, MAGIC.len())? as usize;
        if count > MOST {
            return None;
        }
        let table = file.get(HEADER..HEADER.checked_add(count.checked_mul(ENTRY)?)?)?;
        let text = |at: u32| {
            let rest = file.get(at as usize..)?;
            let end = rest.iter().take(4096).position(|byte| *byte == 0)?;
            std::str::from_utf8(&rest[..end]).ok().filter(|text| !text.is_empty())
        };
        let hwcaps = hwcaps(file, &text).unwrap_or_default();
        let entries = table.chunks_exact(ENTRY).filter_map(|entry| {
            let hwcap = u64::from_le_bytes(entry[16..24].try_into().ok()?);
            let known = hwcap & OF_TABLE == 0 || (hwcap as u32 as usize) < hwcaps.len();
            let (name, path) = (text(word(entry, 4)?)?, text(word(entry, 8)?)?);
            known.then_some(Entry {
                name: name.to_owned(),
                path: path.to_owned(),
                flags: word(entry, 0)?,
                osversion: word(entry, 12)?,
                hwcap,
            })
        });
        Some(Cache { entries: entries.collect(), hwcaps })
    }

    /// Adds libraries, to be found before others of the same name; the first of `more` first.
    pub(crate) fn put_first(&mut self, more: Vec<Entry>) {
        let mut all: Vec<Entry> = Vec::with_capacity(more.len() + self.entries.len());
        for entry in more {
            if !all.contains(&entry) {
                all.push(entry);
            }
        }
        all.append(&mut self.entries);
        // Stable: what is first stays first among the same.
        all.sort_by(|one, other| compare(&other.name, &one.name).then(other.flags.cmp(&one.flags)));
        self.entries = all;
    }

    /// The file's contents.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut strings = Vec::new();
        let start = HEADER + self.entries.len() * ENTRY;
        let mut place = |text: &str| {
            let at = (start + strings.len()) as u32;
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
            at
        };
        let mut table = Vec::with_capacity(self.entries.len() * ENTRY);
        for entry in &self.entries {
            for number in [entry.flags, place(&entry.name), place(&entry.path), entry.osversion] {
                table.extend_from_slice(&number.to_le_bytes());
            }
            table.extend_from_slice(&entry.hwcap.to_le_bytes());
        }
        let names: Vec<u32> = self.hwcaps.iter().map(|name| place(name)).collect();
        let extension = match names.is_empty() {
            true => 0,
            false => (start + strings.len()).next_multiple_of(4),
        };
        let mut out = MAGIC.to_vec();
        for number in [self.entries.len() as u32, strings.len() as u32] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        // The file's byte order is told: little endian.
        out.extend_from_slice(&[2, 0, 0, 0]);
        out.extend_from_slice(&(extension as u32).to_le_bytes());
        out.resize(HEADER, 0);
        out.append(&mut table);
        out.append(&mut strings);
        if extension > 0 {
            out.resize(extension, 0);
            let section = (extension + 24) as u32;
            let size = 4 * names.len() as u32;
            for number in
                [EXTENSION_MAGIC, 1, TAG_HWCAPS, 0, section, size].into_iter().chain(names)
            {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        out
    }
}

/// The table of kinds of processors.
fn hwcaps<'a>(file: &'a [u8], text: &dyn Fn(u32) -> Option<&'a str>) -> Option<Vec<String>> {
    let at = word(file, 32)? as usize;
    if at == 0 || word(file, at)? != EXTENSION_MAGIC {
        return None;
    }
    let count = word(file, at.checked_add(4)?)?;
    let section = (0..count.min(64) as usize).find_map(|number| {
        let section = at.checked_add(8 + number * 16)?;
        (word(file, section)? == TAG_HWCAPS).then_some(section)
    })?;
    let (at, size) = (word(file, section + 8)? as usize, word(file, section + 12)? as usize);
    let names = file.get(at..at.checked_add(size)?)?.chunks_exact(4);
    names.map(|name| text(word(name, 0)?).map(str::to_owned)).collect()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// The order in which the dynamic linker searches, numbers within names by their value.
fn compare(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    loop {
        let (first, second) = match (one.first(), other.first()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(first), second) => (*first, second.copied().unwrap_or(0)),
        };
        match (first.is_ascii_digit(), second.is_ascii_digit()) {
            (true, true) => {
                let (left, right) = (digits(&mut one), digits(&mut other));
                if left != right {
                    return left.cmp(&right);
                }
            }
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            (false, false) if first != second => return (first as i8).cmp(&(second as i8)),
            (false, false) => (one, other) = (&one[1..], &other[1..]),
        }
    }
}

/// Takes a number off, as the C code does, whose numbers are of 32 bits.
fn digits(text: &mut &[u8]) -> i32 {
    let mut value = 0_i32;
    while let [digit @ b'0'..=b'9', rest @ ..] = text {
        value = value.wrapping_mul(10).wrapping_add(i32::from(digit - b'0'));
        *text = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    fn sample() -> Cache {
        let mut cache = Cache { entries: Vec::new(), hwcaps: vec!["x86-64-v3".into()] };
        let fast = Entry { hwcap: OF_TABLE, ..Entry::new("libz.so.1", "/lib/v3/libz.so.1", 0x303) };
        cache.put_first(vec![
            fast,
            Entry::new("libz.so.1", "/lib/libz.so.1", 0x303),
            Entry::new("libc.so.6", "/lib/libc.so.6", 0x303),
            Entry::new("libc.so.6", "/lib32/libc.so.6", 0x3),
        ]);
        cache
    }

    fn paths(cache: &Cache, name: &str) -> Vec<String> {
        let named = cache.entries.iter().filter(|entry| entry.name == name);
        named.map(|entry| entry.path.clone()).collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let cache = sample();
        assert_eq!(Cache::parse(&cache.to_bytes()).unwrap(), cache);
        // The way of older releases: both formats in one file.
        let mut both = OLD_MAGIC.to_vec();
        both.extend_from_slice(&1_u32.to_le_bytes());
        both.extend_from_slice(&[0; 12]);
        both.resize(both.len().next_multiple_of(8), 0);
        both.extend_from_slice(&cache.to_bytes());
        assert_eq!(Cache::parse(&both).unwrap(), cache);
        assert!(Cache::parse(b"").is_none());
        assert!(Cache::parse(b"something else").is_none());
    }

    #[test]
    fn what_is_added_is_found_first() {
        let mut cache = sample();
        let ours = Entry::new("libz.so.1", "/driver/libz.so.1", 0x303);
        cache.put_first(vec![
            ours.clone(),
            Entry::new("libcuda.so.1", "/driver/libcuda.so.1", 0x303),
            ours,
        ]);
        assert_eq!(
            paths(&cache, "libz.so.1"),
            ["/driver/libz.so.1", "/lib/v3/libz.so.1", "/lib/libz.so.1"]
        );
        assert_eq!(paths(&cache, "libcuda.so.1"), ["/driver/libcuda.so.1"]);
        assert_eq!(paths(&cache, "libc.so.6"), ["/lib/libc.so.6", "/lib32/libc.so.6"]);
    }

    #[test]
    fn numbers_in_names_count_by_value() {
        for (one, other, expected) in [
            ("libx.so.10", "libx.so.9", Ordering::Greater),
            ("libx.so.1", "libx.so.1", Ordering::Equal),
            ("liba.so", "libb.so", Ordering::Less),
            ("lib1.so", "liba.so", Ordering::Greater),
            ("libx.so", "libx.so.1", Ordering::Less),
        ] {
            assert_eq!(compare(one, other), expected, "{one} {other}");
            assert_eq!(compare(other, one), expected.reverse(), "{other} {one}");
        }
    }

    /// The machine's own cache: read, in the order that is ours, and written so that the machine's
    /// ldconfig reads the same.
    #[test]
    fn the_machines_own_cache_and_ldconfig() {
        let ldconfig = |cache: &str| {
            let output = Command::new("/sbin/ldconfig").args(["-p", "-C", cache]).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let text = String::from_utf8(output.stdout).unwrap();
            // The last line says who made the file.
            text.lines()
                .skip(1)
                .filter(|line| line.starts_with('\t'))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let have = std::fs::read("/etc/ld.so.cache").expect("no ld.so.cache");
        let mut cache = Cache::parse(&have).unwrap();
        assert!(cache.entries.iter().any(|entry| entry.name == "libc.so.6"));
        let in_order = |cache: &Cache| {
            cache.entries.windows(2).all(|pair| compare(&pair[0].name, &pair[1].name).is_ge())
        };
        assert!(in_order(&cache));
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        std::fs::write(path, cache.to_bytes()).unwrap();
        assert_eq!(ldconfig(path), ldconfig("/etc/ld.so.cache"));
        cache.put_first(vec![Entry::new("libcuda.so.1", "/driver/libcuda.so.1", 0x303)]);
        assert!(in_order(&cache));
        std::fs::write(path, cache.to_bytes()).unwrap();
        let line = "\tlibcuda.so.1 (libc6,x86-64) => /driver/libcuda.so.1";
        assert!(ldconfig(path).iter().any(|have| have == line));
    }

    proptest! {
        #[test]
        fn no_change_of_a_cache_panics(
            at in 0usize..500, with in prop::collection::vec(any::<u8>(), 0..12), cut in 0usize..600,
        ) {
            let mut bytes = sample().to_bytes();
            let at = at.min(bytes.len());
            let end = (at + with.len()).min(bytes.len());
            bytes.splice(at..end, with);
            bytes.truncate(cut);
            if let Some(cache) = Cache::parse(&bytes) {
                prop_assert_eq!(Cache::parse(&cache.to_bytes()).unwrap(), cache);
            }
        }
    }
}
