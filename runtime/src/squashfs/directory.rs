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
    /// Where the list goes on behind it.
    pub next: Cookie,
}

/// A place in a directory's list: where its run begins, and entries of that run to pass over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cookie {
    run: u32,
    entry: u16,
}

impl Cookie {
    /// For the kernel to keep.
    pub fn number(self) -> u64 {
        u64::from(self.run) << 16 | u64::from(self.entry)
    }

    /// Of what [`Cookie::number`] has given.
    pub fn of(number: u64) -> Cookie {
        Cookie { run: (number >> 16) as u32, entry: number as u16 }
    }
}

/// The entries of a directory.
pub struct Listing<'a> {
    cursor: Cursor<'a>,
    length: u32,
    /// Bytes of the list so far.
    at: u32,
    /// Where the run began, and entries of it so far and in all.
    run: u32,
    entry: u16,
    entries: u16,
    start: u32,
    number: u32,
}

impl Image {
    /// The entries from a place on.
    ///
    /// # Errors
    /// [`SquashfsError`].
    pub fn list(&self, directory: &Directory, from: Cookie) -> Result<Listing<'_>> {
        let at = self.listing_position(directory)?;
        let mut listing = self.listing(directory, at, 0)?;
        if from.run > directory.length {
            return Err(SquashfsError::Damaged("a place in a directory"));
        }
        listing.cursor.skip(if directory.length == 0 { 0 } else { from.run as usize })?;
        listing.at = from.run;
        for _ in 0..from.entry {
            listing.advance()?;
        }
        Ok(listing)
    }

    /// The entry of a name.
    ///
    /// # Errors
    /// [`SquashfsError`].
    pub fn lookup(&self, directory: &Directory, name: &[u8]) -> Result<Option<Entry>> {
        let (at, passed) = self.nearest(directory, name)?;
        let mut listing = self.listing(directory, at, passed)?;
        while let Some(entry) = listing.advance()? {
            match entry.name.as_slice().cmp(name) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(Some(entry)),
                std::cmp::Ordering::Greater => break,
            }
        }
        Ok(None)
    }

    /// Where the run with a name is at the earliest, by the index of a large directory, and the
    /// bytes of the list before it.
    fn nearest(&self, directory: &Directory, name: &[u8]) -> Result<(Position, u32)> {
        let first = self.listing_position(directory)?;
        let mut nearest = (first, 0);
        let (count, index) = directory.index;
        if count == 0 {
            return Ok(nearest);
        }
        let mut cursor = self.cursor(index)?;
        for _ in 0..count {
            let (passed, start, length) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
            if length > 255 {
                return Err(SquashfsError::Damaged("the index of a directory"));
            }
            if cursor.bytes(length as usize + 1)?.as_slice() > name {
                break;
            }
            let block = Image::position(self.directories, u64::from(start) << 16)?.block;
            let offset = (passed as usize + first.offset) % SIZE;
            nearest = (Position { block, offset }, passed);
        }
        Ok(nearest)
    }

    fn listing_position(&self, directory: &Directory) -> Result<Position> {
        let reference = u64::from(directory.start) << 16 | u64::from(directory.offset);
        Image::position(self.directories, reference)
    }

    fn listing(&self, directory: &Directory, at: Position, passed: u32) -> Result<Listing<'_>> {
        // An empty directory's place may be behind the end.
        let at = if directory.length == 0 { Image::position(self.inodes, self.root)? } else { at };
        Ok(Listing {
            cursor: self.cursor(at)?,
            length: directory.length,
            at: passed,
            run: passed,
            entry: 0,
            entries: 0,
            start: 0,
            number: 0,
        })
    }
}

impl Listing<'_> {
    fn advance(&mut self) -> Result<Option<Entry>> {
        if self.entry == self.entries {
            if self.at >= self.length {
                return Ok(None);
            }
            (self.run, self.entry) = (self.at, 0);
            let count = self.cursor.u32()?;
            (self.start, self.number) = (self.cursor.u32()?, self.cursor.u32()?);
            if count > 255 {
                return Err(SquashfsError::Damaged("the length of a run of names"));
            }
            self.entries = count as u16 + 1;
            self.at += 12;
        }
        let offset = self.cursor.u16()?;
        let number =
            self.number.wrapping_add_signed(self.cursor.take().map(i16::from_le_bytes)?.into());
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
        self.entry += 1;
        let next = match self.entry == self.entries {
            true => Cookie { run: self.at, entry: 0 },
            false => Cookie { run: self.run, entry: self.entry },
        };
        let reference = u64::from(self.start) << 16 | u64::from(offset);
        Ok(Some(Entry { name, reference, number, kind: u32::from(kind), next }))
    }
}

impl Iterator for Listing<'_> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        self.advance().transpose()
    }
}
