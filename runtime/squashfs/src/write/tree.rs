//! What there is in the image: names, and inodes that they lead to.

use std::collections::BTreeMap;

use super::tails;
use super::{Attributes, WriteError};

/// What is not there: a fragment, attributes.
pub(super) const NONE: u32 = u32::MAX;
/// The root, among the directories and among the inodes.
pub(super) const ROOT: u32 = 0;
const NAME_MAX: usize = 255;

/// A name in a directory.
#[derive(Debug)]
pub(super) struct Entry {
    /// The directory, among the directories.
    pub(super) parent: u32,
    pub(super) inode: u32,
    at: u32,
    length: u8,
}

/// A file, whatever names it has.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) mode: u16,
    /// Among the ids.
    pub(super) owner: (u16, u16),
    pub(super) mtime: u32,
    /// Among the sets of extended attributes.
    pub(super) xattr: u32,
    /// Names it has.
    pub(super) links: u32,
    pub(super) body: Body,
}

/// What an inode has by its kind.
#[derive(Debug)]
pub(super) enum Body {
    /// Which of the directories.
    Directory(u32),
    File(Box<Content>),
    Symlink(Box<[u8]>),
    /// A character device or another one, its number as the kernel encodes it.
    Device(bool, u32),
    Fifo,
    Socket,
}

/// Where a file's content is.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) size: u64,
    /// Bytes in holes.
    pub(super) sparse: u64,
    /// Its number among the files with blocks.
    pub(super) blocks: Option<u32>,
    pub(super) tail: Option<tails::Place>,
}

#[derive(Debug)]
pub(super) struct Directory {
    pub(super) inode: u32,
    pub(super) parent: u32,
    /// Directories in it.
    pub(super) below: BTreeMap<Box<[u8]>, u32>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Tree {
    names: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    pub(super) inodes: Vec<Inode>,
    pub(super) directories: Vec<Directory>,
    /// What directories get that nobody describes.
    usual: (u16, (u16, u16), u32),
    /// The directory looked for last.
    last: (Vec<u8>, u32),
}

impl Tree {
    /// An empty root; directories that are not described get its attributes.
    pub(super) fn new(mode: u16, owner: (u16, u16), mtime: u32) -> Tree {
        let mut tree = Tree {
            names: Vec::new(),
            entries: Vec::new(),
            inodes: Vec::new(),
            directories: Vec::new(),
            usual: (mode, owner, mtime),
            last: (Vec::new(), ROOT),
        };
        let root = tree.usual_directory(ROOT);
        tree.inodes.push(root);
        tree.directories.push(Directory { inode: ROOT, parent: ROOT, below: BTreeMap::new() });
        tree
    }

    fn usual_directory(&self, number: u32) -> Inode {
        let (mode, owner, mtime) = self.usual;
        Inode { mode, owner, mtime, xattr: NONE, links: 1, body: Body::Directory(number) }
    }

    pub(super) fn name(&self, entry: &Entry) -> &[u8] {
        &self.names[entry.at as usize..][..usize::from(entry.length)]
    }

    /// The path of an entry, for messages.
    pub(super) fn path(&self, entry: &Entry) -> Vec<u8> {
        let mut parts = vec![self.name(entry)];
        let mut above = entry.parent;
        while above != ROOT {
            let Directory { inode, parent, .. } = self.directories[above as usize];
            // Of those that have an inode at all, a directory has one entry.
            let entry = self.entries.iter().find(|entry| entry.inode == inode);
            parts.extend(entry.map(|entry| self.name(entry)));
            above = parent;
        }
        parts.reverse();
        parts.join(&b'/')
    }

    /// The directory at a path, made if need be; the root's is empty.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<u32, WriteError> {
        if path == self.last.0 {
            return Ok(self.last.1);
        }
        let mut here = ROOT;
        for name in path.split(|byte| *byte == b'/').filter(|_| !path.is_empty()) {
            check(name, path)?;
            here = match self.directories[here as usize].below.get(name) {
                Some(there) => *there,
                None => self.make_directory(here, name)?,
            };
        }
        self.last = (path.to_owned(), here);
        Ok(here)
    }

    fn make_directory(&mut self, parent: u32, name: &[u8]) -> Result<u32, WriteError> {
        let number = self.directories.len() as u32;
        let inode = self.push(self.usual_directory(number))?;
        self.directories.push(Directory { inode, parent, below: BTreeMap::new() });
        self.directories[parent as usize].below.insert(name.into(), number);
        self.enter(parent, name, inode)?;
        Ok(number)
    }

    /// Describes a directory.
    pub(super) fn describe(
        &mut self,
        path: &[u8],
        (mode, owner, mtime, xattr): (u16, (u16, u16), u32, u32),
    ) -> Result<u32, WriteError> {
        let number = self.directory(path)?;
        let inode = self.directories[number as usize].inode;
        let body = Body::Directory(number);
        self.inodes[inode as usize] = Inode { mode, owner, mtime, xattr, links: 1, body };
        Ok(inode)
    }

    /// Adds what is no directory; it has no name yet.
    pub(super) fn push(&mut self, inode: Inode) -> Result<u32, WriteError> {
        let number = self.inodes.len() as u32;
        if number >= u32::MAX - 2 {
            return Err(WriteError::limit(u32::MAX, "inodes"));
        }
        self.inodes.push(inode);
        Ok(number)
    }

    /// Gives an inode a name: where it goes is checked first, by [`Tree::parent`].
    pub(super) fn enter(&mut self, parent: u32, name: &[u8], inode: u32) -> Result<(), WriteError> {
        let full = |_| WriteError::limit(u32::MAX, "bytes of names");
        let at = u32::try_from(self.names.len()).map_err(full)?;
        self.names.extend_from_slice(name);
        self.entries.push(Entry { parent, inode, at, length: name.len() as u8 });
        Ok(())
    }

    /// The directory of a path, made if need be, and the last name.
    pub(super) fn parent<'a>(&mut self, path: &'a [u8]) -> Result<(u32, &'a [u8]), WriteError> {
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let (above, name) = match slash {
            Some(0) => return Err(WriteError::entry(path, "it has an empty name")),
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&path[..0], path),
        };
        check(name, path)?;
        Ok((self.directory(above)?, name))
    }

    /// The entries by directory and name, and where those of each directory begin; there is one
    /// end more.
    pub(super) fn sorted(&self) -> Result<(Vec<u32>, Vec<u32>), WriteError> {
        let mut order: Vec<u32> = (0..self.entries.len() as u32).collect();
        let entry = |at: &u32| &self.entries[*at as usize];
        let key = |at: &u32| (entry(at).parent, self.name(entry(at)));
        order.sort_unstable_by(|one, other| key(one).cmp(&key(other)));
        if let Some(twice) = order.windows(2).find(|pair| key(&pair[0]) == key(&pair[1])) {
            return Err(WriteError::entry(&self.path(entry(&twice[0])), "it is there twice"));
        }
        let mut starts = vec![0; self.directories.len() + 1];
        for entry in &self.entries {
            starts[entry.parent as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        Ok((order, starts))
    }
}

/// Checks one name of a path.
fn check(name: &[u8], path: &[u8]) -> Result<(), WriteError> {
    let problem = match name {
        b"" => "it has an empty name",
        b"." | b".." => "it is not the shortest path",
        name if name.len() > NAME_MAX => "a name has more than 255 bytes",
        name if name.contains(&0) => "a name has a zero byte",
        _ => return Ok(()),
    };
    Err(WriteError::entry(path, problem))
}

/// The mode of an inode, which says nothing of its kind.
pub(super) fn mode(attributes: &Attributes<'_>) -> u16 {
    (attributes.mode & 0o7777) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_of_names() {
        let mut tree = Tree::new(0o755, (0, 0), 0);
        for path in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a\0b", "a/\0/b"] {
            let error = tree.parent(path.as_bytes()).unwrap_err();
            assert!(matches!(error, WriteError::Entry { .. }), "{path:?}: {error}");
        }
        let long = [b'n'; 256];
        assert!(tree.parent(&long).is_err());
        assert!(tree.parent(&[&long[..], b"/x"].concat()).is_err());
        assert_eq!(tree.parent(&long[1..]).unwrap(), (ROOT, &long[1..]));
        let (b, name) = tree.parent(b"a/b/...").unwrap();
        assert_eq!((b, name), (2, &b"..."[..]));
        tree.enter(b, name, ROOT).unwrap();
        assert_eq!(tree.path(&tree.entries[2]), b"a/b/...");
    }

    #[test]
    fn names_are_there_once() {
        let mut tree = Tree::new(0o755, (0, 0), 0);
        let (a, name) = tree.parent(b"a/b").unwrap();
        tree.enter(a, name, ROOT).unwrap();
        assert!(tree.sorted().is_ok());
        tree.directory(b"a/b").unwrap();
        let error = tree.sorted().unwrap_err().to_string();
        assert_eq!(error, "\"a/b\" cannot be put into an image: it is there twice");
    }
}
