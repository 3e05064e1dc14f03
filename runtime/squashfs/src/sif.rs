//! The place of a root file system in a SIF file, as Singularity and Apptainer build them: a header, a
//! table of what is in the file, and among that one squashfs, which is read where it is.
//!
//! Format: `pkg/sif` of <https://github.com/apptainer/sif>. All numbers are little endian.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Behind a line that makes the file a script.
const MAGIC: &[u8] = b"SIF_MAGIC\0";
const MAGIC_AT: usize = 32;
const VERSION: &[u8] = b"01\0";
/// Bytes of the header.
pub(crate) const HEADER: usize = 128;
/// A row of the table.
const ROW: u64 = 585;
/// Rows that Apptainer makes room for are 48.
const MOST_ROWS: u64 = 4096;
/// Kinds of what is in the file.
const PARTITION: u32 = 0x4004;
const OCI_INDEX: u32 = 0x400a;
/// Of the partitions the one that is the root.
const PRIMARY: u32 = 2;

/// Why a SIF file is no image.
#[derive(Debug, thiserror::Error)]
pub enum SifError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// It contradicts itself.
    #[error("is a damaged SIF file: {0}")]
    Damaged(&'static str),
    /// Its root is not what is served here.
    #[error("is a SIF file {0}")]
    Other(&'static str),
}

/// Where in a file a squashfs is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) length: u64,
}

impl Extent {
    /// Of a file that is nothing else, however long it is.
    const WHOLE: Extent = Extent { start: 0, length: u64::MAX };

    /// In this file. What is no SIF file is taken for a squashfs.
    pub(crate) fn of(file: &File) -> Result<Extent, SifError> {
        let mut head = [0; HEADER];
        let count = file.read_at(&mut head, 0).map_err(SifError::Read)?;
        Extent::in_file(file, &head[..count])
    }

    /// The same, of a file that begins so: [`HEADER`] bytes, or all that there are.
    pub(crate) fn in_file(file: &File, head: &[u8]) -> Result<Extent, SifError> {
        if head.len() < HEADER || head.starts_with(&crate::superblock::MAGIC) || !is_sif(head) {
            return Ok(Extent::WHOLE);
        }
        if !head[42..].starts_with(VERSION) {
            return Err(SifError::Other("of another version than 01"));
        }
        root(file, head)
    }

    fn end(self) -> u64 {
        self.start.saturating_add(self.length)
    }

    fn overlaps(self, other: Extent) -> bool {
        self.start < other.end() && other.start < self.end()
    }
}

/// Where the squashfs of an image begins, for programs that are to read it; in one that is damaged 0.
pub fn offset(file: &File) -> u64 {
    Extent::of(file).map_or(0, |extent| extent.start)
}

/// The same for unsquashfs, which before 4.5 knows no such argument.
pub fn arguments_of_unsquashfs(file: &File) -> Vec<String> {
    match offset(file) {
        0 => Vec::new(),
        offset => vec!["-offset".to_owned(), offset.to_string()],
    }
}

fn is_sif(head: &[u8]) -> bool {
    head[MAGIC_AT..].starts_with(MAGIC)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}

/// The root's place, if it is a squashfs.
fn root(file: &File, head: &[u8]) -> Result<Extent, SifError> {
    let all = file.metadata().map_err(SifError::Read)?.len();
    let (count, table) = (long(head, 88), long(head, 96));
    let length = count.saturating_mul(ROW);
    if count > MOST_ROWS
        || table < HEADER as u64
        || table.checked_add(length).is_none_or(|end| end > all)
    {
        return Err(SifError::Damaged("the place of its table"));
    }
    let mut rows = vec![0; length as usize];
    file.read_exact_at(&mut rows, table).map_err(SifError::Read)?;
    let used = || rows.chunks_exact(ROW as usize).filter(|row| row[4] != 0);
    let is_root = |row: &&[u8]| word(row, 0) == PARTITION && word(row, 205) == PRIMARY;
    let mut roots = used().enumerate().filter(|(_, row)| is_root(row));
    let Some((at, row)) = roots.next() else {
        let is_oci = used().any(|row| word(row, 0) == OCI_INDEX);
        return Err(SifError::Other(match is_oci {
            true => {
                "that has an OCI image in layers, which is not served; build it without --oci, or \
                 take the image from its registry"
            }
            false => "without a primary system partition",
        }));
    };
    if roots.next().is_some() {
        return Err(SifError::Damaged("two partitions are the primary one"));
    }
    let place = |row: &[u8]| Extent { start: long(row, 17), length: long(row, 25) };
    let extent = place(row);
    if extent.start.checked_add(extent.length).is_none_or(|end| end > all) {
        return Err(SifError::Damaged("its partition is not within the file"));
    }
    kind(word(row, 201))?;
    let own = [Extent { start: 0, length: HEADER as u64 }, Extent { start: table, length }];
    let others = used().enumerate().filter(|(other, _)| *other != at).map(|(_, row)| place(row));
    if own.into_iter().chain(others).any(|other| extent.overlaps(other)) {
        return Err(SifError::Damaged("its partition overlaps something else"));
    }
    let mut magic = [0; 4];
    let begins = extent.length >= 4 && file.read_exact_at(&mut magic, extent.start).is_ok();
    if !begins || magic != crate::superblock::MAGIC {
        return Err(SifError::Damaged("its partition does not begin as a squashfs"));
    }
    Ok(extent)
}

/// Whether the root's file system is one that is served.
fn kind(of: u32) -> Result<(), SifError> {
    Err(SifError::Other(match of {
        1 => return Ok(()),
        2 => "whose root is ext3, which is not served; build it anew with Apptainer",
        5 => "whose root is encrypted, which is not served; build it without --encrypt",
        _ => "whose root is no squashfs",
    }))
}

#[cfg(test)]
mod tests;
