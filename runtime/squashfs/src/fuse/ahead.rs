//! What the kernel will ask for next is given to it before it asks: the rest of a block that had to
//! be unpacked anyway, and the blocks behind it where a file is read from one end to the other.
//! A library's relocations are otherwise read page by page.

use std::io::{IoSlice, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Server;
use crate::inode::Contents;
use crate::{Inode, Kind};

/// `FUSE_NOTIFY_STORE`
const STORE: u32 = 4;
/// Blocks that are remembered as given: 32 KiB of memory. What is forgotten is given again.
const REMEMBERED: usize = 4096;
/// Blocks that are given ahead of who reads one after the other.
const MOST_AHEAD: u64 = 8;

/// What was given to the kernel.
pub(super) struct Ahead {
    given: Box<[AtomicU64]>,
    /// Held by who gives.
    giving: Mutex<()>,
    /// Whether more threads than one answer.
    others: AtomicBool,
}

/// Bytes of a file that the kernel was answered.
#[derive(Clone, Copy)]
pub(super) struct Answered {
    pub(super) node: u64,
    pub(super) offset: u64,
    pub(super) length: usize,
}

impl Ahead {
    pub(super) fn new() -> Ahead {
        let given = std::iter::repeat_with(AtomicU64::default).take(REMEMBERED).collect();
        Ahead { given, giving: Mutex::new(()), others: AtomicBool::new(false) }
    }

    /// From now on more threads than one answer.
    pub(super) fn joined(&self) {
        self.others.store(true, Ordering::Relaxed);
    }

    /// The place of a block among those that are remembered, and what stands there for it.
    fn place(&self, node: u64, block: u64) -> (&AtomicU64, u64) {
        // Odd, and so never what is there at first.
        let mark = (node ^ block.rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        (&self.given[(mark >> 40) as usize % REMEMBERED], mark)
    }

    fn was_given(&self, node: u64, block: u64) -> bool {
        let (place, mark) = self.place(node, block);
        place.load(Ordering::Relaxed) == mark
    }

    /// The parts of a file of `size` bytes that are worth giving: of the blocks that were read from,
    /// and of as many behind them as were given before them, what is not in the answer.
    fn worth_giving(&self, answered: Answered, size: u64, block_size: u64) -> Vec<(u64, u64)> {
        let Answered { node, offset, length } = answered;
        let end = offset + length as u64;
        let (first, last) = (offset / block_size, (end - 1) / block_size);
        let before = (1..=MOST_AHEAD).map_while(|back| first.checked_sub(back));
        let run = before.take_while(|block| self.was_given(node, *block)).count() as u64;
        let mut parts = Vec::new();
        for block in first..=last + run {
            let start = block * block_size;
            let stop = (start + block_size).min(size);
            if start >= stop || !self.note(node, block) {
                continue;
            }
            let (head, tail) = ((start, offset.min(stop)), (end.max(start), stop));
            parts.extend([head, tail].into_iter().filter(|(from, to)| from < to));
        }
        parts
    }

    /// Notes a block. Returns whether it is new.
    fn note(&self, node: u64, block: u64) -> bool {
        let (place, mark) = self.place(node, block);
        place.swap(mark, Ordering::Relaxed) != mark
    }
}

impl Server<'_> {
    /// Gives the kernel what comes with the answer that it has got.
    ///
    /// The kernel waits here for a page that it has asked for, or is about to: so this comes after the
    /// answer, one thread does it at a time, and only where there is another that answers.
    pub(super) fn give_ahead(&self, answered: Answered, data: &mut Vec<u8>) {
        if !self.ahead.others.load(Ordering::Relaxed) || answered.length == 0 {
            return;
        }
        let Ok(_giving) = self.ahead.giving.try_lock() else { return };
        // It could be read a moment ago.
        let Ok(inode) = self.image.inode(self.reference(answered.node)) else { return };
        let Kind::File(contents) = &inode.kind else { return };
        let block_size = self.image.block_size().into();
        for (from, to) in self.ahead.worth_giving(answered, inode.size, block_size) {
            if !self.give(answered.node, (&inode, contents), from, to, data) {
                return;
            }
        }
    }

    /// Never behind the end of the file, which would then be longer. Returns `false` if there is no
    /// sense in giving more.
    fn give(
        &self,
        node: u64,
        (inode, contents): (&Inode, &Contents),
        from: u64,
        to: u64,
        data: &mut Vec<u8>,
    ) -> bool {
        // At most a block.
        let size = (to - from) as usize;
        data.resize(data.len().max(size), 0);
        // What is damaged is said when it is asked for.
        let read = self.image.read(inode, contents, from, &mut data[..size]);
        matches!(read, Ok(length) if length == size) && self.store(node, from, &data[..size])
    }

    /// `struct fuse_notify_store_out`
    fn store(&self, node: u64, offset: u64, bytes: &[u8]) -> bool {
        let mut head = [0; 40];
        head[..4].copy_from_slice(&((40 + bytes.len()) as u32).to_ne_bytes());
        head[4..8].copy_from_slice(&STORE.to_ne_bytes());
        head[16..24].copy_from_slice(&node.to_ne_bytes());
        head[24..32].copy_from_slice(&offset.to_ne_bytes());
        head[32..36].copy_from_slice(&(bytes.len() as u32).to_ne_bytes());
        (&self.device).write_vectored(&[IoSlice::new(&head), IoSlice::new(bytes)]).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 128 << 10;
    const PAGE: u64 = 4096;

    fn given(ahead: &Ahead, offset: u64, length: u64, size: u64) -> Vec<(u64, u64)> {
        ahead.worth_giving(Answered { node: 7, offset, length: length as usize }, size, BLOCK)
    }

    #[test]
    fn the_rest_of_a_block_is_given_once() {
        let ahead = Ahead::new();
        let size = 100 * BLOCK;
        let parts = given(&ahead, 10 * BLOCK + PAGE, PAGE, size);
        assert_eq!(parts, [(10 * BLOCK, 10 * BLOCK + PAGE), (10 * BLOCK + 2 * PAGE, 11 * BLOCK)]);
        assert_eq!(given(&ahead, 10 * BLOCK + 5 * PAGE, PAGE, size), []);
        assert_eq!(given(&ahead, 50 * BLOCK, BLOCK, size), [], "nothing is left of it");
        // Over the bounds of two.
        let parts = given(&ahead, 31 * BLOCK - PAGE, 2 * PAGE, size);
        assert_eq!(parts, [(30 * BLOCK, 31 * BLOCK - PAGE), (31 * BLOCK + PAGE, 32 * BLOCK)]);
        // The same block of another file.
        let other = Answered { node: 8, offset: 10 * BLOCK, length: PAGE as usize };
        assert_eq!(ahead.worth_giving(other, size, BLOCK), [(10 * BLOCK + PAGE, 11 * BLOCK)]);
    }

    #[test]
    fn who_reads_on_is_given_more_and_more_up_to_a_bound() {
        let ahead = Ahead::new();
        let size = 1000 * BLOCK;
        let (mut next, mut most) = (0, 0);
        for _ in 0..20 {
            let parts = given(&ahead, next * BLOCK, BLOCK, size);
            assert!(parts.iter().all(|(from, to)| from / BLOCK > next && to - from == BLOCK));
            most = most.max(parts.len() as u64);
            // The kernel asks for the first one that it was not given.
            next += parts.len() as u64 + 1;
        }
        assert_eq!(most, MOST_AHEAD);
        assert!(next > 100, "{next} blocks by 20 requests");
    }

    /// The kernel would take the file for longer.
    #[test]
    fn nothing_is_given_behind_the_end_of_a_file() {
        let ahead = Ahead::new();
        let size = 3 * BLOCK + 5;
        for block in 0..3 {
            let parts = given(&ahead, block * BLOCK, PAGE, size);
            assert!(parts.iter().all(|(_, to)| *to <= size), "{parts:?}");
        }
        assert_eq!(given(&Ahead::new(), 3 * BLOCK, 5, size), []);
        assert_eq!(given(&Ahead::new(), 0, 5, 5), [], "a small file is read at once");
    }
}
