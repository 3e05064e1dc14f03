//! Contents that are packed before it is known whether an image gets them, and under which names:
//! their blocks wait in a file of their own. So what has to be unpacked to be looked at is not
//! unpacked once more to be written.

mod files;
mod spooled;
mod spooler;

use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use super::WriteError;
use super::block::Buffer;
use super::cut::{Blocks, Cut, cut};

use files::Output;
use spooled::{Block, Entry};
use spooler::{Done, Job};

pub use spooled::Spooled;
pub use spooler::Spooler;

/// Blocks of one spool that are on their way. One thread that unpacks keeps two or three busy.
const IN_FLIGHT: usize = 8;
/// Bytes of a file of which a new one is begun. Each is given back as a whole: a part of a file that is not on
/// the disk yet is written there before it is given back (ext4, XFS).
const SEGMENT: u64 = 256 << 20;
/// Files of all spools together: a process may have a thousand or so open.
const MOST_FILES: usize = 256;

/// Where a spool is.
#[derive(Clone, Copy)]
pub struct Room<'a> {
    /// A new file, open for reading, too, if there is one to be had.
    pub file: &'a dyn Fn() -> Option<File>,
    /// Is told how many bytes more were put there, and says whether it may go on.
    pub may: &'a dyn Fn(u64) -> bool,
}

/// Takes contents, one after the other.
pub struct Spool<'a> {
    spooler: &'a Spooler,
    room: Room<'a>,
    segments: Vec<Arc<Output>>,
    done: (Sender<Done>, Receiver<Done>),
    spare: Vec<Buffer>,
    /// Those that there are.
    buffers: usize,
    in_flight: usize,
    blocks: Vec<Block>,
    contents: Vec<Entry>,
    given_up: bool,
}

/// Bytes of memory for a content, and for a block.
const MEMORY: (usize, usize) = (2 * size_of::<Entry>(), 2 * size_of::<Block>());

impl Spool<'_> {
    /// Takes a content. Its number is higher than those before. What goes wrong, in reading, too, ends
    /// the spool, and nothing else.
    pub fn add(&mut self, number: u32, data: &mut dyn Read) {
        if !self.is_given_up() && self.try_add(number, data).is_err() {
            self.give_up();
        }
    }

    /// Whether it takes no more.
    pub fn is_given_up(&self) -> bool {
        self.given_up || self.spooler.state.given_up.load(Ordering::SeqCst)
    }

    /// Ends it.
    pub fn give_up(&mut self) {
        self.given_up = true;
        (self.blocks, self.contents) = (Vec::new(), Vec::new());
        self.segments.iter().for_each(|segment| segment.empty());
    }

    /// Bytes of memory for what is known of the contents.
    pub fn memory(&self) -> usize {
        self.contents.len() * MEMORY.0 + self.blocks.len() * MEMORY.1
    }

    /// All of it, once it is in the file; `None` if that has failed.
    pub fn finish(mut self) -> Option<Spooled> {
        while self.in_flight > 0 && !self.given_up {
            if self.collect().is_err() {
                self.give_up();
            }
        }
        if self.is_given_up() {
            self.give_up();
            return None;
        }
        let state = Arc::clone(&self.spooler.state);
        let Spool { segments, blocks, contents, .. } = self;
        Some(Spooled { state, segments, blocks, contents, freed: None })
    }

    fn try_add(&mut self, number: u32, data: &mut dyn Read) -> Result<(), WriteError> {
        let first = self.blocks.len();
        let options = &self.spooler.options;
        let Cut { size, sparse, tail, .. } = cut(options, b"", data, self)?;
        let has_tail = tail.length > 0;
        if has_tail {
            self.block(tail, true)?;
        } else {
            self.give_back(tail);
        }
        let blocks = (first, self.blocks.len());
        self.contents.push(Entry { number, size, sparse, blocks, has_tail });
        Ok(())
    }

    /// The file for the next block.
    fn segment(&mut self) -> Option<(u32, Arc<Output>)> {
        let is_full = |last: &Arc<Output>| last.end.load(Ordering::Relaxed) >= SEGMENT;
        if self.segments.last().is_none_or(is_full) {
            let mut outputs = self.spooler.state.lock();
            // Of those that are gone the list has but names.
            outputs.retain(|output| output.strong_count() > 0);
            let file = (outputs.len() < MOST_FILES).then_some(self.room.file)?()?;
            let (end, closed) = (AtomicU64::new(0), AtomicBool::new(false));
            let output = Arc::new(Output { file, end, closed });
            outputs.push(Arc::downgrade(&output));
            drop(outputs);
            self.segments.push(output);
        }
        Some((self.segments.len() as u32 - 1, Arc::clone(self.segments.last()?)))
    }

    /// Waits for a block.
    fn collect(&mut self) -> Result<(), WriteError> {
        let Done { number, written, buffer } =
            self.done.1.recv().map_err(|_| WriteError::GivenUp)?;
        self.in_flight -= 1;
        self.spare.push(buffer);
        let block = written.map_err(WriteError::Output)?;
        if self.is_given_up() || !(self.room.may)(block.length()) {
            return Err(WriteError::GivenUp);
        }
        self.blocks[number] = block;
        Ok(())
    }
}

impl Blocks for Spool<'_> {
    fn buffer(&mut self) -> Result<Buffer, WriteError> {
        if self.spare.is_empty() && self.buffers < IN_FLIGHT {
            self.buffers += 1;
            return Ok(Buffer::new(self.spooler.options.block_size));
        }
        if self.spare.is_empty() {
            self.collect()?;
        }
        self.spare.pop().ok_or(WriteError::GivenUp)
    }

    fn give_back(&mut self, buffer: Buffer) {
        self.spare.push(buffer);
    }

    fn block(&mut self, buffer: Buffer, plain: bool) -> Result<(), WriteError> {
        let (segment, output) = self.segment().ok_or(WriteError::GivenUp)?;
        let (number, done) = (self.blocks.len(), self.done.0.clone());
        let job = Job { buffer, plain, number, segment, output, done };
        self.spooler.jobs.send(job).map_err(|_| WriteError::GivenUp)?;
        self.in_flight += 1;
        self.blocks.push(Block::default());
        Ok(())
    }

    fn hole(&mut self) -> Result<(), WriteError> {
        self.blocks.push(Block::default());
        Ok(())
    }
}
