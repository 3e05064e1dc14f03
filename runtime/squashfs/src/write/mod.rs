//! Writes squashfs 4.0 images: data as it comes, packed by several threads, everything else at
//! the end.
//!
//! ```no_run
//! # use squashfs::write::{Attributes, Options, NewFile, Writer};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = std::fs::File::options().read(true).write(true).create_new(true).open("x.sqsh")?;
//! let mut image = Writer::new(file, Options::default())?;
//! let attributes = Attributes { mode: 0o644, ..Attributes::default() };
//! image.add(b"etc/hostname", &attributes, NewFile::File(&mut &b"node\n"[..]))?;
//! image.finish()?;
//! # Ok(())
//! # }
//! ```
//!
//! The bytes depend on what is added in which order, and not on threads or times.

mod block;
mod cut;
mod digest;
mod directory;
mod error;
mod finish;
mod ids;
mod inodes;
mod listing;
mod options;
mod output;
mod pack;
mod pipeline;
mod spool;
mod tables;
mod tails;
mod tree;
mod xattrs;

use std::fs::File;
use std::io::{self, Read};

pub use directory::Found;
pub use error::WriteError;
pub use options::{Compression, Options, Packing, PackingError, Tails, Times, XattrPrefixes};
pub use spool::{Room, Spool, Spooled, Spooler};

use crate::superblock;
use cut::{Blocks, Cut, cut};
use finish::Image;
use ids::Ids;
use pipeline::Pipeline;
use tables::End;
use tails::SharedBlocks;
use tree::{Body, Content, Inode, Tree};
use xattrs::Sets;

/// In the size of a block: it is not packed.
const PLAIN: u32 = 1 << 24;
/// Longer than the kernel's `PATH_MAX`, with the zero behind it, no link's target can be.
const LONGEST_TARGET: usize = 4095;

/// Name and value of an extended attribute.
pub type Attribute = (Vec<u8>, Vec<u8>);

/// What every kind of file has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attributes<'a> {
    /// Permission bits.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// Seconds since 1970.
    pub mtime: i64,
    /// Extended attributes, in any order.
    pub extended: &'a [Attribute],
}

/// A file that is to be added: its kind, and what it has by that.
pub enum NewFile<'a> {
    /// A directory. It may come after what is in it.
    Directory,
    /// A regular file and its content.
    File(&'a mut dyn Read),
    /// A regular file whose content was packed before, by a [`Spooler`] with the same options: the
    /// number that it was given there.
    Spooled(&'a Spooled, u32),
    /// A symbolic link and its target.
    Symlink(&'a [u8]),
    /// A character device, its numbers.
    CharacterDevice(u32, u32),
    /// A block device, its numbers.
    BlockDevice(u32, u32),
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
}

/// Something that was added and can be given more names.
#[derive(Clone, Copy, Debug)]
pub struct Handle(HandleKind);

/// What a handle leads to.
#[derive(Clone, Copy, Debug)]
enum HandleKind {
    Inode(u32),
    Directory,
    LeftOut,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the image, without what fills its last page.
    pub bytes: u64,
    /// Files there are, those with several names once.
    pub inodes: u64,
}

/// An image that is being written.
pub struct Writer {
    options: Options,
    file: File,
    tree: Tree,
    ids: Ids,
    sets: Sets,
    tails: SharedBlocks,
    /// None after an error.
    blocks: Option<Pipeline>,
}

impl Writer {
    /// Begins an image in `file`, which is empty, and open for reading, too: contents that may be
    /// the same are compared. It is an image when [`Writer::finish`] has returned, not before.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn new(file: File, options: Options) -> Result<Writer, WriteError> {
        options.check()?;
        let output = file.try_clone().map_err(WriteError::Output)?;
        let mut ids = Ids::default();
        // Of directories that are not described.
        let owner = ids.owner(options.owner.unwrap_or((0, 0)))?;
        Ok(Writer {
            tree: Tree::new(0o755, owner, options.time(options.made)),
            ids,
            sets: Sets::new(&options)?,
            tails: SharedBlocks::new(options.block_size, options.duplicates),
            blocks: Some(Pipeline::new(output, superblock::SIZE as u64, &options)?),
            file,
            options,
        })
    }

    /// Adds what is at a path, relative to the root, whose own path is empty. Directories that
    /// are missing on the way are made; described later, they get what is said then.
    ///
    /// # Errors
    /// [`WriteError`]: nothing more can be added then.
    pub fn add(
        &mut self,
        path: &[u8],
        attributes: &Attributes<'_>,
        what: NewFile<'_>,
    ) -> Result<Handle, WriteError> {
        let added = self.try_add(path, attributes, what);
        self.checked(added)
    }

    /// Gives what is no directory another name.
    ///
    /// # Errors
    /// [`WriteError`]: nothing more can be added then.
    pub fn link(&mut self, path: &[u8], to: Handle) -> Result<(), WriteError> {
        let linked = match to.0 {
            HandleKind::Inode(inode) => self.try_link(path, inode),
            HandleKind::Directory => Err(WriteError::entry(path, "a directory has one name")),
            HandleKind::LeftOut => Ok(()),
        };
        self.checked(linked)
    }

    /// Writes what is to be written at the end.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn finish(mut self) -> Result<Summary, WriteError> {
        let blocks = self.blocks.take().ok_or(WriteError::GivenUp)?;
        // An error is known to the writer, which is asked next.
        let flushed = self.tails.flush(&blocks);
        let placed = blocks.finish()?;
        flushed?;
        let inodes = self.tree.inodes.len() as u64;
        let end = End::new(self.file, placed.end, &self.options);
        let (options, tree, ids, sets) = (&self.options, self.tree, self.ids, self.sets);
        let written = Image { options, tree, ids, sets, placed }.write(end);
        let bytes = written.map_err(|error| match error {
            WriteError::Output(error)
                if error.kind() == io::ErrorKind::FileTooLarge && options.largest < u64::MAX =>
            {
                WriteError::TooLarge(options.largest)
            }
            error => error,
        })?;
        Ok(Summary { bytes, inodes })
    }

    /// After an error the image is given up. That the way to the output is closed is not why.
    fn checked<T>(&mut self, result: Result<T, WriteError>) -> Result<T, WriteError> {
        let Err(error) = result else { return result };
        let blocks = self.blocks.take();
        match (error, blocks.map(Pipeline::finish)) {
            (WriteError::GivenUp, Some(Err(why))) => Err(why),
            (error, _) => Err(error),
        }
    }

    fn try_link(&mut self, path: &[u8], inode: u32) -> Result<(), WriteError> {
        let (parent, name) = self.tree.parent(path)?;
        let links = &mut self.tree.inodes[inode as usize].links;
        *links = links.checked_add(1).ok_or(WriteError::limit(u32::MAX, "names of a file"))?;
        self.tree.enter(parent, name, inode)
    }

    fn try_add(
        &mut self,
        path: &[u8],
        attributes: &Attributes<'_>,
        what: NewFile<'_>,
    ) -> Result<Handle, WriteError> {
        let device = matches!(what, NewFile::CharacterDevice(..) | NewFile::BlockDevice(..));
        if device && !self.options.devices {
            return Ok(Handle(HandleKind::LeftOut));
        }
        let owner = self.ids.owner(self.options.owner.unwrap_or(attributes.owner))?;
        let mode = tree::mode(attributes);
        let mtime = self.options.time(attributes.mtime);
        let xattr = self.sets.put(path, attributes.extended)?;
        if matches!(what, NewFile::Directory) {
            self.tree.describe(path, (mode, owner, mtime, xattr))?;
            return Ok(Handle(HandleKind::Directory));
        }
        let (parent, name) = self.tree.parent(path)?;
        let body = match what {
            NewFile::Directory => unreachable!("added above"),
            NewFile::File(content) => Body::File(Box::new(self.content(path, content)?)),
            NewFile::Spooled(spool, number) => {
                Body::File(Box::new(self.spooled(path, spool, number)?))
            }
            NewFile::Symlink(target) => {
                if target.is_empty() || target.len() > LONGEST_TARGET || target.contains(&0) {
                    return Err(WriteError::entry(path, "no symbolic link can lead there"));
                }
                Body::Symlink(target.into())
            }
            NewFile::CharacterDevice(major, minor) => {
                Body::Device(true, device_number(major, minor))
            }
            NewFile::BlockDevice(major, minor) => Body::Device(false, device_number(major, minor)),
            NewFile::Fifo => Body::Fifo,
            NewFile::Socket => Body::Socket,
        };
        let inode = self.tree.push(Inode { mode, owner, mtime, xattr, links: 1, body })?;
        self.tree.enter(parent, name, inode)?;
        Ok(Handle(HandleKind::Inode(inode)))
    }

    /// Sends a file's content on its way.
    fn content(&mut self, path: &[u8], data: &mut dyn Read) -> Result<Content, WriteError> {
        let blocks = self.blocks.as_mut().ok_or(WriteError::GivenUp)?;
        let Cut { size, sparse, blocks: count, tail } = cut(&self.options, path, data, blocks)?;
        let mut content = Content { size, sparse, blocks: None, tail: None };
        if count > 0 {
            content.blocks = Some(blocks.end()?);
        }
        // Not before: it may send a block of its own.
        if tail.length > 0 {
            content.tail = Some(self.tails.put(tail.used(), blocks)?);
        }
        blocks.give_back(tail);
        Ok(content)
    }

    /// Sends a content on its way that was packed before.
    fn spooled(
        &mut self,
        path: &[u8],
        spool: &Spooled,
        number: u32,
    ) -> Result<Content, WriteError> {
        let blocks = self.blocks.as_mut().ok_or(WriteError::GivenUp)?;
        let waiting = spool.content(number);
        let waiting = waiting.ok_or(WriteError::entry(path, "its content was not kept"))?;
        let mut content =
            Content { size: waiting.size, sparse: waiting.sparse, blocks: None, tail: None };
        for block in waiting.blocks {
            if block.is_hole() {
                blocks.hole()?;
                continue;
            }
            let mut buffer = blocks.buffer()?;
            spool.read(*block, &mut buffer).map_err(WriteError::Output)?;
            blocks.packed(buffer, block.is_plain())?;
        }
        if !waiting.blocks.is_empty() {
            content.blocks = Some(blocks.end()?);
        }
        if let Some(tail) = waiting.tail {
            let mut buffer = blocks.buffer()?;
            spool.read(*tail, &mut buffer).map_err(WriteError::Output)?;
            content.tail = Some(self.tails.put(buffer.used(), blocks)?);
            blocks.give_back(buffer);
        }
        spool.is_through_with(&waiting);
        Ok(content)
    }
}

/// As the kernel encodes it (`new_encode_dev`).
fn device_number(major: u32, minor: u32) -> u32 {
    minor & 0xff | (major & 0xfff) << 8 | (minor & !0xff) << 12
}
