//! Inodes and directories, as the image has them. The long form of an inode is taken only where
//! the short one has no room.

use super::listing::Listing;
use super::output::{Placed, Run};
use super::tree::{Body, Content, Inode, NONE};

/// What an inode says besides what the tree knows of it.
pub(super) struct Context<'a> {
    pub(super) number: u32,
    pub(super) placed: &'a Placed,
    /// Of a directory.
    pub(super) directory: Option<(&'a Listing, DirectoryLinks)>,
}

/// A directory's place among others.
#[derive(Clone, Copy)]
pub(super) struct DirectoryLinks {
    /// The parent's inode number.
    pub(super) parent: u32,
    /// Directories in it.
    pub(super) below: u32,
}

/// The number of a kind of inode, as directories have it.
pub(super) fn kind(body: &Body) -> u16 {
    match body {
        Body::Directory(_) => 1,
        Body::File(_) => 2,
        Body::Symlink(_) => 3,
        Body::Device(false, _) => 4,
        Body::Device(true, _) => 5,
        Body::Fifo => 6,
        Body::Socket => 7,
    }
}

/// The long form's number is so much higher.
const LONG: u16 = 7;

struct Bytes<'a>(&'a mut Vec<u8>);

impl Bytes<'_> {
    fn shorts(&mut self, numbers: &[u16]) {
        numbers.iter().for_each(|number| self.0.extend(number.to_le_bytes()));
    }

    fn words(&mut self, numbers: &[u32]) {
        numbers.iter().for_each(|number| self.0.extend(number.to_le_bytes()));
    }

    fn longs(&mut self, numbers: &[u64]) {
        numbers.iter().for_each(|number| self.0.extend(number.to_le_bytes()));
    }
}

impl Inode {
    /// Appends it to `to`.
    pub(super) fn encode(&self, context: &Context<'_>, to: &mut Vec<u8>) {
        let at = to.len();
        let mut bytes = Bytes(to);
        bytes.shorts(&[kind(&self.body), self.mode, self.owner.0, self.owner.1]);
        bytes.words(&[self.mtime, context.number]);
        let attributes = self.xattr != NONE;
        let long = match &self.body {
            Body::Directory(_) => {
                let (listing, links) = context.directory.expect("it is a directory");
                self.directory(listing, links, &mut bytes)
            }
            Body::File(content) => self.file(content, context.placed, &mut bytes),
            Body::Symlink(target) => {
                bytes.words(&[self.links, target.len() as u32]);
                bytes.0.extend_from_slice(target);
                attributes
            }
            Body::Device(_, number) => {
                bytes.words(&[self.links, *number]);
                attributes
            }
            Body::Fifo | Body::Socket => {
                bytes.words(&[self.links]);
                attributes
            }
        };
        if !long {
            return;
        }
        let number = kind(&self.body) + LONG;
        to[at..at + 2].copy_from_slice(&number.to_le_bytes());
        if !matches!(self.body, Body::Directory(_) | Body::File(_)) {
            to.extend(self.xattr.to_le_bytes());
        }
    }

    fn directory(&self, listing: &Listing, links: DirectoryLinks, bytes: &mut Bytes<'_>) -> bool {
        // Three more, for `.` and `..`.
        let (size, count) = (listing.length + 3, links.below + 2);
        let place = listing.place;
        match u16::try_from(size) {
            Ok(size) if self.xattr == NONE && listing.index.is_empty() => {
                bytes.words(&[place.block, count]);
                bytes.shorts(&[size, place.offset]);
                bytes.words(&[links.parent]);
                false
            }
            _ => {
                bytes.words(&[count, size, place.block, links.parent]);
                bytes.shorts(&[listing.indexed, place.offset]);
                bytes.words(&[self.xattr]);
                bytes.0.extend_from_slice(&listing.index);
                true
            }
        }
    }

    fn file(&self, content: &Content, placed: &Placed, bytes: &mut Bytes<'_>) -> bool {
        let none = Run::default();
        let run =
            content.blocks.map_or(&none, |file| &placed.runs[placed.files[file as usize] as usize]);
        let (fragment, offset) = content.tail.unwrap_or((NONE, 0));
        let short = self.links == 1 && self.xattr == NONE && content.sparse == 0;
        let long = match (u32::try_from(run.start), u32::try_from(content.size)) {
            (Ok(start), Ok(size)) if short => {
                bytes.words(&[start, fragment, offset, size]);
                false
            }
            _ => {
                bytes.longs(&[run.start, content.size, content.sparse]);
                bytes.words(&[self.links, fragment, offset, self.xattr]);
                true
            }
        };
        bytes.words(&run.sizes);
        long
    }
}
