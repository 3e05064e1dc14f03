//! Directories' lists: names, sorted, in runs whose inodes are near each other.

use super::WriteError;
use super::tables::{Chain, Place};
use crate::metadata::SIZE;

/// Entries of a run.
const RUN: usize = 256;

/// Where a directory's list is.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) place: Place,
    /// Its bytes.
    pub(super) length: u32,
    /// For a long one, where its parts begin: as the inode has it.
    pub(super) index: Vec<u8>,
    /// Entries of the index.
    pub(super) indexed: u16,
}

/// An entry that is to be written.
pub(super) struct Named<'a> {
    pub(super) name: &'a [u8],
    pub(super) number: u32,
    pub(super) kind: u16,
    pub(super) inode: Place,
}

impl Listing {
    /// Writes the list of a directory, which is sorted.
    pub(super) fn write(
        entries: &[Named<'_>],
        chain: &mut Chain<Vec<u8>>,
    ) -> Result<Listing, WriteError> {
        let mut listing = Listing { place: chain.place()?, ..Listing::default() };
        // The list's first byte in its block: a run that begins in another block is indexed.
        let begin = usize::from(listing.place.offset);
        let mut block = 0;
        let (mut rest, mut bytes) = (entries, Vec::new());
        while let Some(first) = rest.first() {
            let at = listing.length as usize;
            if (begin + at) / SIZE != block {
                block = (begin + at) / SIZE;
                listing.add_to_index(chain.place()?, first.name);
            }
            let count = run(rest, (block + 1) * SIZE - begin - at);
            let (now, later) = rest.split_at(count);
            rest = later;
            bytes.clear();
            for number in [count as u32 - 1, first.inode.block, first.number] {
                bytes.extend(number.to_le_bytes());
            }
            for Named { name, number, kind, inode } in now {
                // Checked by `run`.
                let beyond = number.wrapping_sub(first.number) as i32 as i16;
                bytes.extend(inode.offset.to_le_bytes());
                bytes.extend(beyond.to_le_bytes());
                bytes.extend(kind.to_le_bytes());
                bytes.extend((name.len() as u16 - 1).to_le_bytes());
                bytes.extend_from_slice(name);
            }
            chain.put(&bytes)?;
            let length = listing.length.checked_add(bytes.len() as u32);
            let fits = length.filter(|length| *length < u32::MAX - 3);
            listing.length = fits.ok_or(WriteError::limit(u32::MAX, "bytes of a directory"))?;
        }
        if listing.length as usize <= SIZE {
            (listing.index, listing.indexed) = (Vec::new(), 0);
        }
        Ok(listing)
    }

    fn add_to_index(&mut self, place: Place, name: &[u8]) {
        // What is behind the last entry is looked through.
        if let Some(more) = self.indexed.checked_add(1) {
            self.indexed = more;
            for number in [self.length, place.block, name.len() as u32 - 1] {
                self.index.extend(number.to_le_bytes());
            }
            self.index.extend_from_slice(name);
        }
    }
}

/// How many entries are one run: their inodes are in one block and their numbers near the first
/// one's, and all but the first begin within so many bytes.
fn run(entries: &[Named<'_>], bytes: usize) -> usize {
    let first = &entries[0];
    let mut length = 12;
    let fits = |entry: &&Named<'_>| {
        let begins = length;
        length += 8 + entry.name.len();
        let near = i16::try_from(i64::from(entry.number) - i64::from(first.number));
        entry.inode.block == first.inode.block && near.is_ok() && begins < bytes
    };
    entries.iter().take(RUN).take_while(fits).count().max(1)
}
