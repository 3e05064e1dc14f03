//! Extended attributes.

use super::inode::{Inode, NONE};
use super::metadata::{Cursor, Position, SIZE};
use super::{Image, Result, SquashfsError};

/// In an attribute's type: its value is stored elsewhere, with another's that is the same.
const ELSEWHERE: u16 = 0x100;
/// What the kernel takes of a value, and of a list of names.
const MOST: u32 = 65536;
/// Attributes of a file at most, that a lie about them costs little.
const MOST_ATTRIBUTES: u32 = 65536;

/// Where attributes are.
pub(super) struct Table {
    /// Names and values.
    entries: u64,
    /// What each file has, by number.
    lists: u64,
    count: u32,
}

impl Table {
    /// `None` for one that is empty, as some programs write it.
    pub(super) fn read(image: &Image, start: u64) -> Result<Option<Table>> {
        let mut head = [0; 16];
        if start > i64::MAX as u64 - 16 {
            return Err(SquashfsError::Damaged("the place of attributes"));
        }
        image.read_at(&mut head, start)?;
        let [entries, rest] = [&head[..8], &head[8..]].map(|part| {
            part.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
        });
        let count = rest as u32;
        Ok((count > 0).then_some(Table { entries, lists: start + 16, count }))
    }
}

/// The attributes of a file, one after the other.
struct List<'a> {
    cursor: Cursor<'a>,
    left: u32,
    /// Bytes of a value that nobody has read.
    pending: usize,
}

/// What is said of a value before it.
struct Value {
    elsewhere: bool,
    size: usize,
}

impl Image {
    /// The names of a file's attributes, each with a zero behind it.
    ///
    /// # Errors
    /// [`SquashfsError`].
    pub fn attribute_names(&self, inode: &Inode) -> Result<Vec<u8>> {
        let mut names = Vec::new();
        let Some((_, mut list)) = self.attribute_list(inode)? else { return Ok(names) };
        while let Some((name, _)) = list.advance()? {
            names.extend(name);
            names.push(0);
            if names.len() > MOST as usize {
                return Err(SquashfsError::Damaged("the names of attributes"));
            }
        }
        Ok(names)
    }

    /// The value of one.
    ///
    /// # Errors
    /// [`SquashfsError`].
    pub fn attribute(&self, inode: &Inode, wanted: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some((table, mut list)) = self.attribute_list(inode)? else { return Ok(None) };
        while let Some((name, value)) = list.advance()? {
            if name != wanted {
                continue;
            }
            if !value.elsewhere {
                return list.cursor.bytes(value.size).map(Some);
            }
            let reference = list.cursor.u64()?;
            let mut cursor = self.cursor(Image::position(table.entries, reference)?)?;
            let size = value_size(cursor.u32()?)?;
            return cursor.bytes(size).map(Some);
        }
        Ok(None)
    }

    fn attribute_list(&self, inode: &Inode) -> Result<Option<(&Table, List<'_>)>> {
        let (Some(table), true) = (&self.xattrs, inode.xattr != NONE) else { return Ok(None) };
        if inode.xattr >= table.count {
            return Err(SquashfsError::Damaged("the number of a list of attributes"));
        }
        let (block, place) = (inode.xattr as usize * 16 / SIZE, inode.xattr as usize * 16 % SIZE);
        let mut start = [0; 8];
        self.read_at(&mut start, table.lists.saturating_add(block as u64 * 8))?;
        let block = u64::from_le_bytes(start);
        let mut cursor = self.cursor(Position { block, offset: place })?;
        let (reference, left) = (cursor.u64()?, cursor.u32()?);
        let cursor = self.cursor(Image::position(table.entries, reference)?)?;
        if left > MOST_ATTRIBUTES {
            return Err(SquashfsError::Damaged("the number of attributes"));
        }
        Ok(Some((table, List { cursor, left, pending: 0 })))
    }
}

impl List<'_> {
    /// The next name; the cursor is at its value.
    fn advance(&mut self) -> Result<Option<(Vec<u8>, Value)>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.cursor.skip(std::mem::take(&mut self.pending))?;
        let (kind, length) = (self.cursor.u16()?, self.cursor.u16()?);
        let prefix: &[u8] = match kind & 0xff {
            0 => b"user.",
            1 => b"trusted.",
            2 => b"security.",
            _ => return Err(SquashfsError::Damaged("the kind of an attribute")),
        };
        let name = [prefix, &self.cursor.bytes(length.into())?].concat();
        if name.contains(&0) {
            return Err(SquashfsError::Damaged("the name of an attribute"));
        }
        self.pending = value_size(self.cursor.u32()?)?;
        Ok(Some((name, Value { elsewhere: kind & ELSEWHERE != 0, size: self.pending })))
    }
}

fn value_size(size: u32) -> Result<usize> {
    if size > MOST {
        return Err(SquashfsError::Damaged("the size of an attribute"));
    }
    Ok(size as usize)
}
