//! The end of an image: inodes, directories, tables, and the superblock, which comes first.

use std::io::BufWriter;

use super::ids::Ids;
use super::inodes::{Context, DirectoryLinks, kind};
use super::listing::{Listing, Named};
use super::options::seconds;
use super::output::Placed;
use super::tables::{Chain, End, Place};
use super::tree::{Body, ROOT, Tree};
use super::xattrs::Sets;
use super::{Compression, Options, Tails, WriteError};
use crate::superblock::{NO_TABLE, Superblock, Tables, VERSION};

/// All that was added.
pub(super) struct Image<'a> {
    pub(super) options: &'a Options,
    pub(super) tree: Tree,
    pub(super) ids: Ids,
    pub(super) sets: Sets,
    pub(super) placed: Placed,
}

/// Inodes and directories on their way.
struct Nodes<'a> {
    tree: &'a Tree,
    placed: &'a Placed,
    /// Entries by directory and name, and where those of each directory begin.
    order: Vec<u32>,
    starts: Vec<u32>,
    /// Of each inode: its number, from 1 on, and where it is.
    numbers: Vec<u32>,
    places: Vec<Option<Place>>,
    listings: Vec<Listing>,
    inodes: Chain<BufWriter<End>>,
    directories: Chain<Vec<u8>>,
}

impl Image<'_> {
    /// Writes it behind the data: the bytes of the image, without what fills it up.
    pub(super) fn write(self, end: End) -> Result<u64, WriteError> {
        let Image { options, tree, ids, sets, placed } = self;
        let inodes = end.at();
        let Written { mut end, listings, root, lookups } =
            Nodes::write(options, &tree, &placed, end)?;
        let (inode_count, fragment_count) =
            (tree.inodes.len() as u32, placed.fragments.len() as u32);
        drop(tree);
        let directories = end.at();
        end.put(&listings)?;
        drop(listings);
        let bare = |_| Vec::new();
        let fragments: Vec<u8> = placed.fragments.iter().flat_map(fragment).collect();
        // Even if there are none: unsquashfs 4.4 wants a place.
        let fragments = end.table(&fragments, bare, "bytes of the table of fragments")?;
        let lookups = end.table(&lookups, bare, "bytes of the table of inodes")?;
        let ids_start = end.table(&ids.bytes(), bare, "bytes of the table of ids")?;
        let xattrs = sets.finish(&mut end)?.unwrap_or(NO_TABLE);
        let bytes_used = end.at();
        end.pad()?;
        let superblock = Superblock {
            inode_count,
            made: seconds(options.made),
            block_size: options.block_size,
            fragment_count,
            codec: options.number(),
            block_log: options.block_size.trailing_zeros() as u16,
            flags: options.flags(),
            id_count: ids.count(),
            version: VERSION,
            root: root.reference(),
            tables: Tables {
                bytes_used,
                ids: ids_start,
                xattrs,
                inodes,
                directories,
                fragments,
                exports: lookups,
            },
        };
        // Last of all: what is given up before is no image.
        end.head(&superblock.to_bytes())?;
        Ok(bytes_used)
    }
}

fn fragment((start, size): &(u64, u32)) -> [u8; 16] {
    let mut entry = [0; 16];
    entry[..8].copy_from_slice(&start.to_le_bytes());
    entry[8..12].copy_from_slice(&size.to_le_bytes());
    entry
}

impl Options {
    /// How tables are packed.
    pub(super) fn for_tables(&self) -> Compression {
        if self.packed_tables { self.compression } else { Compression::None }
    }

    /// The compression's number; that of zstd where nothing is packed.
    fn number(&self) -> u16 {
        match self.compression {
            Compression::Gzip(_) => 1,
            Compression::None | Compression::Zstd(_) => 6,
        }
    }

    /// What mksquashfs would tell of its options; nobody who reads needs it.
    fn flags(&self) -> u16 {
        let plain_tables = self.for_tables() == Compression::None;
        let plain_data = self.compression == Compression::None;
        let flags = [
            // Inodes, attributes and ids are not packed.
            (plain_tables, 0x1 | 0x100 | 0x800),
            // Nor are data and fragments.
            (plain_data, 0x2 | 0x8),
            (self.tails == Tails::Apart, 0x10),
            (self.tails == Tails::OfAllFiles, 0x20),
            (self.duplicates, 0x40),
            // There is a table of inodes, for NFS.
            (true, 0x80),
        ];
        flags.iter().filter(|(is, _)| *is).map(|(_, flag)| flag).sum()
    }
}

/// Each inode's number: those of a directory are near each other.
fn numbers(tree: &Tree, order: &[u32], starts: &[u32]) -> Vec<u32> {
    let mut numbers = vec![0; tree.inodes.len()];
    let mut next = 1;
    numbers[ROOT as usize] = next;
    for directory in parents_first(tree, order, starts) {
        for entry in below(directory, order, starts) {
            let number = &mut numbers[tree.entries[*entry as usize].inode as usize];
            if *number == 0 {
                next += 1;
                *number = next;
            }
        }
    }
    numbers
}

/// The entries of a directory.
fn below<'a>(directory: u32, order: &'a [u32], starts: &[u32]) -> &'a [u32] {
    let directory = directory as usize;
    &order[starts[directory] as usize..starts[directory + 1] as usize]
}

/// All directories, each before those in it, the last of those first. Without recursion: a tree
/// may be deeper than a stack.
fn parents_first(tree: &Tree, order: &[u32], starts: &[u32]) -> Vec<u32> {
    let (mut out, mut stack) = (Vec::with_capacity(tree.directories.len()), vec![ROOT]);
    while let Some(directory) = stack.pop() {
        out.push(directory);
        for entry in below(directory, order, starts) {
            if let Body::Directory(number) =
                &tree.inodes[tree.entries[*entry as usize].inode as usize].body
            {
                stack.push(*number);
            }
        }
    }
    out
}

/// What has become of them.
struct Written {
    /// Where the output goes on.
    end: End,
    /// The directories.
    listings: Vec<u8>,
    root: Place,
    /// The references of all inodes.
    lookups: Vec<u8>,
}

impl Nodes<'_> {
    fn write(
        options: &Options,
        tree: &Tree,
        placed: &Placed,
        end: End,
    ) -> Result<Written, WriteError> {
        let (order, starts) = tree.sorted()?;
        let tables = options.for_tables();
        let mut nodes = Nodes {
            tree,
            placed,
            numbers: numbers(tree, &order, &starts),
            places: vec![None; tree.inodes.len()],
            listings: tree.directories.iter().map(|_| Listing::default()).collect(),
            inodes: Chain::new(BufWriter::with_capacity(1 << 20, end), tables, "bytes of inodes")?,
            directories: Chain::new(Vec::new(), tables, "bytes of directories")?,
            order,
            starts,
        };
        // Children first, whose places their parents' lists have.
        for directory in parents_first(tree, &nodes.order, &nodes.starts).into_iter().rev() {
            nodes.directory(directory)?;
        }
        let root = nodes.inode(ROOT)?;
        let mut lookups = vec![0; nodes.numbers.len() * 8];
        for (number, place) in nodes.numbers.iter().zip(&nodes.places) {
            let reference = place.expect("every inode has a name").reference();
            lookups[(*number as usize - 1) * 8..][..8].copy_from_slice(&reference.to_le_bytes());
        }
        let end = nodes.inodes.finish()?.into_inner();
        let end = end.map_err(|error| WriteError::Output(error.into_error()))?;
        Ok(Written { end, listings: nodes.directories.finish()?, root, lookups })
    }

    /// Writes what is in a directory, and its list.
    fn directory(&mut self, directory: u32) -> Result<(), WriteError> {
        let tree = self.tree;
        let range =
            self.starts[directory as usize] as usize..self.starts[directory as usize + 1] as usize;
        let mut named = Vec::with_capacity(range.len());
        for at in range {
            let entry = &tree.entries[self.order[at] as usize];
            let place = match self.places[entry.inode as usize] {
                Some(place) => place,
                None => self.inode(entry.inode)?,
            };
            named.push(Named {
                name: tree.name(entry),
                number: self.numbers[entry.inode as usize],
                kind: kind(&tree.inodes[entry.inode as usize].body),
                inode: place,
            });
        }
        self.listings[directory as usize] = Listing::write(&named, &mut self.directories)?;
        Ok(())
    }

    fn inode(&mut self, at: u32) -> Result<Place, WriteError> {
        let inode = &self.tree.inodes[at as usize];
        let place = self.inodes.place()?;
        self.places[at as usize] = Some(place);
        let directory = match inode.body {
            Body::Directory(number) => Some(number),
            _ => None,
        };
        let directory = directory.map(|number| {
            let links = DirectoryLinks { parent: self.parent(number), below: self.count(number) };
            (&self.listings[number as usize], links)
        });
        let context = Context { number: self.numbers[at as usize], placed: self.placed, directory };
        let mut bytes = Vec::new();
        inode.encode(&context, &mut bytes);
        self.inodes.put(&bytes)?;
        Ok(place)
    }

    /// The inode number of a directory's parent; the root's is nobody's.
    fn parent(&self, directory: u32) -> u32 {
        match directory {
            ROOT => self.tree.inodes.len() as u32 + 1,
            _ => {
                let parent = self.tree.directories[directory as usize].parent;
                self.numbers[self.tree.directories[parent as usize].inode as usize]
            }
        }
    }

    /// Directories in a directory.
    fn count(&self, directory: u32) -> u32 {
        let names = self.tree.directories[directory as usize].below.len();
        u32::try_from(names).unwrap_or(u32::MAX)
    }
}
