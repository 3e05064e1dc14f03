//! The first pass: what a layer contains.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::io::{self, Read};

use super::limits::{Meter, Quantity, heap, shown};
use super::{LayerError, LayerSpool, Limits};
use crate::tarball::{Header, Kind, Reader, TarError, Xattr};

/// Longest path that Linux opens.
const PATH_MAX: usize = 4096;
const NAME_MAX: usize = 255;
/// Largest value of an attribute, and more attributes than anybody gives a file.
const XATTR_SIZE_MAX: usize = 64 << 10;
const XATTRS_MAX: usize = 256;

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
    /// Puts a device, which containers do not get from images: it is in the way of what lower layers
    /// have there, and so are further names of it.
    Device,
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
    /// What its memory was charged with.
    pub(super) memory: u64,
    /// What reading the layer to its end costs, whatever of it matters.
    read_cost: ReadCost,
}

/// What a layer costs whoever reads it to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ReadCost {
    /// Bytes, as they are decompressed, and of holes.
    bytes: u64,
    entries: u64,
}

impl Index {
    /// Reads an uncompressed archive to its end, counting what it costs. What an image may have of it goes
    /// to `spool`.
    ///
    /// # Errors
    /// [`LayerError`]: damage, names pointing outside, limits.
    pub fn read(
        archive: impl Read,
        meter: &Meter,
        how: Interpretation,
        mut spool: Option<&mut LayerSpool<'_>>,
    ) -> Result<Index, LayerError> {
        let mut reader = Reader::new(Counted { input: archive, meter, count: 0, failed: None });
        let mut index = Index::default();
        let mut ordinal = 0u32;
        loop {
            let mut header = match reader.next() {
                Ok(Some(header)) => header,
                Ok(None) => break,
                // What has failed below the archive is more telling than that it cannot be read.
                Err(error) => {
                    let failed = reader.into_inner().failed;
                    return Err(failed.map_or_else(|| decompression(error), |(_, why)| why));
                }
            };
            index.bytes = index.bytes.saturating_add(header.size);
            meter.charge(Quantity::Entries, 1)?;
            // Its bytes are counted as they come, its holes are not.
            let holes = header.size.saturating_sub(reader.stored());
            meter.charge(Quantity::Bytes, holes)?;
            index.read_cost.bytes = index.read_cost.bytes.saturating_add(holes);
            index.read_cost.entries += 1;
            if let Some(entry) = entry(&header, ordinal, how, meter.limits())? {
                index.charge(&entry, meter)?;
                // Those of files are passed on only; whoever writes the image has them in memory.
                if !matches!(entry.kind, EntryKind::Directory(_)) {
                    header.xattrs = kept(&header.xattrs, &header.path)?;
                    meter.charge(Quantity::Attributes, size_of_all(&header.xattrs))?;
                }
                let has_content =
                    matches!(entry.kind, EntryKind::File | EntryKind::Symlink(_) | EntryKind::Fifo);
                index.entries.push(entry);
                if let Some(spool) = spool.as_mut().filter(|it| has_content && !it.is_over()) {
                    // Damage that it meets is met again below.
                    spool.take(ordinal, header, &mut reader);
                }
            }
            ordinal = ordinal
                .checked_add(1)
                .ok_or(LayerError::Limit { limit: u32::MAX.into(), what: "entries" })?;
        }
        index.entries.shrink_to_fit();
        index.read_cost.bytes = index.read_cost.bytes.saturating_add(reader.into_inner().count);
        Ok(index)
    }

    /// Another one, for a layer that an image has more than once: it is applied, and its files are
    /// passed over, each time.
    ///
    /// # Errors
    /// [`LayerError::Limit`].
    pub fn again(&self, meter: &Meter) -> Result<Index, LayerError> {
        meter.charge(Quantity::Memory, self.memory)?;
        meter.charge(Quantity::Bytes, self.read_cost.bytes)?;
        meter.charge(Quantity::Entries, self.read_cost.entries)?;
        Ok(self.clone())
    }

    fn charge(&mut self, entry: &Entry, meter: &Meter) -> Result<(), LayerError> {
        let (mut memory, mut names, mut attributes) = (ENTRY + heap(entry.path.len()), 0, 0);
        match &entry.kind {
            EntryKind::Symlink(target) | EntryKind::HardLink(target) => {
                names = target.len() as u64;
                memory += heap(target.len());
            }
            EntryKind::Directory(meta) => {
                memory += heap(size_of::<Meta>());
                attributes = size_of_all(&meta.xattrs);
                for (name, value) in &meta.xattrs {
                    memory += heap(name.len()) + heap(value.len()) + size_of::<Xattr>() as u64;
                }
            }
            _ => {}
        }
        self.memory += memory;
        meter.charge(Quantity::Memory, memory)?;
        meter.charge(Quantity::Names, names)?;
        meter.charge(Quantity::Attributes, attributes)
    }
}

fn size_of_all(xattrs: &[Xattr]) -> u64 {
    xattrs.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum()
}

/// An entry's place in a vector, which doubles when it is full.
const ENTRY: u64 = 2 * size_of::<Entry>() as u64;

/// What an entry of the archive does, if anything.
fn entry(
    header: &Header,
    ordinal: u32,
    how: Interpretation,
    limits: &Limits,
) -> Result<Option<Entry>, LayerError> {
    let path = normalized(&header.path)?;
    if path.iter().filter(|byte| **byte == b'/').count() >= limits.depth {
        return Err(LayerError::Depth(shown(&path)));
    }
    let kind = match &header.kind {
        Kind::Directory => EntryKind::Directory(Box::new(Meta {
            mode: header.mode,
            mtime: header.mtime,
            xattrs: kept(&header.xattrs, &path)?,
        })),
        Kind::File => EntryKind::File,
        Kind::Symlink(target) if target.len() >= PATH_MAX || target.contains(&0) => {
            return Err(LayerError::Name(shown(target)));
        }
        Kind::Symlink(target) => EntryKind::Symlink(target.as_slice().into()),
        Kind::Fifo => EntryKind::Fifo,
        Kind::HardLink(target) => {
            let target = normalized(target)?;
            fits(&target)?;
            EntryKind::HardLink(if how == Interpretation::Layer { aside(target) } else { target })
        }
        Kind::Device => EntryKind::Device,
    };
    let Some((path, kind)) = interpret(path, kind, how) else { return Ok(None) };
    fits(&path)?;
    // An entry without a name is the root, which is a directory whatever the entry says.
    let of_directory = matches!(kind, EntryKind::Directory(_) | EntryKind::Opaque);
    Ok((of_directory || !path.is_empty()).then_some(Entry { ordinal, path, kind }))
}

/// Whether a path, its whiteouts read, can be that of a file.
fn fits(path: &[u8]) -> Result<(), LayerError> {
    let long = path.split(|byte| *byte == b'/').any(|name| name.len() > NAME_MAX);
    if long || path.len() >= PATH_MAX {
        return Err(LayerError::Name(shown(path)));
    }
    Ok(())
}

/// Counts what is decompressed, whatever it is: contents, headers, padding. What has failed fails again: who meets it first
/// may be a spool, which says nothing, and what comes behind a gap would be taken for what was in its place.
struct Counted<'a, R> {
    input: R,
    meter: &'a Meter,
    count: u64,
    failed: Option<(io::ErrorKind, LayerError)>,
}

impl<R: Read> Counted<'_, R> {
    fn take(&mut self, buffer: &mut [u8]) -> Result<usize, LayerError> {
        let count = self.input.read(buffer).map_err(LayerError::Decompress)?;
        self.count += count as u64;
        self.meter.charge(Quantity::Bytes, count as u64)?;
        self.meter.check_time()?;
        Ok(count)
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some((kind, _)) = self.failed {
            return Err(kind.into());
        }
        self.take(buffer).map_err(|error| {
            let kind = match &error {
                LayerError::Decompress(source) => source.kind(),
                _ => io::ErrorKind::FileTooLarge,
            };
            if kind != io::ErrorKind::Interrupted {
                self.failed = Some((kind, error));
            }
            kind.into()
        })
    }
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
    if how == Interpretation::Flat {
        // A file by which docker tells programs that they are in one of its containers.
        return (*path != *b".dockerenv").then_some((path, kind));
    }
    // Bookkeeping of aufs. Files in one of its folders are what hard links elsewhere name.
    if path.starts_with(LINKS_OF_AUFS) {
        return Some((aside(path), kind));
    }
    let (parent, name) = split(&path);
    if parent.split(|byte| *byte == b'/').any(|name| name.starts_with(b".wh..wh.")) {
        return None;
    }
    let Some(hidden) = name.strip_prefix(b".wh.") else { return Some((path, kind)) };
    match hidden.strip_prefix(b".wh.") {
        Some(b".opq") => Some((parent.into(), EntryKind::Opaque)),
        Some(_) => None,
        None => {
            let separator: &[u8] = if parent.is_empty() { b"" } else { b"/" };
            let path = [parent, separator, hidden].concat();
            (!hidden.is_empty()).then(|| (path.into(), EntryKind::Whiteout))
        }
    }
}

const LINKS_OF_AUFS: &[u8] = b".wh..wh.plnk/";

/// A path that no archive can name in place of one that is not to be in the image, but that others
/// may be further names of.
fn aside(mut path: Box<[u8]>) -> Box<[u8]> {
    if path.starts_with(LINKS_OF_AUFS) {
        path[0] = 0;
    }
    path
}

/// Whether a path is one that the image is not to have: what was set aside, and what is below /dev,
/// which is the host's.
pub(super) fn is_left_out(path: &[u8]) -> bool {
    path.starts_with(b"dev/") || path.first() == Some(&0)
}

/// Parent and last component.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// A path relative to the image's root. `..` takes back the name before it, whatever that is in the image, as
/// container engines have it, and is refused where there is none.
fn normalized(path: &[u8]) -> Result<Box<[u8]>, LayerError> {
    let mut out = Vec::with_capacity(path.len());
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => continue,
            b".." if out.is_empty() => return Err(LayerError::Outside(shown(path))),
            b".." => {
                let slash = out.iter().rposition(|byte| *byte == b'/');
                out.truncate(slash.unwrap_or(0));
                continue;
            }
            _ => {}
        }
        if !out.is_empty() {
            out.push(b'/');
        }
        out.extend_from_slice(name);
    }
    // A whiteout's name is longer than that of what it hides.
    if out.len() >= PATH_MAX + b".wh.".len() || out.contains(&0) {
        return Err(LayerError::Name(shown(path)));
    }
    Ok(out.into())
}

/// Only `user.*`: other namespaces mean something to the host's kernel, and so do the names
/// under which overlayfs keeps its own notes.
pub(super) fn kept(xattrs: &[Xattr], path: &[u8]) -> Result<Vec<Xattr>, LayerError> {
    let mut out: Vec<Xattr> = Vec::new();
    // The last of a name counts, wherever the first stands.
    let mut places: HashMap<&[u8], usize> = HashMap::new();
    for (name, value) in xattrs {
        if !name.starts_with(b"user.") || name.starts_with(b"user.overlay.") || name.contains(&0) {
            continue;
        }
        if name.len() > NAME_MAX || value.len() > XATTR_SIZE_MAX {
            return Err(LayerError::Attributes(shown(path)));
        }
        match places.entry(name.as_slice()) {
            Occupied(place) => out[*place.get()].1.clone_from(value),
            Vacant(_) if out.len() >= XATTRS_MAX => {
                return Err(LayerError::Attributes(shown(path)));
            }
            Vacant(place) => {
                place.insert(out.len());
                out.push((name.clone(), value.clone()));
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Allowance;

    fn entry(kind: u8, name: &[u8], content: &[u8]) -> Vec<u8> {
        let mut block = [0u8; 512];
        block[..name.len()].copy_from_slice(name);
        block[100..107].copy_from_slice(b"0000755");
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[148..156].fill(b' ');
        block[156] = kind;
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut out = [&block[..], content].concat();
        out.resize(out.len().next_multiple_of(512), 0);
        out
    }

    /// Comments, devices and whiteouts are read again as well.
    #[test]
    fn a_layer_that_an_image_has_twice_costs_all_of_it_twice() {
        let mut archive = entry(b'g', b"pax", &vec![b'c'; 500_000]);
        (0..300).for_each(|_| archive.extend(entry(b'5', b".wh..wh.aufs", b"")));
        archive.extend(entry(b'0', b"file", b"text"));
        let limits = |bytes, entries| Limits {
            bytes: Allowance::of(bytes),
            entries: Allowance::of(entries),
            ..Limits::for_others()
        };
        for (limits, twice) in [
            (limits(2_000_000, 1000), true),
            (limits(1_000_000, 1000), false),
            (limits(2_000_000, 500), false),
        ] {
            let meter = Meter::new(limits);
            let index =
                Index::read(archive.as_slice(), &meter, Interpretation::Layer, None).unwrap();
            let again = index.again(&meter);
            assert_eq!(again.is_ok(), twice, "{again:?}");
            assert!(again.is_ok_and(|again| again == index) || !twice);
        }
    }
}
