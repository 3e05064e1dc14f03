//! Extended attributes.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::inode::{Inode, NONE};
use super::metadata::{Position, SIZE};
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
    pub(super) fn read(file: &File, start: u64) -> Result<Option<Table>> {
        let mut head = [0; 16];
        if start > i64::MAX as u64 - 16 {
            return Err(SquashfsError::Damaged("the place of attributes"));
        }
        file.read_exact_at(&mut head, start).map_err(SquashfsError::Read)?;
        let [entries, rest] = [&head[..8], &head[8..]].map(|part| {
            part.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
        });
        let count = rest as u32;
        Ok((count > 0).then_some(Table { entries, lists: start + 16, count }))
    }
}

impl Image {
    /// The names and values of a file's attributes.
    ///
    /// # Errors
    /// [`SquashfsError`].
    pub fn attributes(&self, inode: &Inode) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let (Some(table), true) = (&self.xattrs, inode.xattr != NONE) else {
            return Ok(Vec::new());
        };
        if inode.xattr >= table.count {
            return Err(SquashfsError::Damaged("the number of a list of attributes"));
        }
        let (block, place) = (inode.xattr as usize * 16 / SIZE, inode.xattr as usize * 16 % SIZE);
        let mut start = [0; 8];
        self.read_at(&mut start, table.lists.saturating_add(block as u64 * 8))?;
        let block = u64::from_le_bytes(start);
        let mut cursor = self.cursor(Position { block, offset: place })?;
        let (reference, count) = (cursor.u64()?, cursor.u32()?);
        if count > MOST_ATTRIBUTES {
            return Err(SquashfsError::Damaged("the number of attributes"));
        }
        let mut cursor = self.cursor(Image::position(table.entries, reference)?)?;
        let (mut attributes, mut names) = (Vec::new(), 0);
        for _ in 0..count {
            let (kind, length) = (cursor.u16()?, cursor.u16()?);
            let prefix: &[u8] = match kind & 0xff {
                0 => b"user.",
                1 => b"trusted.",
                2 => b"security.",
                _ => return Err(SquashfsError::Damaged("the kind of an attribute")),
            };
            let name = [prefix, &cursor.bytes(length.into())?].concat();
            let size = cursor.u32()?;
            let value = if kind & ELSEWHERE == 0 {
                cursor.bytes(value_size(size)?)?
            } else {
                let reference = cursor.u64()?;
                let mut value = self.cursor(Image::position(table.entries, reference)?)?;
                let size = value.u32()?;
                value.bytes(value_size(size)?)?
            };
            names += name.len() as u32 + 1;
            if names > MOST || name.contains(&0) {
                return Err(SquashfsError::Damaged("the names of attributes"));
            }
            attributes.push((name, value));
        }
        Ok(attributes)
    }
}

fn value_size(size: u32) -> Result<usize> {
    if size > MOST {
        return Err(SquashfsError::Damaged("the size of an attribute"));
    }
    Ok(size as usize)
}
