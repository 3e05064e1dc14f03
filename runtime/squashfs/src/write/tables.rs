//! Metadata: chains of blocks of 8 KiB, each packed by itself, and tables made of them.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use super::pack::Packer;
use super::{Compression, Options, WriteError};
use crate::metadata::SIZE;

/// In a block's length: it is not packed.
const PLAIN: u16 = 0x8000;

/// A place in a chain, as references have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Bytes of the chain, packed, before the block.
    pub(super) block: u32,
    /// Bytes into the block.
    pub(super) offset: u16,
}

impl Place {
    pub(super) fn reference(self) -> u64 {
        u64::from(self.block) << 16 | u64::from(self.offset)
    }
}

/// A chain that is being written.
pub(super) struct Chain<W> {
    to: W,
    /// Bytes written so far, packed.
    length: u64,
    block: Vec<u8>,
    packer: Packer,
    packed: Box<[u8]>,
    what: &'static str,
}

impl<W: Write> Chain<W> {
    /// `what` it holds is for errors.
    pub(super) fn new(
        to: W,
        compression: Compression,
        what: &'static str,
    ) -> Result<Chain<W>, WriteError> {
        let packer = Packer::new(compression).map_err(WriteError::Output)?;
        let packed = vec![0; Packer::room(SIZE)].into();
        Ok(Chain { to, length: 0, block: Vec::with_capacity(SIZE), packer, packed, what })
    }

    /// Where the next byte will be.
    pub(super) fn place(&self) -> Result<Place, WriteError> {
        let full = |_| WriteError::limit(u32::MAX, self.what);
        let block = u32::try_from(self.length).map_err(full)?;
        Ok(Place { block, offset: self.block.len() as u16 })
    }

    /// Bytes of the chain so far, packed.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn put(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(SIZE - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            // At once: places have to be within a block.
            if self.block.len() == SIZE {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        let (bytes, plain) = match self.packer.pack_table(&self.block, &mut self.packed) {
            Some(length) => (&self.packed[..length], 0),
            None => (self.block.as_slice(), PLAIN),
        };
        let head = (bytes.len() as u16 | plain).to_le_bytes();
        let written = self.to.write_all(&head).and_then(|()| self.to.write_all(bytes));
        written.map_err(WriteError::Output)?;
        self.length += 2 + bytes.len() as u64;
        self.block.clear();
        Ok(())
    }

    /// Where it went.
    pub(super) fn finish(mut self) -> Result<W, WriteError> {
        if !self.block.is_empty() {
            self.flush()?;
        }
        Ok(self.to)
    }
}

/// The output behind the data.
pub(super) struct End {
    file: File,
    at: u64,
    largest: u64,
    compression: Compression,
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.at.saturating_add(bytes.len() as u64) > self.largest {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = self.file.write_at(bytes, self.at)?;
        self.at += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl End {
    pub(super) fn new(file: File, at: u64, options: &Options) -> End {
        End { file, at, largest: options.largest, compression: options.for_tables() }
    }

    /// Where it goes on.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.write_all(bytes).map_err(WriteError::Output)
    }

    /// Writes a table: its blocks; then `head` of where those begin; then where each one does.
    /// Where the head is.
    pub(super) fn table(
        &mut self,
        bytes: &[u8],
        head: impl FnOnce(u64) -> Vec<u8>,
        what: &'static str,
    ) -> Result<u64, WriteError> {
        let (first, mut starts) = (self.at, Vec::new());
        let mut chain = Chain::new(Vec::new(), self.compression, what)?;
        for block in bytes.chunks(SIZE) {
            starts.extend((first + chain.length()).to_le_bytes());
            chain.put(block)?;
        }
        self.put(&chain.finish()?)?;
        let start = self.at;
        self.put(&head(first))?;
        self.put(&starts)?;
        Ok(start)
    }

    /// Fills up to whole pages, without which no loop device has the end, and cuts off what is
    /// behind it.
    pub(super) fn pad(&mut self) -> Result<(), WriteError> {
        self.at = self.at.next_multiple_of(4096);
        self.file.set_len(self.at).map_err(WriteError::Output)
    }

    pub(super) fn head(&self, bytes: &[u8]) -> Result<(), WriteError> {
        self.file.write_all_at(bytes, 0).map_err(WriteError::Output)
    }
}
