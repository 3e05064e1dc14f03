//! The superblock: what a squashfs file begins with, read and written here and nowhere else.
//!
//! Layout: Documentation/filesystems/squashfs.rst of Linux and `squashfs_fs.h`.

/// First bytes of every squashfs file (little endian `0x73717368`).
pub(crate) const MAGIC: [u8; 4] = *b"hsqs";
/// Bytes of it.
pub(crate) const SIZE: usize = 96;
/// What a table that is not there begins at.
pub(crate) const NO_TABLE: u64 = u64::MAX;
/// The one version that there is.
pub(crate) const VERSION: (u16, u16) = (4, 0);

/// What it says, whether that makes sense or not, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) inode_count: u32,
    /// When it was made, in seconds since 1970.
    pub(crate) made: u32,
    pub(crate) block_size: u32,
    pub(crate) fragment_count: u32,
    /// The compression, by its number.
    pub(crate) codec: u16,
    pub(crate) block_log: u16,
    pub(crate) flags: u16,
    pub(crate) id_count: u16,
    /// Major and minor.
    pub(crate) version: (u16, u16),
    /// The reference of the root directory's inode.
    pub(crate) root: u64,
    pub(crate) tables: Tables,
}

/// Where the tables begin, and all of it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tables {
    pub(crate) bytes_used: u64,
    pub(crate) ids: u64,
    pub(crate) xattrs: u64,
    pub(crate) inodes: u64,
    pub(crate) directories: u64,
    pub(crate) fragments: u64,
    /// Of inodes by number, for NFS.
    pub(crate) exports: u64,
}

impl Superblock {
    /// Reads it; `None` if this is no squashfs.
    pub(crate) fn parse(head: &[u8; SIZE]) -> Option<Superblock> {
        (head[..4] == MAGIC).then(|| Superblock::of(head))
    }

    /// Reads it, whatever it begins with.
    pub(crate) fn of(head: &[u8; SIZE]) -> Superblock {
        let short = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let word = |at: usize| u32::from(short(at)) | u32::from(short(at + 2)) << 16;
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        Superblock {
            inode_count: word(4),
            made: word(8),
            block_size: word(12),
            fragment_count: word(16),
            codec: short(20),
            block_log: short(22),
            flags: short(24),
            id_count: short(26),
            version: (short(28), short(30)),
            root: long(32),
            tables: Tables {
                bytes_used: long(40),
                ids: long(48),
                xattrs: long(56),
                inodes: long(64),
                directories: long(72),
                fragments: long(80),
                exports: long(88),
            },
        }
    }

    /// Its bytes.
    pub(crate) fn to_bytes(self) -> [u8; SIZE] {
        let Superblock { inode_count, made, block_size, fragment_count, .. } = self;
        let Superblock { codec, block_log, flags, id_count, version, root, tables, .. } = self;
        let words = [inode_count, made, block_size, fragment_count];
        let shorts = [codec, block_log, flags, id_count, version.0, version.1];
        let Tables { bytes_used, ids, xattrs, inodes, directories, fragments, exports } = tables;
        let longs = [root, bytes_used, ids, xattrs, inodes, directories, fragments, exports];
        let mut bytes = [0; SIZE];
        let parts = [&MAGIC[..]]
            .concat()
            .into_iter()
            .chain(words.into_iter().flat_map(u32::to_le_bytes))
            .chain(shorts.into_iter().flat_map(u16::to_le_bytes))
            .chain(longs.into_iter().flat_map(u64::to_le_bytes));
        bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        // Each byte another, and so each field.
        let mut head: [u8; SIZE] = std::array::from_fn(|at| at as u8);
        assert_eq!(Superblock::parse(&head), None);
        head[..4].copy_from_slice(&MAGIC);
        let read = Superblock::parse(&head).unwrap();
        assert_eq!((read.inode_count, read.version), (0x0706_0504, (0x1d1c, 0x1f1e)));
        assert_eq!(read.tables.inodes, 0x4746_4544_4342_4140);
        assert_eq!(read.to_bytes(), head);
    }
}
