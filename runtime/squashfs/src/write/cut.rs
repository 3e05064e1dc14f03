//! A file's content as blocks.

use std::io::{self, Read};

use super::block::Buffer;
use super::{Options, WriteError};

/// What programs and libraries begin with.
const ELF: &[u8] = b"\x7fELF";
/// Blocks of a file, as the reader has it.
const MOST_BLOCKS: u64 = 1 << 22;

/// Where a content's blocks go, one after the other.
pub(super) trait Blocks {
    /// A free buffer, sooner or later.
    fn buffer(&mut self) -> Result<Buffer, WriteError>;
    /// Takes back what was not needed.
    fn give_back(&mut self, buffer: Buffer);
    /// The next block, `plain` as it is.
    fn block(&mut self, buffer: Buffer, plain: bool) -> Result<(), WriteError>;
    /// A block of zeros is the next.
    fn hole(&mut self) -> Result<(), WriteError>;
}

/// What a content was cut into.
pub(super) struct Cut {
    /// Bytes of it.
    pub(super) size: u64,
    /// Bytes of it in holes.
    pub(super) sparse: u64,
    /// Blocks and holes that were passed on.
    pub(super) blocks: u64,
    /// What is left, for a block that files share; often nothing.
    pub(super) tail: Buffer,
}

/// Passes the blocks of a content on. `path` is for messages.
pub(super) fn cut(
    options: &Options,
    path: &[u8],
    data: &mut dyn Read,
    to: &mut impl Blocks,
) -> Result<Cut, WriteError> {
    let block_size = options.block_size as usize;
    let (mut size, mut sparse, mut blocks, mut plain) = (0, 0, 0, 0);
    loop {
        let mut buffer = to.buffer()?;
        fill(&mut buffer, block_size, data).map_err(|source| WriteError::content(path, source))?;
        let length = buffer.length;
        if size == 0 && buffer.used().starts_with(ELF) {
            plain = options.plain_programs;
        }
        let is_plain = size < plain;
        size += length as u64;
        let ended = length < block_size;
        if length == 0 || ended && !is_plain && options.shares(blocks) {
            return Ok(Cut { size, sparse, blocks, tail: buffer });
        }
        blocks += 1;
        if is_zero(buffer.used()) {
            sparse += length as u64;
            to.give_back(buffer);
            to.hole()?;
        } else {
            to.block(buffer, is_plain)?;
        }
        if blocks == MOST_BLOCKS {
            return Err(WriteError::entry(path, "it has too many blocks"));
        }
    }
}

/// Reads as much as there is, up to a block.
fn fill(buffer: &mut Buffer, most: usize, data: &mut dyn Read) -> io::Result<()> {
    buffer.length = 0;
    while buffer.length < most {
        match data.read(&mut buffer.bytes[buffer.length..most]) {
            Ok(0) => break,
            Ok(count) => buffer.length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// By comparing it with itself, which C's library does by whole registers.
fn is_zero(bytes: &[u8]) -> bool {
    match bytes.split_first() {
        Some((first, rest)) => *first == 0 && rest == &bytes[..rest.len()],
        None => true,
    }
}
