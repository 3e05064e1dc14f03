//! What the kernel is answered.

use std::sync::atomic::Ordering;

use hygiene::console;
use nix::Error as Errno;

use super::request::{Arguments, Request, operation};
use super::{MOST_BYTES, ROOT, Server};
use crate::{Entry, Inode, Kind, SquashfsError};
use linux::sys;

/// The protocol's version that answers are written in: Linux 5.4's.
const VERSION: (u32, u32) = (7, 31);
/// Seconds for which the kernel may believe what it was told.
const FOR_EVER: u64 = 1 << 30;

/// Answers to requests for reading may come in any order.
const ASYNC_READ: u32 = 1 << 0;
/// Names come with their attributes, where the kernel thinks that it will ask for them next.
const DO_READDIRPLUS: u32 = 1 << 13;
const READDIRPLUS_AUTO: u32 = 1 << 14;
/// Names of one directory may be looked up at once.
const PARALLEL_DIROPS: u32 = 1 << 18;
const MAX_PAGES: u32 = 1 << 22;
const CACHE_SYMLINKS: u32 = 1 << 23;
const WANTED: u32 =
    ASYNC_READ | DO_READDIRPLUS | READDIRPLUS_AUTO | PARALLEL_DIROPS | MAX_PAGES | CACHE_SYMLINKS;

/// An answer that is no error.
pub(super) enum Answer {
    /// None is expected.
    Nothing,
    Bytes(Vec<u8>),
    /// What a file has from an offset on: so many bytes in the buffer for data.
    Data(u64, usize),
}

impl Server<'_> {
    /// Opening, closing and what else is not here is answered once, with ENOSYS: the kernel then
    /// takes it that there is nothing to be done, and does not ask again.
    pub(super) fn answer(
        &self,
        request: &Request<'_>,
        data: &mut Vec<u8>,
    ) -> Result<Answer, Errno> {
        use operation::*;
        let (node, arguments) = (request.node, request.arguments);
        match request.operation {
            FORGET | BATCH_FORGET | INTERRUPT => Ok(Answer::Nothing),
            INIT => init(arguments).ok_or(Errno::EPROTO),
            LOOKUP => self.lookup(node, arguments),
            GETATTR => self.attributes(node),
            READLINK => self.target(node),
            READ => self.read(node, arguments, data),
            READDIR => self.list(node, arguments, false),
            READDIRPLUS => self.list(node, arguments, true),
            STATFS => Ok(self.statistics()),
            // Without any attributes the kernel need not ask for them one by one.
            GETXATTR if self.image.has_xattrs() => self.attribute(node, arguments),
            LISTXATTR => self.attribute_names(node, arguments),
            // An overlay of Linux 5.15 copies no file up whose flags it is told anything else of.
            IOCTL => Err(Errno::ENOTTY),
            _ => Err(Errno::ENOSYS),
        }
    }

    pub(super) fn reference(&self, node: u64) -> u64 {
        if node == ROOT { self.image.root() } else { node.wrapping_sub(2) }
    }

    fn inode(&self, node: u64) -> Result<Inode, Errno> {
        self.image.inode(self.reference(node)).map_err(|error| self.complain(&error))
    }

    /// What is wrong with the image is said once.
    fn complain(&self, error: &SquashfsError) -> Errno {
        if !self.complained.swap(true, Ordering::Relaxed) {
            // A limit on the size of files is one on the log, too.
            console::tell(error);
        }
        Errno::EIO
    }

    fn lookup(&self, node: u64, arguments: Arguments<'_>) -> Result<Answer, Errno> {
        let name = arguments.name(0).ok_or(Errno::EINVAL)?;
        let Kind::Directory(directory) = self.inode(node)?.kind else { return Err(Errno::ENOTDIR) };
        let found = self.image.lookup(&directory, name).map_err(|error| self.complain(&error))?;
        let mut bytes = Bytes::with(128);
        match found {
            Some(entry) => self.entry(&mut bytes, &entry)?,
            // That there is none may be believed, too.
            None => bytes.longs(&[0, 0, FOR_EVER, 0]).zeros(128 - 32),
        }
        Ok(Answer::Bytes(bytes.0))
    }

    /// An entry with its attributes: `struct fuse_entry_out`.
    fn entry(&self, bytes: &mut Bytes, entry: &Entry) -> Result<(), Errno> {
        let inode = self.image.inode(entry.reference).map_err(|error| self.complain(&error))?;
        bytes.longs(&[entry.reference + 2, 0, FOR_EVER, FOR_EVER]).words(&[0, 0]);
        self.stat(bytes, &inode);
        Ok(())
    }

    fn attributes(&self, node: u64) -> Result<Answer, Errno> {
        let inode = self.inode(node)?;
        let mut bytes = Bytes::with(104);
        bytes.longs(&[FOR_EVER]).words(&[0, 0]);
        self.stat(&mut bytes, &inode);
        Ok(Answer::Bytes(bytes.0))
    }

    /// `struct fuse_attr`
    fn stat(&self, bytes: &mut Bytes, inode: &Inode) {
        let blocks = inode.size.saturating_sub(inode.sparse).div_ceil(512);
        let time = u64::from(inode.mtime);
        let device = if let Kind::Device(number) = inode.kind { number } else { 0 };
        bytes.longs(&[inode.number.into(), inode.size, blocks, time, time, time]);
        bytes.words(&[0, 0, 0, inode.mode, inode.links, self.owner.0, self.owner.1, device]);
        bytes.words(&[self.image.block_size(), 0]);
    }

    fn target(&self, node: u64) -> Result<Answer, Errno> {
        let inode = self.inode(node)?;
        let Kind::Symlink(target) = &inode.kind else { return Err(Errno::EINVAL) };
        let target = self.image.target(&inode, target);
        target.map(Answer::Bytes).map_err(|error| self.complain(&error))
    }

    fn read(
        &self,
        node: u64,
        arguments: Arguments<'_>,
        data: &mut Vec<u8>,
    ) -> Result<Answer, Errno> {
        let (offset, size) = range(arguments).ok_or(Errno::EINVAL)?;
        let inode = self.inode(node)?;
        let Kind::File(contents) = &inode.kind else { return Err(Errno::EINVAL) };
        // Never cut short, which would be the end of the file.
        data.resize(data.len().max(size), 0);
        let length = self.image.read(&inode, contents, offset, &mut data[..size]);
        length.map(|length| Answer::Data(offset, length)).map_err(|error| self.complain(&error))
    }

    fn list(&self, node: u64, arguments: Arguments<'_>, plus: bool) -> Result<Answer, Errno> {
        let (offset, size) = range(arguments).ok_or(Errno::EINVAL)?;
        let inode = self.inode(node)?;
        let Kind::Directory(directory) = &inode.kind else { return Err(Errno::ENOTDIR) };
        let mut bytes = Bytes::with(size.min(MOST_BYTES));
        for (at, number, name) in [(1, inode.number, &b"."[..]), (2, directory.parent, b"..")] {
            if offset < at {
                // Known to the kernel: no node, no attributes.
                bytes.zeros(if plus { 128 } else { 0 });
                bytes.name(number, at, nix::libc::DT_DIR.into(), name);
            }
        }
        let from = u32::try_from(offset.saturating_sub(2)).unwrap_or(u32::MAX);
        let entries = self.image.list(directory, from).map_err(|error| self.complain(&error))?;
        for entry in entries {
            let before = bytes.0.len();
            let entry = match entry.map_err(|error| self.complain(&error)) {
                Ok(entry) => entry,
                // What is before it can be read.
                Err(_) if before > 0 => break,
                Err(errno) => return Err(errno),
            };
            if plus && self.entry(&mut bytes, &entry).is_err() {
                // The name alone: who wants more is told what is wrong.
                bytes.0.truncate(before);
                bytes.zeros(128);
            }
            bytes.name(entry.number, u64::from(entry.next) + 2, entry.kind, &entry.name);
            if bytes.0.len() > size {
                bytes.0.truncate(before);
                break;
            }
        }
        Ok(Answer::Bytes(bytes.0))
    }

    /// `struct fuse_kstatfs`
    fn statistics(&self) -> Answer {
        let block = self.image.block_size();
        let blocks = self.image.bytes().div_ceil(block.into());
        let mut bytes = Bytes::with(80);
        bytes.longs(&[blocks, 0, 0, self.image.inode_count().into(), 0]);
        bytes.words(&[block, 256, block]).zeros(28);
        Answer::Bytes(bytes.0)
    }

    fn attribute(&self, node: u64, arguments: Arguments<'_>) -> Result<Answer, Errno> {
        let name = arguments.name(8).ok_or(Errno::EINVAL)?;
        let found = self.image.attribute(&self.inode(node)?, name);
        let found = found.map_err(|error| self.complain(&error))?;
        sized(arguments, found.ok_or(Errno::ENODATA)?)
    }

    fn attribute_names(&self, node: u64, arguments: Arguments<'_>) -> Result<Answer, Errno> {
        let names = self.image.attribute_names(&self.inode(node)?);
        sized(arguments, names.map_err(|error| self.complain(&error))?)
    }
}

/// Whoever asks with no room wants to know how much it takes.
fn sized(arguments: Arguments<'_>, value: Vec<u8>) -> Result<Answer, Errno> {
    match arguments.word(0).ok_or(Errno::EINVAL)? as usize {
        0 => Ok(Answer::Bytes(Bytes::with(8).words(&[value.len() as u32, 0]).0.clone())),
        room if room < value.len() => Err(Errno::ERANGE),
        _ => Ok(Answer::Bytes(value)),
    }
}

/// Offset and size of `struct fuse_read_in`.
fn range(arguments: Arguments<'_>) -> Option<(u64, usize)> {
    Some((arguments.long(8)?, arguments.word(16)? as usize))
}

/// `struct fuse_init_out`. A kernel of another major version is told ours, and asks again.
fn init(arguments: Arguments<'_>) -> Option<Answer> {
    let (major, minor) = (arguments.word(0)?, arguments.word(4)?);
    let (read_ahead, offered) = (arguments.word(8)?, arguments.word(12)?);
    let pages = (MOST_BYTES / sys::page_size()) as u16;
    let mut bytes = Bytes::with(64);
    bytes.words(&[VERSION.0, VERSION.1.min(minor), read_ahead, offered & WANTED]);
    // Requests that may wait, and of how many more the kernel is to go slow.
    bytes.shorts(&[64, 48]);
    // Nobody writes. Times are in nanoseconds.
    bytes.words(&[4096, 1]).shorts(&[pages, 0]).zeros(32);
    (major >= VERSION.0).then_some(Answer::Bytes(bytes.0))
}

/// Numbers in the machine's byte order, one after the other.
struct Bytes(Vec<u8>);

impl Bytes {
    fn with(room: usize) -> Bytes {
        Bytes(Vec::with_capacity(room))
    }

    fn shorts(&mut self, numbers: &[u16]) -> &mut Bytes {
        numbers.iter().for_each(|number| self.0.extend(number.to_ne_bytes()));
        self
    }

    fn words(&mut self, numbers: &[u32]) -> &mut Bytes {
        numbers.iter().for_each(|number| self.0.extend(number.to_ne_bytes()));
        self
    }

    fn longs(&mut self, numbers: &[u64]) -> &mut Bytes {
        numbers.iter().for_each(|number| self.0.extend(number.to_ne_bytes()));
        self
    }

    fn zeros(&mut self, count: usize) {
        self.0.resize(self.0.len() + count, 0);
    }

    /// `struct fuse_dirent`
    fn name(&mut self, number: u32, next: u64, kind: u32, name: &[u8]) {
        self.longs(&[number.into(), next]).words(&[name.len() as u32, kind]);
        self.0.extend(name);
        self.zeros(self.0.len().next_multiple_of(8) - self.0.len());
    }
}
