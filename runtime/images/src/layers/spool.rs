//! What the first pass keeps of a layer, so that the second need not unpack it again.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};

use squashfs::write::{Options, Room, Spool, Spooled, Spooler};

use crate::tarball::{Header, Kind};

/// Keeps what is in layers, for images that are written with certain options.
#[derive(Debug)]
pub struct LayerSpooler {
    spooler: Spooler,
    memory: AtomicUsize,
    most_memory: usize,
}

/// A layer of which is kept what is in it.
pub struct LayerSpool<'a> {
    spooler: &'a LayerSpooler,
    headers: Vec<(u32, Header)>,
    spool: Spool<'a>,
    /// What of the memory is this layer's.
    memory: usize,
}

/// All that an image may have of a layer, but for directories, which are in memory anyway.
#[derive(Debug)]
pub struct SpooledLayer {
    headers: Vec<(u32, Header)>,
    /// Contents by the ordinals of their entries.
    pub(super) contents: Spooled,
}

impl LayerSpooler {
    /// Starts the threads that pack contents. What is known of entries takes at most so many bytes of
    /// memory, beside what the merge knows; a layer for which they do not suffice is not kept.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn new(options: Options, most_memory: usize) -> io::Result<LayerSpooler> {
        let spooler = Spooler::new(options)?;
        Ok(LayerSpooler { spooler, memory: AtomicUsize::new(0), most_memory })
    }

    /// Begins with a layer, whose contents wait there.
    pub fn begin<'a>(&'a self, room: Room<'a>) -> LayerSpool<'a> {
        let spool = self.spooler.begin(room);
        LayerSpool { spooler: self, headers: Vec::new(), spool, memory: 0 }
    }

    /// Keeps nothing any more: the room is wanted for something else. Returns whether there was anything.
    pub fn give_up(&self) -> bool {
        self.spooler.give_up()
    }
}

impl LayerSpool<'_> {
    /// Takes an entry that the image may have. Its data may be read afterwards, or not.
    pub(super) fn take(&mut self, ordinal: u32, header: Header, data: &mut dyn Read) {
        let heap = match &header.kind {
            Kind::Symlink(target) => target.len(),
            _ => 0,
        };
        let attributes = header.xattrs.iter().map(|(name, value)| name.len() + value.len() + 64);
        let memory = 2 * size_of::<(u32, Header)>() + heap + attributes.sum::<usize>();
        let before = self.spool.memory();
        if header.kind == Kind::File {
            self.spool.add(ordinal, data);
        }
        let memory = memory + self.spool.memory().saturating_sub(before);
        self.memory += memory;
        let all = self.spooler.memory.fetch_add(memory, Ordering::Relaxed) + memory;
        if self.spool.is_given_up() || all > self.spooler.most_memory {
            self.spool.give_up();
            self.headers = Vec::new();
            self.spooler.memory.fetch_sub(std::mem::take(&mut self.memory), Ordering::Relaxed);
        } else {
            self.headers.push((ordinal, Header { path: Vec::new(), ..header }));
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.spool.is_given_up()
    }

    /// What was kept, if all was.
    pub fn finish(self) -> Option<SpooledLayer> {
        let LayerSpool { headers, spool, .. } = self;
        Some(SpooledLayer { headers, contents: spool.finish()? })
    }
}

impl SpooledLayer {
    /// Has the room given back as the image is written, in which the layer is only once.
    pub fn shrink_as_read(&mut self) {
        self.contents.shrink_as_read();
    }

    /// Whether it was not given up since.
    pub fn is_there(&self) -> bool {
        self.contents.is_there()
    }

    /// The header of an entry, without its path.
    pub(super) fn header(&self, ordinal: u32) -> Option<&Header> {
        let at = self.headers.binary_search_by_key(&ordinal, |(ordinal, _)| *ordinal).ok()?;
        Some(&self.headers[at].1)
    }
}
