//! Reads squashfs 4.0 images, as Documentation/filesystems/squashfs.rst of Linux describes them,
//! and writes them ([`write`](mod@write)).
//!
//! An image is whatever a user was given: every number in it is checked before it is used, and
//! what an inconsistent one costs is an error, not a panic, an endless loop or all the memory.

#![deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

mod cache;
mod codec;
mod data;
mod directory;
pub mod fuse;
pub mod image;
mod inode;
mod lzo;
mod metadata;
pub mod mksquashfs;
pub mod program;
pub mod sif;
mod superblock;
mod unpack;
pub mod unsquashfs;
mod walk;
pub mod write;
mod xattr;

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;

pub use codec::Codec;
pub use directory::{Entry, Listing};
pub use inode::{Inode, Kind};
pub use unpack::{LeftOut, Limits, UnpackError};

use cache::Cache;
use data::Blocks;
use metadata::{Metadata, Position};
use sif::{Extent, SifError};
use superblock::{NO_TABLE, SIZE, Superblock, Tables, VERSION};

/// Bytes of unpacked metadata and of unpacked data that are kept.
const KEPT_METADATA: usize = 4 << 20;
const KEPT_DATA: usize = 16 << 20;
/// Bytes of the block lists of files.
const KEPT_BLOCKS: usize = 16 << 20;

/// Why something cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SquashfsError {
    /// The file itself cannot be read.
    #[error("cannot read the image: {0}")]
    Read(io::Error),
    /// A kind of image that is left to other programs.
    #[error("squashfs {0} is not read here")]
    Unsupported(String),
    /// It contradicts itself.
    #[error("the image is damaged: {0}")]
    Damaged(&'static str),
    /// The file around it contradicts itself, or has another kind of image.
    #[error("the image {0}")]
    Sif(#[from] SifError),
}

type Result<T> = std::result::Result<T, SquashfsError>;

/// An image that can be read from several threads at once.
pub struct Image {
    file: File,
    /// Where in the file it is.
    extent: Extent,
    codec: Codec,
    block_size: u32,
    /// Inodes there are, and bytes of the whole file system.
    counts: (u32, u64),
    root: u64,
    inodes: u64,
    directories: u64,
    fragments: (u64, u32),
    xattrs: Option<xattr::Table>,
    metadata: Cache<Metadata>,
    data: Cache<Vec<u8>>,
    blocks: Cache<Blocks>,
}

impl Image {
    /// Reads the superblock. Nothing else is looked at before it is asked for.
    ///
    /// # Errors
    /// [`SquashfsError::Unsupported`] for compressions and versions that are left to others.
    pub fn open(file: File) -> Result<Image> {
        let mut head = [0; sif::HEADER];
        let count = file.read_at(&mut head, 0).map_err(SquashfsError::Read)?;
        let extent = Extent::in_file(&file, &head[..count])?;
        let mut superblock = *head.first_chunk::<SIZE>().expect("a header is longer");
        if extent.start > 0 || count < SIZE {
            file.read_exact_at(&mut superblock, extent.start).map_err(SquashfsError::Read)?;
        }
        let superblock =
            Superblock::parse(&superblock).ok_or(SquashfsError::Damaged("no squashfs"))?;
        let Superblock { version, block_size, tables, .. } = superblock;
        if version != VERSION {
            let version = format!("version {}.{}", version.0, version.1);
            return Err(SquashfsError::Unsupported(version));
        }
        let codec = Codec::of(superblock.codec)?;
        if !block_size.is_power_of_two() || !(4096..=1 << 20).contains(&block_size) {
            return Err(SquashfsError::Damaged("its block size"));
        }
        let Tables { bytes_used, xattrs, inodes, directories, fragments, .. } = tables;
        let mut image = Image {
            file,
            extent,
            codec,
            block_size,
            counts: (superblock.inode_count, bytes_used),
            root: superblock.root,
            inodes,
            directories,
            fragments: (fragments, superblock.fragment_count),
            xattrs: None,
            metadata: Cache::new(KEPT_METADATA),
            data: Cache::new(KEPT_DATA),
            blocks: Cache::new(KEPT_BLOCKS),
        };
        image.xattrs = match xattrs {
            NO_TABLE => None,
            start => xattr::Table::read(&image, start)?,
        };
        Ok(image)
    }

    /// The file's descriptor.
    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// The reference of the root directory's inode.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Bytes of a block.
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Number of inodes.
    pub fn inode_count(&self) -> u32 {
        self.counts.0
    }

    /// Bytes of the file system, packed.
    pub fn bytes(&self) -> u64 {
        self.counts.1
    }

    /// Whether anything has an extended attribute.
    pub fn has_xattrs(&self) -> bool {
        self.xattrs.is_some()
    }

    /// Where a reference, 48 bits as inodes and directories have them, leads in a table.
    fn position(table: u64, reference: u64) -> Result<Position> {
        let block = table.checked_add(reference >> 16).filter(|_| reference >> 48 == 0);
        let block = block.ok_or(SquashfsError::Damaged("a reference"))?;
        Ok(Position { block, offset: (reference & 0xffff) as usize })
    }
}
