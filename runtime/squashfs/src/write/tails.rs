//! Ends of files that share a block (fragments). Those that are the same are stored once.

use std::collections::HashMap;

use super::WriteError;
use super::block::Buffer;
use super::cut::Blocks;
use super::digest::{Digest, Keys};
use super::pipeline::Pipeline;

/// Number of a fragment, and where in it.
pub(super) type Place = (u32, u32);

pub(super) struct SharedBlocks {
    block_size: usize,
    open: Option<Buffer>,
    /// Of the open one.
    number: u32,
    keys: Keys,
    known: Option<HashMap<Digest, Place>>,
}

impl SharedBlocks {
    pub(super) fn new(block_size: u32, duplicates: bool) -> SharedBlocks {
        SharedBlocks {
            block_size: block_size as usize,
            open: None,
            number: 0,
            keys: Keys::default(),
            known: duplicates.then(HashMap::new),
        }
    }

    /// Stores a file's end, which is shorter than a block.
    pub(super) fn put(
        &mut self,
        tail: &[u8],
        pipeline: &mut Pipeline,
    ) -> Result<Place, WriteError> {
        let digest = self.known.is_some().then(|| self.keys.digest(tail));
        if let (Some(known), Some(digest)) = (&self.known, &digest) {
            if let Some(place) = known.get(digest) {
                return Ok(*place);
            }
        }
        if self.open.as_ref().is_some_and(|open| open.length + tail.len() > self.block_size) {
            self.flush(pipeline)?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let mut buffer = pipeline.buffer()?;
                buffer.length = 0;
                self.open.insert(buffer)
            }
        };
        let place = (self.number, open.length as u32);
        open.bytes[open.length..][..tail.len()].copy_from_slice(tail);
        open.length += tail.len();
        if let (Some(known), Some(digest)) = (&mut self.known, digest) {
            known.insert(digest, place);
        }
        Ok(place)
    }

    /// Sends the open block on its way, if there is one.
    pub(super) fn flush(&mut self, pipeline: &Pipeline) -> Result<(), WriteError> {
        if let Some(open) = self.open.take() {
            pipeline.fragment(open)?;
            self.number += 1;
        }
        Ok(())
    }
}
