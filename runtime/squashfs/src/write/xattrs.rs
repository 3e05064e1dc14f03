//! Extended attributes: what a file has is a set, which several may share; so may sets a value.

use std::collections::HashMap;

use super::digest::{Digest, Keys};
use super::tables::{Chain, End};
use super::tree::NONE;
use super::{Attribute, Options, WriteError, XattrPrefixes};

/// In an attribute's type: its value is stored elsewhere.
const ELSEWHERE: u16 = 0x100;
/// A longer value is stored once. A reference to it takes eight bytes.
const SHORT: usize = 64;
/// What the kernel takes of a value, and of a name.
const LONGEST: usize = 65_536;
const LONGEST_NAME: usize = 255;
/// Bytes of all sets, which wait in memory for the end of the data.
const MOST: u32 = 128 << 20;

pub(super) struct Sets {
    kept: XattrPrefixes,
    keys: Keys,
    known: HashMap<Digest, u32>,
    /// Where long values are.
    values: HashMap<Digest, u64>,
    chain: Chain<Vec<u8>>,
    /// As the table has them: where, how many, bytes.
    sets: Vec<u8>,
    count: u32,
}

impl Sets {
    pub(super) fn new(options: &Options) -> Result<Sets, WriteError> {
        Ok(Sets {
            kept: options.attributes,
            keys: Keys::default(),
            known: HashMap::new(),
            values: HashMap::new(),
            chain: Chain::new(Vec::new(), options.for_tables(), "bytes of attributes")?,
            sets: Vec::new(),
            count: 0,
        })
    }

    /// The number of a set.
    pub(super) fn put(&mut self, path: &[u8], of: &[Attribute]) -> Result<u32, WriteError> {
        let mut set = Vec::new();
        for (name, value) in of {
            let Some((kind, rest)) = self.kept.kind(name) else { continue };
            let problem = match () {
                () if rest.is_empty() => "an extended attribute has no name",
                () if rest.contains(&0) => "an extended attribute's name has a zero byte",
                () if name.len() > LONGEST_NAME => "an extended attribute's name is too long",
                () if value.len() > LONGEST => "an extended attribute has more than 64 KiB",
                () => {
                    set.push((kind, rest, value.as_slice()));
                    continue;
                }
            };
            return Err(WriteError::entry(path, problem));
        }
        if set.is_empty() {
            return Ok(NONE);
        }
        set.sort_unstable();
        if set.windows(2).any(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1)) {
            return Err(WriteError::entry(path, "it has an extended attribute twice"));
        }
        let mut whole = Vec::new();
        for (kind, name, value) in &set {
            whole.extend(kind.to_le_bytes());
            whole.extend((name.len() as u32).to_le_bytes());
            whole.extend_from_slice(name);
            whole.extend((value.len() as u32).to_le_bytes());
            whole.extend_from_slice(value);
        }
        let digest = self.keys.digest(&whole);
        if let Some(number) = self.known.get(&digest) {
            return Ok(*number);
        }
        let number = self.count;
        self.write(&set)?;
        self.known.insert(digest, number);
        Ok(number)
    }

    fn write(&mut self, set: &[(u16, &[u8], &[u8])]) -> Result<(), WriteError> {
        let (place, mut bytes) = (self.chain.place()?, 0);
        for (kind, name, value) in set {
            let long = value.len() > SHORT;
            let digest = long.then(|| self.keys.digest(value));
            let elsewhere = digest.and_then(|digest| self.values.get(&digest).copied());
            let kind = if elsewhere.is_some() { kind | ELSEWHERE } else { *kind };
            self.chain.put(&kind.to_le_bytes())?;
            self.chain.put(&(name.len() as u16).to_le_bytes())?;
            self.chain.put(name)?;
            let here = self.chain.place()?.reference();
            let stored = elsewhere.map(u64::to_le_bytes);
            let stored = stored.as_ref().map_or(*value, |reference| reference.as_slice());
            self.chain.put(&(stored.len() as u32).to_le_bytes())?;
            self.chain.put(stored)?;
            bytes += 8 + name.len() + stored.len();
            if let (Some(digest), None) = (digest, elsewhere) {
                self.values.insert(digest, here);
            }
        }
        if self.chain.length() + self.sets.len() as u64 > u64::from(MOST) {
            return Err(WriteError::limit(MOST, "bytes of extended attributes"));
        }
        self.sets.extend(place.reference().to_le_bytes());
        self.sets.extend((set.len() as u32).to_le_bytes());
        self.sets.extend((bytes as u32).to_le_bytes());
        self.count += 1;
        Ok(())
    }

    /// Writes it all: where the table is, if there is one.
    pub(super) fn finish(self, end: &mut End) -> Result<Option<u64>, WriteError> {
        if self.count == 0 {
            return Ok(None);
        }
        let (start, count) = (end.at(), self.count);
        end.put(&self.chain.finish()?)?;
        let head = |_| [start.to_le_bytes(), u64::from(count).to_le_bytes()].concat();
        end.table(&self.sets, head, "bytes of sets of attributes").map(Some)
    }
}

impl XattrPrefixes {
    /// The number of a name's kind, and the rest of it, if it is kept.
    fn kind<'a>(&self, name: &'a [u8]) -> Option<(u16, &'a [u8])> {
        let kinds = [
            (self.user, &b"user."[..]),
            (self.trusted, &b"trusted."[..]),
            (self.security, &b"security."[..]),
        ];
        let numbered = kinds.iter().zip(0..).filter(|((kept, _), _)| *kept);
        let mut fitting =
            numbered.filter_map(|((_, prefix), kind)| Some((kind, name.strip_prefix(*prefix)?)));
        fitting.next()
    }
}
