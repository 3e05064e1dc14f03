//! The data of files in the output, one after the other; the same data once.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::block::Packed;
use super::digest::Quick;
use super::{Options, PLAIN, WriteError};

/// Bytes that are compared at once.
const COMPARED: usize = 64 << 10;

/// The blocks of a file, and of others that have the same.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// Where the first one is.
    pub(super) start: u64,
    /// As inodes have them; 0 for a hole.
    pub(super) sizes: Box<[u32]>,
}

/// Where everything is.
#[derive(Debug, Default)]
pub(super) struct Placed {
    pub(super) runs: Vec<Run>,
    /// Of each file with blocks, which run it has.
    pub(super) files: Vec<u32>,
    /// Where each block of files' ends is, and its size.
    pub(super) fragments: Vec<(u64, u32)>,
    /// Where the data ends.
    pub(super) end: u64,
}

/// Takes packed blocks.
pub(super) struct Output {
    file: File,
    /// Bytes that the image may have.
    largest: u64,
    placed: Placed,
    quick: Quick,
    /// Runs by a hash, if the same data is to be stored once.
    known: Option<HashMap<u64, Vec<u32>>>,
    /// The current file's.
    begin: u64,
    sizes: Vec<u32>,
    hashes: Vec<u8>,
}

impl Output {
    pub(super) fn new(file: File, from: u64, options: &Options, quick: Quick) -> Output {
        Output {
            file,
            largest: options.largest,
            placed: Placed { end: from, ..Placed::default() },
            quick,
            known: options.duplicates.then(HashMap::new),
            begin: from,
            sizes: Vec::new(),
            hashes: Vec::new(),
        }
    }

    /// A block of the current file.
    pub(super) fn block(&mut self, packed: &Packed) -> Result<(), WriteError> {
        let size = self.append(packed)?;
        self.sizes.push(size);
        self.hashes.extend(packed.hash.to_le_bytes());
        Ok(())
    }

    pub(super) fn hole(&mut self) {
        self.sizes.push(0);
    }

    /// The current file has all its blocks: if another one has the same, these are given up.
    pub(super) fn end(&mut self) -> Result<(), WriteError> {
        let sizes = std::mem::take(&mut self.sizes);
        let begin = std::mem::replace(&mut self.begin, self.placed.end);
        self.hashes.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
        let hash = self.quick.hash(&self.hashes);
        self.hashes.clear();
        let number = self.placed.runs.len() as u32;
        if let Some(known) = &mut self.known {
            let candidates = known.entry(hash).or_default();
            for candidate in candidates.iter() {
                let run = &self.placed.runs[*candidate as usize];
                let length = self.placed.end - begin;
                if *run.sizes == *sizes && same(&self.file, run.start, begin, length)? {
                    self.placed.files.push(*candidate);
                    (self.placed.end, self.begin) = (begin, begin);
                    return Ok(());
                }
            }
            candidates.push(number);
        }
        self.placed.files.push(number);
        self.placed.runs.push(Run { start: begin, sizes: sizes.into() });
        Ok(())
    }

    /// A block of files' ends, between two files.
    pub(super) fn fragment(&mut self, packed: &Packed) -> Result<(), WriteError> {
        let start = self.placed.end;
        let size = self.append(packed)?;
        self.placed.fragments.push((start, size));
        self.begin = self.placed.end;
        Ok(())
    }

    pub(super) fn finish(self) -> Placed {
        self.placed
    }

    fn append(&mut self, packed: &Packed) -> Result<u32, WriteError> {
        let bytes = packed.buffer.used();
        if self.placed.end.saturating_add(bytes.len() as u64) > self.largest {
            return Err(WriteError::TooLarge(self.largest));
        }
        self.file.write_all_at(bytes, self.placed.end).map_err(WriteError::Output)?;
        self.placed.end += bytes.len() as u64;
        Ok(bytes.len() as u32 | if packed.plain { PLAIN } else { 0 })
    }
}

/// Whether the same bytes are at two places of a file.
fn same(file: &File, one: u64, other: u64, length: u64) -> Result<bool, WriteError> {
    let mut bytes = vec![0; 2 * COMPARED];
    let (left, right) = bytes.split_at_mut(COMPARED);
    let mut at = 0;
    while at < length {
        let count = (length - at).min(COMPARED as u64) as usize;
        let read = |to: &mut [u8], from: u64| -> io::Result<()> { file.read_exact_at(to, from) };
        read(&mut left[..count], one + at).map_err(WriteError::Output)?;
        read(&mut right[..count], other + at).map_err(WriteError::Output)?;
        if left[..count] != right[..count] {
            return Ok(false);
        }
        at += count as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::block::Buffer;

    /// Files that only seem to be the same by their sizes and hashes.
    #[test]
    fn contents_are_compared_byte_by_byte() {
        let file = tempfile::tempfile().unwrap();
        let mut output = Output::new(file, 0, &Options::default(), Quick::new());
        let contents = [b"one", b"two", b"one", b"six", b"two"];
        for content in contents {
            let mut buffer = Buffer { bytes: vec![0; 8].into(), length: 3 };
            buffer.bytes[..3].copy_from_slice(content);
            output.block(&Packed { buffer, plain: true, hash: 7 }).unwrap();
            output.end().unwrap();
        }
        let file = output.file.try_clone().unwrap();
        let placed = output.finish();
        assert_eq!((placed.runs.len(), placed.end), (3, 9));
        for (number, content) in placed.files.iter().zip(contents) {
            let mut bytes = [0; 3];
            file.read_exact_at(&mut bytes, placed.runs[*number as usize].start).unwrap();
            assert_eq!(bytes, *content);
        }
    }
}
