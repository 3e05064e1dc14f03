//! Metadata: a chain of blocks of 8 KiB, each packed by itself.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::cache::Weight;
use super::{Image, Result, SquashfsError};

/// Bytes of a block, unpacked; only the last of a chain has fewer.
pub(super) const SIZE: usize = 8192;
/// In a block's length: it is not packed.
const PLAIN: u16 = 0x8000;

/// A block, unpacked.
pub(super) struct Metadata {
    bytes: Vec<u8>,
    /// Where the next one is in the file.
    next: u64,
}

impl Weight for Metadata {
    fn weight(&self) -> usize {
        self.bytes.capacity()
    }
}

/// A place in the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Where the block is in the file.
    pub(super) block: u64,
    /// Bytes into it.
    pub(super) offset: usize,
}

/// Reads metadata from a position on.
pub(super) struct Cursor<'a> {
    image: &'a Image,
    block: Arc<Metadata>,
    at: Position,
}

impl Image {
    pub(super) fn cursor(&self, at: Position) -> Result<Cursor<'_>> {
        Ok(Cursor { image: self, block: self.block(at.block)?, at })
    }

    fn block(&self, start: u64) -> Result<Arc<Metadata>> {
        self.metadata.get(start, || {
            let mut length = [0; 2];
            self.read_at(&mut length, start)?;
            let length = u16::from_le_bytes(length);
            let (plain, length) = (length & PLAIN != 0, usize::from(length & !PLAIN));
            if length == 0 || length > SIZE {
                return Err(SquashfsError::Damaged("the length of a metadata block"));
            }
            let mut bytes = vec![0; length];
            self.read_at(&mut bytes, start + 2)?;
            if !plain {
                bytes = self.codec.unpack(&bytes, SIZE)?;
            }
            Ok(Metadata { bytes, next: start + 2 + length as u64 })
        })
    }

    /// Fills `bytes` from the file.
    pub(super) fn read_at(&self, bytes: &mut [u8], at: u64) -> Result<()> {
        if at > i64::MAX as u64 - (2 << 20) {
            return Err(SquashfsError::Damaged("a position behind the end"));
        }
        if at + bytes.len() as u64 > self.extent.length {
            return Err(SquashfsError::Damaged("it ends too early"));
        }
        self.file.read_exact_at(bytes, self.extent.start + at).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => SquashfsError::Damaged("it ends too early"),
            _ => SquashfsError::Read(error),
        })
    }
}

impl Cursor<'_> {
    /// Where it is.
    pub(super) fn position(&self) -> Position {
        self.at
    }

    /// Fills `bytes`.
    pub(super) fn read(&mut self, mut bytes: &mut [u8]) -> Result<()> {
        while !bytes.is_empty() {
            let rest = self.rest()?;
            let count = rest.len().min(bytes.len());
            let (now, later) = bytes.split_at_mut(count);
            now.copy_from_slice(&rest[..count]);
            bytes = later;
            self.at.offset += count;
        }
        Ok(())
    }

    /// Passes over bytes.
    pub(super) fn skip(&mut self, mut count: usize) -> Result<()> {
        while count > 0 {
            let step = self.rest()?.len().min(count);
            count -= step;
            self.at.offset += step;
        }
        Ok(())
    }

    /// What is left of the block, or all of the next one.
    fn rest(&mut self) -> Result<&[u8]> {
        if self.at.offset == self.block.bytes.len() {
            let next = self.block.next;
            self.block = self.image.block(next)?;
            self.at = Position { block: next, offset: 0 };
        }
        let rest = self.block.bytes.get(self.at.offset..).filter(|rest| !rest.is_empty());
        rest.ok_or(SquashfsError::Damaged("a place in a metadata block"))
    }

    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.take().map(u64::from_le_bytes)
    }
}
