//! The files of a squashfs image as a layer: in the order of their names, whoever has made the image.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};

use linux::file_error::FileError;
use squashfs::{Entry, Image, Inode, Kind as Squashed, SquashfsError};

use crate::import::ImportError;
use crate::tarball::{Header, Kind, Writer, Xattr};

/// Deeper no honest image is: a path has at most 4096 bytes.
const LONGEST_PATH: usize = 4000;
/// To others such a name means that another one is gone.
const WHITEOUT: &[u8] = b".wh.";

/// Writes all files to `output`. Returns that, and the names of files that cannot be in a layer.
pub(super) fn write<W: Write>(image: &Image, output: W) -> Result<(W, Vec<String>), ImportError> {
    let mut walk = Walk {
        image,
        writer: Writer::new(output),
        names: HashMap::new(),
        met: HashSet::new(),
        left_out: Vec::new(),
    };
    let root = image.inode(image.root())?;
    walk.put(b"./", &root, image.root())?;
    walk.below(root)?;
    let output = walk.writer.finish().map_err(unwritten)?;
    Ok((output, walk.left_out))
}

struct Walk<'a, W> {
    image: &'a Image,
    writer: Writer<W>,
    /// The first name of what has several, by where it is in the image.
    names: HashMap<u64, Vec<u8>>,
    /// Directories: one that is met again is in itself, or in two.
    met: HashSet<u64>,
    left_out: Vec<String>,
}

impl<W: Write> Walk<'_, W> {
    fn below(&mut self, root: Inode) -> Result<(), ImportError> {
        // Directories that are open: path, entries that are left.
        let mut open = vec![(Vec::new(), self.entries(&root)?)];
        while let Some((path, entries)) = open.last_mut() {
            let Some(entry) = entries.next() else {
                open.pop();
                continue;
            };
            let mut path = path.clone();
            path.extend(&entry.name);
            if path.len() > LONGEST_PATH {
                return Err(SquashfsError::Damaged("a path is too long").into());
            }
            if entry.name.starts_with(WHITEOUT) {
                self.left_out.push(String::from_utf8_lossy(&path).into_owned());
                continue;
            }
            let inode = self.image.inode(entry.reference)?;
            self.put(&path, &inode, entry.reference)?;
            if let Squashed::Directory(_) = inode.kind {
                path.push(b'/');
                open.push((path, self.entries(&inode)?));
            }
        }
        Ok(())
    }

    /// A directory's, sorted.
    fn entries(&mut self, inode: &Inode) -> Result<std::vec::IntoIter<Entry>, ImportError> {
        let Squashed::Directory(directory) = &inode.kind else {
            return Err(SquashfsError::Damaged("its root is no directory").into());
        };
        if !self.met.insert(u64::from(inode.number)) {
            return Err(SquashfsError::Damaged("a directory is in two places").into());
        }
        let mut entries =
            self.image.list(directory, 0)?.collect::<Result<Vec<_>, SquashfsError>>()?;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries.into_iter())
    }

    fn put(&mut self, path: &[u8], inode: &Inode, reference: u64) -> Result<(), ImportError> {
        let several = inode.links > 1 && !matches!(inode.kind, Squashed::Directory(_));
        let first = several.then(|| self.names.get(&reference).cloned()).flatten();
        let kind = match (&inode.kind, first) {
            (_, Some(first)) => Kind::HardLink(first),
            (Squashed::Directory(_), _) => Kind::Directory,
            (Squashed::File(_), _) => Kind::File,
            (Squashed::Symlink(target), _) => Kind::Symlink(self.image.target(inode, target)?),
            (Squashed::Pipe, _) if inode.mode & libc::S_IFMT == libc::S_IFIFO => Kind::Fifo,
            // Containers get their devices from the host; sockets are nothing without who listens.
            (Squashed::Pipe | Squashed::Device(_), _) => return Ok(()),
        };
        if several {
            self.names.entry(reference).or_insert_with(|| path.to_vec());
        }
        let header = Header {
            path: path.to_vec(),
            size: if kind == Kind::File { inode.size } else { 0 },
            mode: inode.mode & 0o7777,
            mtime: inode.mtime.into(),
            xattrs: if matches!(kind, Kind::HardLink(_)) {
                Vec::new()
            } else {
                self.xattrs(inode)?
            },
            kind,
        };
        let mut content = Content { image: self.image, inode, at: 0, failed: None };
        let appended = self.writer.append(&header, &mut content);
        match content.failed {
            Some(error) => Err(error.into()),
            None => appended.map_err(unwritten),
        }
    }

    fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>, ImportError> {
        let names = self.image.attribute_names(inode)?;
        let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let mut found = Vec::new();
        for name in names {
            if let Some(value) = self.image.attribute(inode, name)? {
                found.push((name.to_vec(), value));
            }
        }
        Ok(found)
    }
}

/// Reads a file of the image.
struct Content<'a> {
    image: &'a Image,
    inode: &'a Inode,
    at: u64,
    failed: Option<SquashfsError>,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Squashed::File(contents) = &self.inode.kind else { return Ok(0) };
        match self.image.read(self.inode, contents, self.at, buffer) {
            Ok(count) => {
                self.at += count as u64;
                Ok(count)
            }
            Err(error) => {
                self.failed = Some(error);
                Err(io::ErrorKind::InvalidData.into())
            }
        }
    }
}

fn unwritten(source: io::Error) -> ImportError {
    match source.downcast::<crate::store::StoreError>() {
        Ok(error) => error.into(),
        Err(source) => FileError::new("write", "the layer", source).into(),
    }
}
