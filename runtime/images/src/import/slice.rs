//! A part of a file: a blob of a layout, a layer of an archive, or all of a file of the store.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// No honest manifest is larger.
const DOCUMENT_LIMIT: u64 = 8 << 20;

/// A part of a file, which can be read from several places at once.
#[derive(Debug)]
pub(super) struct Slice {
    file: File,
    offset: u64,
    length: u64,
}

impl Slice {
    pub(super) fn new(file: File, offset: u64, length: u64) -> Slice {
        Slice { file, offset, length }
    }

    pub(super) fn whole(file: File) -> io::Result<Slice> {
        let length = file.metadata()?.len();
        Ok(Slice { file, offset: 0, length })
    }

    /// What is in it, where that is a manifest or the like: no honest one is longer than what is read.
    pub(super) fn document(&self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.reader().take(DOCUMENT_LIMIT).read_to_end(&mut content)?;
        Ok(content)
    }

    pub(super) fn reader(&self) -> SliceReader<'_> {
        SliceReader { slice: self, at: 0 }
    }
}

/// Reads a [`Slice`] from its beginning.
#[derive(Debug)]
pub(super) struct SliceReader<'a> {
    slice: &'a Slice,
    at: u64,
}

impl SliceReader<'_> {
    pub(super) fn len(&self) -> u64 {
        self.slice.length
    }
}

impl Read for SliceReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.slice.length - self.at;
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.slice.file.read_at(&mut buffer[..count], self.slice.offset + self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
