//! Contents that wait in the files of a spool, and where there.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::files::{Output, State};
use crate::write::PLAIN;
use crate::write::block::Buffer;

/// Where a block waits.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::write) struct Block {
    /// In which file of the spool, and where there.
    pub(super) segment: u32,
    pub(super) at: u32,
    /// As inodes have it; 0 for a hole.
    pub(super) size: u32,
}

impl Block {
    pub(in crate::write) fn is_hole(self) -> bool {
        self.size == 0
    }

    pub(in crate::write) fn is_plain(self) -> bool {
        self.size & PLAIN != 0
    }

    pub(super) fn length(self) -> u64 {
        u64::from(self.size & !PLAIN)
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: u32,
    pub(super) size: u64,
    pub(super) sparse: u64,
    /// The first of its blocks, and behind the last one.
    pub(super) blocks: (usize, usize),
    /// Whether the last of them is for a block that files share.
    pub(super) has_tail: bool,
}

/// Contents that wait.
#[derive(Debug)]
pub struct Spooled {
    pub(super) state: Arc<State>,
    pub(super) segments: Vec<Arc<Output>>,
    pub(super) blocks: Vec<Block>,
    pub(super) contents: Vec<Entry>,
    /// How many files were given back, if they are.
    pub(super) freed: Option<AtomicUsize>,
}

/// A content that waits.
pub(in crate::write) struct Waiting<'a> {
    pub(in crate::write) size: u64,
    pub(in crate::write) sparse: u64,
    pub(in crate::write) blocks: &'a [Block],
    pub(in crate::write) tail: Option<&'a Block>,
}

impl Spooled {
    /// Has its files go as contents are taken: each once, in the order of their numbers.
    pub fn shrink_as_read(&mut self) {
        self.freed = Some(AtomicUsize::new(0));
    }

    /// Whether it was not given up since.
    pub fn is_there(&self) -> bool {
        !self.state.given_up.load(Ordering::SeqCst)
    }

    /// Bytes that were put there.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.end.load(Ordering::Relaxed)).sum()
    }

    pub(in crate::write) fn content(&self, number: u32) -> Option<Waiting<'_>> {
        let at = self.contents.binary_search_by_key(&number, |entry| entry.number).ok()?;
        let Entry { size, sparse, blocks: (first, end), has_tail, .. } = self.contents[at];
        let blocks = &self.blocks[first..end];
        let (blocks, tail) = match blocks.split_last() {
            Some((tail, blocks)) if has_tail => (blocks, Some(tail)),
            _ => (blocks, None),
        };
        Some(Waiting { size, sparse, blocks, tail })
    }

    pub(in crate::write) fn read(&self, block: Block, into: &mut Buffer) -> io::Result<()> {
        into.length = block.length() as usize;
        let file = &self.segments[block.segment as usize].file;
        file.read_exact_at(&mut into.bytes[..into.length], block.at.into())
    }

    /// A content was taken, and so were, or never will be, those before.
    pub(in crate::write) fn is_through_with(&self, waiting: &Waiting<'_>) {
        let blocks = waiting.blocks.iter().chain(waiting.tail);
        let last =
            blocks.filter(|block| !block.is_hole()).map(|block| block.segment as usize).next_back();
        let (Some(freed), Some(last)) = (&self.freed, last) else { return };
        let from = freed.swap(last, Ordering::Relaxed);
        self.segments[from..last].iter().for_each(|segment| segment.empty());
    }
}
