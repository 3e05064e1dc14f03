//! Changes the header of an rpm. The rpm crate, in its newest version for our Rust, writes some tags as it sees fit and others not
//! at all; the format: <https://rpm-software-management.github.io/rpm/manual/format_v4.html>.

use super::debug::hex;
use rpm::{IndexSignatureTag, IndexTag};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Bytes before the signature header.
const LEAD: usize = 96;
/// Bytes of a header before its index, and of each entry there.
const INTRO: usize = 16;
const ENTRY: usize = 16;
/// The tags that span all others, in the signature header and in the other.
const REGIONS: [u32; 2] = [62, 63];

/// Kinds of values.
const INT32: u32 = 4;
const STRING: u32 = 6;
const STRINGS: u32 = 8;
const LOCAL_STRINGS: u32 = 9;
const BYTES: u32 = 7;

/// The number of a tag, of one header or the other.
pub(super) trait Tag {
    fn number(self) -> u32;
}

impl Tag for IndexTag {
    fn number(self) -> u32 {
        self as u32
    }
}

impl Tag for IndexSignatureTag {
    fn number(self) -> u32 {
        self as u32
    }
}

/// Tags and their values.
#[derive(Debug)]
pub(super) struct Header {
    region: u32,
    entries: BTreeMap<u32, Value>,
}

#[derive(Debug)]
struct Value {
    kind: u32,
    count: u32,
    bytes: Vec<u8>,
}

impl Header {
    pub(super) fn string(&mut self, tag: impl Tag, text: &str) {
        self.put(tag, STRING, 1, [text.as_bytes(), b"\0"].concat());
    }

    /// In the one language there is.
    pub(super) fn local_string(&mut self, tag: impl Tag, text: &str) {
        self.put(tag, LOCAL_STRINGS, 1, [text.as_bytes(), b"\0"].concat());
    }

    pub(super) fn strings<'a>(
        &mut self,
        tag: impl Tag,
        texts: impl Iterator<Item = &'a str> + Clone,
    ) {
        let bytes = texts.clone().flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect();
        self.put(tag, STRINGS, texts.count(), bytes);
    }

    pub(super) fn numbers(&mut self, tag: impl Tag, numbers: &[u32]) {
        let bytes = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
        self.put(tag, INT32, numbers.len(), bytes);
    }

    pub(super) fn remove(&mut self, tag: impl Tag) {
        self.entries.remove(&tag.number());
    }

    fn put(&mut self, tag: impl Tag, kind: u32, count: usize, bytes: Vec<u8>) {
        let count = u32::try_from(count).expect("fewer than 2^32 values");
        self.entries.insert(tag.number(), Value { kind, count, bytes });
    }

    /// Of a header's bytes, which are those that the crate wrote.
    fn read(bytes: &[u8]) -> Header {
        let store = &bytes[INTRO + count(bytes) * ENTRY..];
        let (mut region, mut entries) = (0, BTreeMap::new());
        for entry in bytes[INTRO..].chunks_exact(ENTRY).take(count(bytes)) {
            let [tag, kind, offset, count] = [0, 4, 8, 12].map(|at| be32(entry, at));
            if REGIONS.contains(&tag) {
                region = tag;
                continue;
            }
            let from = &store[offset as usize..];
            let bytes = from[..length(kind, count as usize, from)].to_vec();
            entries.insert(tag, Value { kind, count, bytes });
        }
        Header { region, entries }
    }

    fn write(&self) -> Vec<u8> {
        let (mut index, mut store) = (Vec::new(), Vec::new());
        let mut add = |fields: [u32; 4]| index.extend(fields.map(u32::to_be_bytes).concat());
        let number = |length: usize| u32::try_from(length).expect("a header is less than 4 GiB");
        let values: usize = self
            .entries
            .values()
            .fold(0, |at, v| at.next_multiple_of(width(v.kind)) + v.bytes.len());
        // First the region, whose value comes last: an entry itself, which leads back over the whole index.
        add([self.region, BYTES, number(values), number(ENTRY)]);
        for (tag, value) in &self.entries {
            store.resize(store.len().next_multiple_of(width(value.kind)), 0);
            add([*tag, value.kind, number(store.len()), value.count]);
            store.extend(&value.bytes);
        }
        let back = number((self.entries.len() + 1) * ENTRY).wrapping_neg();
        store.extend([self.region, BYTES, back, number(ENTRY)].map(u32::to_be_bytes).concat());
        let sizes = [number(index.len() / ENTRY), number(store.len())].map(u32::to_be_bytes);
        [b"\x8e\xad\xe8\x01\0\0\0\0", sizes.concat().as_slice(), &index, &store].concat()
    }
}

/// The rpm with another header, and digests that fit it.
pub(super) fn change(rpm: &[u8], change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let start = LEAD + size(&rpm[LEAD..]).next_multiple_of(8);
    let end = start + size(&rpm[start..]);
    let (mut signature, mut header) = (Header::read(&rpm[LEAD..]), Header::read(&rpm[start..end]));
    let payload = &rpm[end..];
    change(&mut header);
    let bytes = header.write();
    signature.string(IndexSignatureTag::RPMSIGTAG_SHA256, &hex(&Sha256::digest(&bytes)));
    // Of rpm 6, which does without.
    signature.remove(IndexSignatureTag::RPMSIGTAG_SHA3_256);
    let size = u32::try_from(bytes.len() + payload.len()).expect("less than 4 GiB");
    signature.numbers(IndexSignatureTag::RPMSIGTAG_SIZE, &[size]);
    let mut signature = signature.write();
    signature.resize(signature.len().next_multiple_of(8), 0);
    [&rpm[..LEAD], &signature, &bytes, payload].concat()
}

/// Bytes of the header that begins here.
fn size(bytes: &[u8]) -> usize {
    INTRO + count(bytes) * ENTRY + be32(bytes, 12) as usize
}

fn count(bytes: &[u8]) -> usize {
    be32(bytes, 8) as usize
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Bytes of a number of this kind; 1 for what is no number.
fn width(kind: u32) -> usize {
    match kind {
        3 => 2,
        INT32 => 4,
        5 => 8,
        _ => 1,
    }
}

fn length(kind: u32, count: usize, from: &[u8]) -> usize {
    match kind {
        STRING | STRINGS | LOCAL_STRINGS => {
            from.split_inclusive(|byte| *byte == 0).take(count).map(<[u8]>::len).sum()
        }
        _ => count * width(kind),
    }
}
