//! Who writes an image: we ourselves, or mksquashfs where somebody has options for it.

use crate::mksquashfs::Mksquashfs;
use crate::write::{Options, Packing};

/// Bytes of blocks that are on their way.
const MEMORY: usize = 64 << 20;
/// The same where memory is to be saved.
const LITTLE_MEMORY: usize = 16 << 20;

/// The writer of images, as a site or a user chooses it.
#[derive(Clone, Debug)]
pub enum Program {
    /// Ours ([`crate::write`]).
    Own(OwnWriter),
    /// mksquashfs.
    Mksquashfs(Mksquashfs),
}

/// The options of our own writer.
#[derive(Clone, Debug)]
pub struct OwnWriter {
    packing: Packing,
    processors: usize,
    memory: usize,
}

impl Program {
    /// mksquashfs, if there are options for it; on so many processors, 0 for all.
    pub fn new(options: &str, packing: Packing, processors: usize) -> Program {
        if options.trim().is_empty() {
            Program::Own(OwnWriter { packing, processors, memory: MEMORY })
        } else {
            Program::Mksquashfs(Mksquashfs::new(options, processors))
        }
    }

    /// How many processors it uses, 0 for all.
    pub fn processors(&self) -> usize {
        match self {
            Program::Own(own) => own.processors,
            Program::Mksquashfs(mksquashfs) => mksquashfs.processors(),
        }
    }

    /// Does with less memory, and so with fewer processors.
    pub fn save_memory(&mut self) {
        match self {
            Program::Own(own) => {
                own.memory = LITTLE_MEMORY;
                own.processors = if own.processors == 0 { 4 } else { own.processors.min(4) };
            }
            Program::Mksquashfs(mksquashfs) => mksquashfs.save_memory(),
        }
    }
}

impl OwnWriter {
    /// Options of the writer for a container's image.
    pub fn options(&self) -> Options {
        let OwnWriter { packing, processors: threads, memory } = *self;
        Options { threads, memory, ..Options::for_container(packing) }
    }
}
