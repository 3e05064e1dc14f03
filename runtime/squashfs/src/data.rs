//! The contents of files: blocks, each packed by itself, and for what does not fill one a part of
//! a fragment, a block that several files share.

use super::cache::Weight;
use super::inode::{Contents, Inode, NONE};
use super::metadata::{Position, SIZE};
use super::{Image, Result, SquashfsError};

/// In the size of a block: it is not packed.
const PLAIN: u32 = 1 << 24;
/// A file's blocks at most: 512 GiB where they have 128 KiB. Bounds the memory for their list.
const MOST_BLOCKS: u64 = 1 << 22;
/// Entries of the fragment table in a block of it, of 16 bytes each.
const PER_BLOCK: usize = SIZE / 16;

/// Blocks for each of which it is not said where they begin: that is added up.
const STRIDE: usize = 64;

/// Where the blocks of a file are.
#[derive(Default)]
pub(super) struct Blocks {
    sizes: Vec<u32>,
    /// Of every 64th block.
    starts: Vec<u64>,
}

#[derive(Clone, Copy)]
struct Block {
    start: u64,
    size: u32,
}

impl Weight for Blocks {
    fn weight(&self) -> usize {
        self.sizes.capacity() * 4 + self.starts.capacity() * 8
    }
}

impl Blocks {
    fn get(&self, number: usize) -> Option<Block> {
        let size = *self.sizes.get(number)?;
        let before = &self.sizes[number / STRIDE * STRIDE..number];
        let before: u64 = before.iter().map(|size| u64::from(size & !PLAIN)).sum();
        Some(Block { start: self.starts[number / STRIDE].saturating_add(before), size })
    }
}

impl Image {
    /// Reads a file from `offset` on: the number of bytes, fewer than asked for only at its end.
    ///
    /// # Errors
    /// [`SquashfsError`].
    pub fn read(
        &self,
        inode: &Inode,
        contents: &Contents,
        offset: u64,
        bytes: &mut [u8],
    ) -> Result<usize> {
        let left = inode.size.saturating_sub(offset);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        if count == 0 {
            return Ok(0);
        }
        let blocks = self.blocks(inode, contents)?;
        let block_size = u64::from(self.block_size);
        let (mut offset, mut rest) = (offset, &mut bytes[..count]);
        while !rest.is_empty() {
            let (number, within) = (offset / block_size, (offset % block_size) as usize);
            let length = (inode.size - number * block_size).min(block_size) as usize;
            let (now, later) = rest.split_at_mut(rest.len().min(length - within));
            match blocks.get(number as usize) {
                Some(block) => self.read_block(block, length, within, now)?,
                None => self.read_fragment(contents, within, now)?,
            }
            offset += now.len() as u64;
            rest = later;
        }
        Ok(count)
    }

    /// Reads the bytes at `within` of a block that should have `length`.
    fn read_block(&self, block: Block, length: usize, within: usize, to: &mut [u8]) -> Result<()> {
        if block.size == 0 {
            to.fill(0);
            return Ok(());
        }
        if block.size & PLAIN == 0 {
            return copy(&self.unpacked(block)?, within, to);
        }
        if (block.size & !PLAIN) as usize != length {
            return Err(SquashfsError::Damaged("the size of a block"));
        }
        self.read_at(to, block.start.saturating_add(within as u64))
    }

    fn read_fragment(&self, contents: &Contents, within: usize, to: &mut [u8]) -> Result<()> {
        let (number, offset) = contents.fragment;
        let block = self.fragment(number)?;
        let within = within + offset as usize;
        if block.size & PLAIN == 0 {
            return copy(&self.unpacked(block)?, within, to);
        }
        if within + to.len() > (block.size & !PLAIN) as usize {
            return Err(SquashfsError::Damaged("the place in a fragment"));
        }
        self.read_at(to, block.start.saturating_add(within as u64))
    }

    fn unpacked(&self, block: Block) -> Result<std::sync::Arc<Vec<u8>>> {
        let most = self.block_size as usize;
        if block.size as usize > most {
            return Err(SquashfsError::Damaged("the size of a packed block"));
        }
        self.data.get(block.start, || {
            let mut packed = vec![0; block.size as usize];
            self.read_at(&mut packed, block.start)?;
            self.codec.unpack(&packed, most)
        })
    }

    fn fragment(&self, number: u32) -> Result<Block> {
        let (table, count) = self.fragments;
        if number >= count {
            return Err(SquashfsError::Damaged("the number of a fragment"));
        }
        let number = number as usize;
        let mut start = [0; 8];
        self.read_at(&mut start, table.saturating_add((number / PER_BLOCK * 8) as u64))?;
        let block = u64::from_le_bytes(start);
        let mut cursor = self.cursor(Position { block, offset: number % PER_BLOCK * 16 })?;
        let block = Block { start: cursor.u64()?, size: cursor.u32()? };
        match block.size & !PLAIN {
            0 => Err(SquashfsError::Damaged("the size of a fragment")),
            size if size > self.block_size => Err(SquashfsError::Damaged("the size of a fragment")),
            _ => Ok(block),
        }
    }

    /// The list is as long as the file: it is made once.
    fn blocks(&self, inode: &Inode, contents: &Contents) -> Result<std::sync::Arc<Blocks>> {
        let block_size = u64::from(self.block_size);
        let whole = match contents.fragment.0 {
            NONE => inode.size.div_ceil(block_size),
            _ => inode.size / block_size,
        };
        if whole == 0 {
            return Ok(std::sync::Arc::default());
        }
        if whole > MOST_BLOCKS {
            return Err(SquashfsError::Damaged("the number of a file's blocks"));
        }
        let Position { block, offset } = contents.blocks;
        // A list that can be read is at neither of 2^48 and 2^13 bytes, or more.
        self.blocks.get(block << 14 | offset as u64, || {
            let mut blocks = Blocks::default();
            let mut start = contents.start;
            let mut cursor = self.cursor(contents.blocks)?;
            for number in 0..whole as usize {
                let size = cursor.u32()?;
                if size & !PLAIN > self.block_size {
                    return Err(SquashfsError::Damaged("the size of a block"));
                }
                if number % STRIDE == 0 {
                    blocks.starts.push(start);
                }
                blocks.sizes.push(size);
                start = start.saturating_add(u64::from(size & !PLAIN));
            }
            blocks.sizes.shrink_to_fit();
            Ok(blocks)
        })
    }
}

fn copy(from: &[u8], within: usize, to: &mut [u8]) -> Result<()> {
    let from = from.get(within..within + to.len());
    to.copy_from_slice(from.ok_or(SquashfsError::Damaged("the length of a block"))?);
    Ok(())
}
