//! Inodes. Owners are left out: a container's files are its user's.

use super::metadata::{Cursor, Position};
use super::{Image, Result, SquashfsError};

/// A file's fragment or attributes that are not there.
pub(super) const NONE: u32 = u32::MAX;
/// Longer than the kernel's `PATH_MAX` no link's target can be.
const LONGEST_TARGET: u32 = 4096;

/// What is known of a file.
#[derive(Clone, Debug)]
pub struct Inode {
    /// Its number.
    pub number: u32,
    /// The kind of file and its permissions, as in `st_mode`.
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: u32,
    /// Names it has.
    pub links: u32,
    /// Bytes of its contents, or of a link's target.
    pub size: u64,
    /// Bytes of its contents that are only zeros and are not stored.
    pub sparse: u64,
    /// What else there is.
    pub kind: Kind,
    pub(super) xattr: u32,
}

/// What an inode has by its kind.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A directory.
    Directory(Directory),
    /// A regular file.
    File(Contents),
    /// A symbolic link.
    Symlink(Target),
    /// A device, its number as the kernel encodes it.
    Device(u32),
    /// A FIFO or a socket.
    Pipe,
}

/// Where a directory's list is.
#[derive(Clone, Debug)]
pub struct Directory {
    /// The parent's inode number.
    pub parent: u32,
    pub(super) start: u32,
    pub(super) offset: u16,
    /// Bytes of its list.
    pub(super) length: u32,
    /// Entries of its index, and where they are.
    pub(super) index: (u16, Position),
}

/// Where a file's contents are.
#[derive(Clone, Debug)]
pub struct Contents {
    pub(super) start: u64,
    /// Number of the fragment with its end, and where in that.
    pub(super) fragment: (u32, u32),
    /// The sizes of its blocks.
    pub(super) blocks: Position,
}

/// Where a link's target is.
#[derive(Clone, Debug)]
pub struct Target(Position);

impl Image {
    /// The inode that a reference leads to.
    ///
    /// # Errors
    /// [`SquashfsError`].
    pub fn inode(&self, reference: u64) -> Result<Inode> {
        let mut cursor = self.cursor(Image::position(self.inodes, reference)?)?;
        let (code, mode) = (cursor.u16()?, cursor.u16()?);
        cursor.skip(4)?;
        let (mtime, number) = (cursor.u32()?, cursor.u32()?);
        let format = match code {
            1 | 8 => nix::libc::S_IFDIR,
            2 | 9 => nix::libc::S_IFREG,
            3 | 10 => nix::libc::S_IFLNK,
            4 | 11 => nix::libc::S_IFBLK,
            5 | 12 => nix::libc::S_IFCHR,
            6 | 13 => nix::libc::S_IFIFO,
            7 | 14 => nix::libc::S_IFSOCK,
            _ => return Err(SquashfsError::Damaged("the type of an inode")),
        };
        let mode = format | u32::from(mode & 0o7777);
        let kind = Kind::Pipe;
        let mut inode =
            Inode { number, mode, mtime, links: 1, size: 0, sparse: 0, kind, xattr: NONE };
        let extended = code > 7;
        match code {
            1 => inode.directory(&mut cursor)?,
            8 => inode.large_directory(&mut cursor)?,
            2 => inode.file(&mut cursor)?,
            9 => inode.large_file(&mut cursor)?,
            _ => {
                inode.links = cursor.u32()?;
                match code {
                    3 | 10 => inode.symlink(&mut cursor, extended)?,
                    4 | 5 | 11 | 12 => inode.kind = Kind::Device(cursor.u32()?),
                    _ => {}
                }
                if extended {
                    inode.xattr = cursor.u32()?;
                }
            }
        }
        Ok(inode)
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// [`SquashfsError`].
    pub fn target(&self, inode: &Inode, target: &Target) -> Result<Vec<u8>> {
        // Checked when the inode was read.
        self.cursor(target.0)?.bytes(inode.size as usize)
    }
}

impl Inode {
    fn directory(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let (start, links) = (cursor.u32()?, cursor.u32()?);
        let (size, offset) = (cursor.u16()?, cursor.u16()?);
        let parent = cursor.u32()?;
        self.lists(
            links,
            u32::from(size),
            Directory { parent, start, offset, length: 0, index: (0, cursor.position()) },
        )
    }

    fn large_directory(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let (links, size) = (cursor.u32()?, cursor.u32()?);
        let (start, parent) = (cursor.u32()?, cursor.u32()?);
        let (index, offset) = (cursor.u16()?, cursor.u16()?);
        self.xattr = cursor.u32()?;
        let index = (index, cursor.position());
        self.lists(links, size, Directory { parent, start, offset, length: 0, index })
    }

    fn lists(&mut self, links: u32, size: u32, directory: Directory) -> Result<()> {
        // Three more than there are, for `.` and `..`.
        let length = size.saturating_sub(3);
        self.links = links;
        self.size = u64::from(size);
        self.kind = Kind::Directory(Directory { length, ..directory });
        Ok(())
    }

    fn file(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let start = u64::from(cursor.u32()?);
        let fragment = (cursor.u32()?, cursor.u32()?);
        self.size = u64::from(cursor.u32()?);
        self.kind = Kind::File(Contents { start, fragment, blocks: cursor.position() });
        Ok(())
    }

    fn large_file(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let start = cursor.u64()?;
        self.size = cursor.u64()?;
        self.sparse = cursor.u64()?;
        self.links = cursor.u32()?;
        let fragment = (cursor.u32()?, cursor.u32()?);
        self.xattr = cursor.u32()?;
        if self.size > i64::MAX as u64 {
            return Err(SquashfsError::Damaged("the size of a file"));
        }
        self.kind = Kind::File(Contents { start, fragment, blocks: cursor.position() });
        Ok(())
    }

    fn symlink(&mut self, cursor: &mut Cursor<'_>, extended: bool) -> Result<()> {
        let length = cursor.u32()?;
        if length == 0 || length > LONGEST_TARGET {
            return Err(SquashfsError::Damaged("the length of a link"));
        }
        self.size = u64::from(length);
        self.kind = Kind::Symlink(Target(cursor.position()));
        if extended {
            cursor.skip(length as usize)?;
        }
        Ok(())
    }
}
