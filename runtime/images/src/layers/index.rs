//! The first pass: what a layer contains.

use std::io::Read;

use super::LayerError;
use crate::tarball::{Kind, Reader, TarError, Xattr};

/// Longest path that Linux opens.
const PATH_MAX: usize = 4096;
const NAME_MAX: usize = 255;

/// Limits on what an image may unpack to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all files of a layer, holes included.
    pub bytes: u64,
    /// Entries of a layer.
    pub entries: u64,
}

impl Limits {
    /// The setting that raises the limits.
    pub const SETTING: &str = "PYXIS_MAX_UNPACKED";

    /// What a layer of `compressed` bytes may become: real layers shrink to a third, a bomb to a
    /// thousandth.
    pub fn for_layer(compressed: u64) -> Limits {
        let floor = std::env::var(Self::SETTING).ok().and_then(|value| value.parse().ok());
        let floor = floor.unwrap_or(16u64 << 30);
        Limits { bytes: floor.max(compressed.saturating_mul(200)), entries: 20_000_000 }
    }
}

/// How names starting with `.wh.` are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpretation {
    /// As whiteouts: the archive is one layer of several.
    Layer,
    /// As names like any other: the archive is a whole root filesystem.
    Flat,
}

/// Attributes of a directory, which is written before the layers are read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits.
    pub mode: u32,
    /// Seconds since the epoch.
    pub mtime: i64,
    /// Extended attributes.
    pub xattrs: Vec<Xattr>,
}

/// What an entry does to the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Makes or changes a directory.
    Directory(Box<Meta>),
    /// Puts a regular file.
    File,
    /// Puts a symbolic link.
    Symlink(Box<[u8]>),
    /// Puts a named pipe.
    Fifo,
    /// Gives an existing file one more name.
    HardLink(Box<[u8]>),
    /// Removes what lower layers have at this path.
    Whiteout,
    /// Removes what lower layers have in this directory.
    Opaque,
}

/// One entry that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the archive, counting all entries.
    pub ordinal: u32,
    /// Path without leading, trailing and doubled slashes; empty for the root.
    pub path: Box<[u8]>,
    /// What it does.
    pub kind: EntryKind,
}

/// What a layer contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// The entries that matter, in the archive's order.
    pub entries: Vec<Entry>,
    /// Bytes of its regular files.
    pub bytes: u64,
}

impl Index {
    /// Reads an uncompressed archive to its end.
    ///
    /// # Errors
    /// [`LayerError`]: damage, names pointing outside, limits.
    pub fn read(
        archive: impl Read,
        limits: Limits,
        how: Interpretation,
    ) -> Result<Index, LayerError> {
        let mut reader = Reader::new(archive);
        let mut index = Index::default();
        let mut ordinal = 0u32;
        while let Some(header) = reader.next().map_err(decompression)? {
            index.bytes = index.bytes.saturating_add(header.size);
            limit(index.bytes, limits.bytes, "bytes")?;
            limit(u64::from(ordinal) + 1, limits.entries, "entries")?;
            let meta =
                || Meta { mode: header.mode, mtime: header.mtime, xattrs: kept(&header.xattrs) };
            let path = normalized(&header.path)?;
            let kind = match &header.kind {
                Kind::Directory => Some(EntryKind::Directory(Box::new(meta()))),
                Kind::File => Some(EntryKind::File),
                Kind::Symlink(target) => Some(EntryKind::Symlink(target.as_slice().into())),
                Kind::Fifo => Some(EntryKind::Fifo),
                Kind::HardLink(target) => Some(EntryKind::HardLink(normalized(target)?)),
                // Containers get their devices from the host.
                Kind::Device => None,
            };
            if let Some((path, kind)) = kind.and_then(|kind| interpret(path, kind, how)) {
                index.entries.push(Entry { ordinal, path, kind });
            }
            ordinal += 1;
        }
        index.entries.shrink_to_fit();
        Ok(index)
    }
}

fn limit(value: u64, limit: u64, what: &'static str) -> Result<(), LayerError> {
    if value <= limit {
        return Ok(());
    }
    Err(LayerError::Limit { limit, what, setting: Limits::SETTING })
}

/// Errors of the stream under the archive are errors of the decoder or of the download.
fn decompression(error: TarError) -> LayerError {
    match error {
        TarError::Io(source) => LayerError::Decompress(source),
        other => LayerError::Tar(other),
    }
}

/// Applies the conventions for whiteouts. `None` for what is not to be in the image.
fn interpret(
    path: Box<[u8]>,
    kind: EntryKind,
    how: Interpretation,
) -> Option<(Box<[u8]>, EntryKind)> {
    // /dev is the host's; what enroot leaves out is left out.
    if path.starts_with(b"dev/") {
        return None;
    }
    if how == Interpretation::Flat {
        // A file by which docker tells programs that they are in one of its containers.
        return (*path != *b".dockerenv").then_some((path, kind));
    }
    let (parent, name) = split(&path);
    let Some(hidden) = name.strip_prefix(b".wh.") else { return Some((path, kind)) };
    match hidden.strip_prefix(b".wh.") {
        Some(b".opq") => Some((parent.into(), EntryKind::Opaque)),
        // Bookkeeping of aufs.
        Some(_) => None,
        None => {
            let separator: &[u8] = if parent.is_empty() { b"" } else { b"/" };
            let path = [parent, separator, hidden].concat();
            (!hidden.is_empty()).then(|| (path.into(), EntryKind::Whiteout))
        }
    }
}

/// Parent and last component.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// A path relative to the image's root. `..` is refused even where it would stay inside: no
/// builder writes it.
fn normalized(path: &[u8]) -> Result<Box<[u8]>, LayerError> {
    let shown = || String::from_utf8_lossy(path).into_owned();
    let mut out = Vec::with_capacity(path.len());
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => continue,
            b".." => return Err(LayerError::Outside(shown())),
            _ if name.len() > NAME_MAX => return Err(LayerError::Name(shown())),
            _ => {}
        }
        if !out.is_empty() {
            out.push(b'/');
        }
        out.extend_from_slice(name);
    }
    if out.len() >= PATH_MAX || out.contains(&0) {
        return Err(LayerError::Name(shown()));
    }
    Ok(out.into())
}

/// Only `user.*`: other namespaces mean something to the host's kernel, and so do the names
/// under which overlayfs keeps its own notes.
pub(super) fn kept(xattrs: &[Xattr]) -> Vec<Xattr> {
    let mut out: Vec<Xattr> = Vec::new();
    for (name, value) in xattrs {
        if !name.starts_with(b"user.") || name.starts_with(b"user.overlay.") || name.contains(&0) {
            continue;
        }
        out.retain(|(known, _)| known != name);
        out.push((name.clone(), value.clone()));
    }
    out
}
