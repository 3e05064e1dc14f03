//! A block of data on its way into an image.

use super::pack::Packer;

/// Room for a block, plain or packed.
#[derive(Debug)]
pub(super) struct Buffer {
    pub(super) bytes: Box<[u8]>,
    pub(super) length: usize,
}

impl Buffer {
    pub(super) fn new(block_size: u32) -> Buffer {
        Buffer { bytes: vec![0; Packer::room(block_size as usize)].into(), length: 0 }
    }

    pub(super) fn used(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// A block as it is to be stored.
pub(super) struct Packed {
    pub(super) buffer: Buffer,
    /// It is stored as it is.
    pub(super) plain: bool,
    pub(super) hash: u64,
}
