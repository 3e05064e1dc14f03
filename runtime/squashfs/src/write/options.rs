//! How an image is written.

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;
use std::thread::available_parallelism;

use super::WriteError;

/// Bytes of a program or library that a start may well read: all of the C library.
const PROGRAM: u64 = 2 << 20;

/// How blocks are packed where that pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// By zstd, with a level from 1 to 22.
    Zstd(i32),
    /// By zlib, with a level from 1 to 9, for readers that know nothing better.
    Gzip(u32),
}

/// Which files' ends share blocks with each other (fragments).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tails {
    /// No file's.
    Apart,
    /// Of files that are smaller than a block, as mksquashfs has it.
    OfSmallFiles,
    /// Of all files that do not fill their last block.
    OfAllFiles,
}

/// Which times files get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Their own.
    Own,
    /// All the same.
    All(i64),
    /// Their own, but none later than this.
    AtMost(i64),
}

/// The prefixes of extended attributes that are kept. A squashfs file has room for no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XattrPrefixes {
    /// Those that begin with `user.`.
    pub user: bool,
    /// Those that begin with `security.`.
    pub security: bool,
    /// Those that begin with `trusted.`.
    pub trusted: bool,
}

/// What an image is to be good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Nothing is packed: the least work to write and to read.
    Speed,
    /// Everything is packed but what each start reads: tables, and the beginnings of programs and
    /// libraries.
    #[default]
    Balanced,
    /// Everything is packed.
    Size,
}

/// There is no such packing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of speed, balanced, size")]
pub struct PackingError(String);

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Packing::Speed => "speed",
            Packing::Balanced => "balanced",
            Packing::Size => "size",
        })
    }
}

impl FromStr for Packing {
    type Err = PackingError;

    fn from_str(word: &str) -> Result<Packing, PackingError> {
        match word {
            "speed" => Ok(Packing::Speed),
            "balanced" => Ok(Packing::Balanced),
            "size" => Ok(Packing::Size),
            _ => Err(PackingError(word.to_owned())),
        }
    }
}

/// How an image is written. The bytes of an image depend on nothing but these, without `threads`,
/// `memory` and `largest`, and on what is added in which order.
#[derive(Clone, Debug)]
pub struct Options {
    /// How blocks of data are packed.
    pub compression: Compression,
    /// Bytes at the beginning of each program and library (ELF) that are stored as they are,
    /// whatever packing saves: they are read at every start.
    pub plain_programs: u64,
    /// Whether inodes, directories and tables are packed, too.
    pub packed_tables: bool,
    /// Bytes of a block: a power of two from 4 KiB to 1 MiB.
    pub block_size: u32,
    /// Threads that pack blocks; 0 for one per core.
    pub threads: usize,
    /// Bytes of blocks that wait to be packed or written, at most.
    pub memory: usize,
    /// Bytes that the image may have.
    pub largest: u64,
    /// Which files' ends share blocks.
    pub tails: Tails,
    /// Whether contents that are the same are stored once.
    pub duplicates: bool,
    /// User and group of everything; `None` for each file's own.
    pub owner: Option<(u32, u32)>,
    /// When the file system was made.
    pub made: i64,
    /// Which times files get.
    pub times: Times,
    /// Which extended attributes are kept.
    pub attributes: XattrPrefixes,
    /// Whether devices are kept. They are left out without a word otherwise.
    pub devices: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            compression: Compression::Zstd(1),
            plain_programs: 0,
            packed_tables: true,
            block_size: 128 << 10,
            threads: 0,
            memory: 64 << 20,
            largest: u64::MAX,
            tails: Tails::OfSmallFiles,
            duplicates: true,
            owner: None,
            made: 0,
            times: Times::Own,
            attributes: XattrPrefixes { user: true, security: true, trusted: false },
            devices: false,
        }
    }
}

impl Options {
    /// For an image of that kind whose files are all root's, as a container's user sees them.
    #[must_use]
    pub fn for_container(packing: Packing) -> Options {
        let options = Options { owner: Some((0, 0)), ..Options::default() };
        match packing {
            Packing::Speed => {
                Options { compression: Compression::None, packed_tables: false, ..options }
            }
            Packing::Balanced => {
                Options { packed_tables: false, plain_programs: PROGRAM, ..options }
            }
            Packing::Size => options,
        }
    }

    pub(super) fn check(&self) -> Result<(), WriteError> {
        let size = self.block_size;
        if !size.is_power_of_two() || !(4096..=1 << 20).contains(&size) {
            return Err(WriteError::Options(format!("blocks of {size} bytes")));
        }
        match self.compression {
            Compression::Zstd(level) if !(1..=22).contains(&level) => {
                Err(WriteError::Options(format!("zstd's level {level}")))
            }
            Compression::Gzip(level) if !(1..=9).contains(&level) => {
                Err(WriteError::Options(format!("gzip's level {level}")))
            }
            _ => Ok(()),
        }
    }

    /// Threads that pack blocks, and blocks that may wait.
    pub(super) fn threads_and_blocks(&self) -> (usize, usize) {
        let wanted = match self.threads {
            0 => available_parallelism().map_or(1, NonZero::get),
            threads => threads,
        };
        let room = (self.memory / self.block_size as usize).max(4);
        // One for each thread besides, one being filled and one of files' ends.
        let threads = wanted.min((room - 2) / 2).max(1);
        (threads, room.min(threads * 4 + 4) - threads)
    }

    /// Whether the end of a file with so many blocks before it goes into a shared one.
    pub(super) fn shares(&self, blocks: u64) -> bool {
        match self.tails {
            Tails::Apart => false,
            Tails::OfSmallFiles => blocks == 0,
            Tails::OfAllFiles => true,
        }
    }

    pub(super) fn time(&self, own: i64) -> u32 {
        seconds(match self.times {
            Times::Own => own,
            Times::All(time) => time,
            Times::AtMost(latest) => own.min(latest),
        })
    }
}

/// As squashfs has them.
pub(super) fn seconds(time: i64) -> u32 {
    time.clamp(0, i64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_bounds_threads_and_blocks() {
        let blocks = |threads, memory| {
            let options = Options { threads, memory, block_size: 1 << 20, ..Options::default() };
            let (threads, blocks) = options.threads_and_blocks();
            assert!(threads >= 1 && blocks >= 3, "{threads} {blocks}");
            assert!(threads + blocks <= (memory >> 20).max(4), "{threads} {blocks}");
            threads
        };
        assert_eq!([blocks(1, 0), blocks(8, 0), blocks(8, 1 << 30)], [1, 1, 8]);
        assert_eq!([blocks(8, 8 << 20), blocks(64, 64 << 20)], [3, 31]);
    }
}
