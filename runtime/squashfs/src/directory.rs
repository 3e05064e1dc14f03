//! Directories: lists of names, sorted, in runs whose inodes are near each other.

use super::inode::Directory;
use super::metadata::{Cursor, Position, SIZE};
use super::{Image, Result, SquashfsError};

/// What a directory says of a file in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// One component of a path.
    pub name: Vec<u8>,
    /// Where its inode is.
    pub reference: u64,
    /// The inode's number.
    pub number: u32,
    /// The kind of file, as `d_type` has it.
    pub kind: u32,
    /// Where the list goes on behind it, in bytes.
    pub next: u32,
}

/// The entries of a directory.
pub struct Listing<'a> {
    cursor: Cursor<'a>,
    length: u32,
    /// Bytes of the list so far.
    at: u32,
    /// Entries of the run that are still to come.
    left: u32,
    start: u32,
    number: u32,
}

impl Image {
    /// The entries from a place on: 0, or what an entry has said.
    ///
    /// # Errors
    /// [`SquashfsError`].
    pub fn list(&self, directory: &Directory, from: u32) -> Result<Listing<'_>> {
        let mut listing = self.nearest(directory, |before, _| before <= from)?;
        while listing.at < from && listing.advance()?.is_some() {}
        Ok(listing)
    }

    /// The entry of a name.
    ///
    /// # Errors
    /// [`SquashfsError`].
    pub fn lookup(&self, directory: &Directory, name: &[u8]) -> Result<Option<Entry>> {
        let mut listing = self.nearest(directory, |_, first| first <= name)?;
        while let Some(entry) = listing.advance()? {
            match entry.name.as_slice().cmp(name) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(Some(entry)),
                std::cmp::Ordering::Greater => break,
            }
        }
        Ok(None)
    }

    /// The list from the last run of the index, which large directories have, that is still wanted:
    /// by the bytes of the list before it and its first name.
    fn nearest(
        &self,
        directory: &Directory,
        wanted: impl Fn(u32, &[u8]) -> bool,
    ) -> Result<Listing<'_>> {
        let first = self.listing_position(directory)?;
        let mut nearest = (first, 0);
        let (count, index) = directory.index;
        if count > 0 {
            let mut cursor = self.cursor(index)?;
            for _ in 0..count {
                let (before, start, length) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
                if length > 255 {
                    return Err(SquashfsError::Damaged("the index of a directory"));
                }
                if !wanted(before, &cursor.bytes(length as usize + 1)?) {
                    break;
                }
                let block = Image::position(self.directories, u64::from(start) << 16)?.block;
                let offset = (before as usize + first.offset) % SIZE;
                nearest = (Position { block, offset }, before);
            }
        }
        self.listing(directory, nearest.0, nearest.1)
    }

    fn listing_position(&self, directory: &Directory) -> Result<Position> {
        let reference = u64::from(directory.start) << 16 | u64::from(directory.offset);
        Image::position(self.directories, reference)
    }

    fn listing(&self, directory: &Directory, at: Position, before: u32) -> Result<Listing<'_>> {
        let length = directory.length;
        // An empty directory's place may be behind the end.
        let at = if length == 0 { Image::position(self.inodes, self.root)? } else { at };
        let cursor = self.cursor(at)?;
        Ok(Listing { cursor, length, at: before, left: 0, start: 0, number: 0 })
    }
}

impl Listing<'_> {
    fn advance(&mut self) -> Result<Option<Entry>> {
        if self.left == 0 {
            if self.at >= self.length {
                return Ok(None);
            }
            let count = self.cursor.u32()?;
            (self.start, self.number) = (self.cursor.u32()?, self.cursor.u32()?);
            if count > 255 {
                return Err(SquashfsError::Damaged("the length of a run of names"));
            }
            self.left = count + 1;
            self.at = self.at.saturating_add(12);
        }
        self.left -= 1;
        let offset = self.cursor.u16()?;
        let beyond = self.cursor.take().map(i16::from_le_bytes)?;
        let number = self.number.wrapping_add_signed(beyond.into());
        let kind = match self.cursor.u16()? {
            1 | 8 => nix::libc::DT_DIR,
            2 | 9 => nix::libc::DT_REG,
            3 | 10 => nix::libc::DT_LNK,
            4 | 11 => nix::libc::DT_BLK,
            5 | 12 => nix::libc::DT_CHR,
            6 | 13 => nix::libc::DT_FIFO,
            7 | 14 => nix::libc::DT_SOCK,
            _ => return Err(SquashfsError::Damaged("the type of a directory entry")),
        };
        let length = self.cursor.u16()?;
        if length > 255 {
            return Err(SquashfsError::Damaged("the length of a name"));
        }
        let name = self.cursor.bytes(usize::from(length) + 1)?;
        if matches!(name.as_slice(), b"." | b"..") || name.contains(&b'/') || name.contains(&0) {
            return Err(SquashfsError::Damaged("a name"));
        }
        self.at = self.at.saturating_add(8 + u32::from(length) + 1);
        let reference = u64::from(self.start) << 16 | u64::from(offset);
        Ok(Some(Entry { name, reference, number, kind: u32::from(kind), next: self.at }))
    }
}

impl Iterator for Listing<'_> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        self.advance().transpose()
    }
}
