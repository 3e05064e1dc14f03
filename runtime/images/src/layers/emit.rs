//! The second pass: the entries that won, written out.

use std::collections::HashMap;
use std::io::{self, Read};

use super::index::kept;
use super::limits::shown;
use super::{Content, LayerError, Meta, Meter, Name, Quantity, Sink, SpooledLayer, Tree};
use crate::tarball::{Header, Kind, Reader, TarError};

/// A layer that can be read again, uncompressed.
pub trait LayerSource {
    /// Opens it at its beginning.
    ///
    /// # Errors
    /// [`LayerError`].
    fn open(&self) -> Result<Box<dyn Read + '_>, LayerError>;

    /// What was kept of it when it was read first, if it was.
    fn spooled(&self) -> Option<&SpooledLayer> {
        None
    }
}

/// The layer number of files that come with the call instead of from a layer.
const OWN: u32 = u32::MAX;
/// Longest path that Linux opens.
const PATH_MAX: usize = 4096;

/// Files made by the importer.
#[derive(Debug, Default)]
pub struct OwnFiles(Vec<(u32, Vec<u8>)>);

impl OwnFiles {
    /// Puts a file into the tree, over whatever is there.
    ///
    /// # Errors
    /// As [`Tree::put_file`].
    pub fn put(
        &mut self,
        tree: &mut Tree,
        path: &[u8],
        mode: u32,
        text: Vec<u8>,
        meter: &Meter,
    ) -> Result<(), LayerError> {
        let ordinal = u32::try_from(self.0.len()).expect("a handful of files");
        self.0.push((mode, text));
        tree.put_file(path, Content { layer: OWN, ordinal }, meter)
    }
}

/// Writes the merged image to `sink`: directories, then files layer by layer, each content once
/// and further names of it as hard links. `progress` is told the bytes of each file. On failure,
/// says which layer it was, if any.
///
/// # Errors
/// [`LayerError`].
pub fn write(
    tree: &Tree,
    layers: &[&dyn LayerSource],
    own: &OwnFiles,
    mtime: i64,
    sink: &mut dyn Sink,
    meter: &Meter,
    progress: &mut dyn FnMut(u64),
) -> Result<(), (Option<usize>, LayerError)> {
    let contents = tree.contents(meter).map_err(|error| (None, error))?;
    let mut result = Ok(());
    tree.directories(|path, meta| {
        if result.is_ok() && !path.is_empty() {
            result = directory(path, meta, mtime, sink);
        }
    });
    result.map_err(|error| (None, error))?;

    let mut rest = contents.as_slice();
    while let Some((first, _)) = rest.first() {
        let layer = first.layer;
        let count = rest.iter().take_while(|(content, _)| content.layer == layer).count();
        let (wanted, after) = rest.split_at(count);
        rest = after;
        if layer == OWN {
            own_files(own, wanted, mtime, sink).map_err(|error| (None, error))?;
            continue;
        }
        let at = layer as usize;
        let mut putting = Putting { sink: &mut *sink, meter, progress: &mut *progress };
        let put = match layers[at].spooled() {
            Some(kept) => putting.spooled(kept, wanted),
            None => layers[at].open().and_then(|archive| putting.layer(archive, wanted)),
        };
        put.map_err(|error| (Some(at), error))?;
    }
    Ok(())
}

fn directory(
    path: &[u8],
    meta: Option<&Meta>,
    mtime: i64,
    sink: &mut dyn Sink,
) -> Result<(), LayerError> {
    let header = Header {
        path: checked(path)?,
        kind: Kind::Directory,
        // Without capabilities over the host's files, the owner needs all rights to go in.
        mode: meta.map_or(0o755, |meta| meta.mode) | 0o700,
        mtime: meta.map_or(mtime, |meta| meta.mtime),
        size: 0,
        xattrs: meta.map_or_else(Vec::new, |meta| meta.xattrs.clone()),
    };
    sink.put(&header, &mut io::empty())
}

fn own_files(
    own: &OwnFiles,
    wanted: &[Name],
    mtime: i64,
    sink: &mut dyn Sink,
) -> Result<(), LayerError> {
    for (content, path) in wanted {
        let (mode, text) = &own.0[content.ordinal as usize];
        let header = Header {
            path: checked(path)?,
            kind: Kind::File,
            mode: *mode,
            mtime,
            size: text.len() as u64,
            xattrs: Vec::new(),
        };
        sink.put(&header, &mut text.as_slice())?;
    }
    Ok(())
}

/// Where the content of an entry is to be had.
enum Data<'a> {
    Archive(&'a mut dyn Read),
    /// Under its entry's ordinal.
    Spooled(&'a SpooledLayer, u32),
}

/// Passes on the entries of layers.
struct Putting<'a> {
    sink: &'a mut dyn Sink,
    meter: &'a Meter,
    progress: &'a mut dyn FnMut(u64),
}

impl Putting<'_> {
    fn layer(&mut self, archive: impl Read, wanted: &[Name]) -> Result<(), LayerError> {
        let mut reader = Reader::new(archive);
        let mut names: HashMap<u32, &[Name]> = HashMap::new();
        for group in wanted.chunk_by(|one, other| one.0 == other.0) {
            names.insert(group[0].0.ordinal, group);
        }
        let mut ordinal = 0;
        // Nothing after the last winner is looked at.
        while !names.is_empty() {
            let Some(header) = reader.next()? else { return Err(TarError::Truncated.into()) };
            let group = names.remove(&ordinal);
            ordinal += 1;
            if let Some(group) = group {
                self.put(header, Data::Archive(&mut reader), group)?;
            }
        }
        Ok(())
    }

    fn spooled(&mut self, kept: &SpooledLayer, wanted: &[Name]) -> Result<(), LayerError> {
        for group in wanted.chunk_by(|one, other| one.0 == other.0) {
            let ordinal = group[0].0.ordinal;
            // As of an archive that has become shorter since.
            let header = kept.header(ordinal).ok_or(TarError::Truncated)?.clone();
            self.put(header, Data::Spooled(kept, ordinal), group)?;
        }
        Ok(())
    }

    /// An entry under all of its names.
    fn put(
        &mut self,
        mut header: Header,
        data: Data<'_>,
        names: &[Name],
    ) -> Result<(), LayerError> {
        let [(_, first), others @ ..] = names else { return Ok(()) };
        // None was wanted, so it is another archive by now: what it links to was never looked at.
        if let Kind::HardLink(target) = &header.kind {
            return Err(LayerError::HardLink { link: shown(first), target: shown(target) });
        }
        header.path = checked(first)?;
        header.xattrs = kept(&header.xattrs, first)?;
        header.mode |= if header.mode & 0o111 == 0 { 0o400 } else { 0o500 };
        match data {
            Data::Spooled(kept, ordinal) if header.kind == Kind::File => {
                self.sink.put_spooled(&header, &kept.contents, ordinal)?;
            }
            Data::Spooled(..) => self.sink.put(&header, &mut io::empty())?,
            Data::Archive(archive) => self.sink.put(&header, archive)?,
        }
        self.meter.check_time()?;
        (self.progress)(header.size);
        for (_, name) in others {
            // Programs that read archives know hard links to regular files only.
            let kind = match &header.kind {
                Kind::File => Kind::HardLink(first.to_vec()),
                other => other.clone(),
            };
            if let Kind::HardLink(target) | Kind::Symlink(target) = &kind {
                self.meter.charge(Quantity::Names, target.len() as u64)?;
            }
            let path = checked(name)?;
            let Header { mode, mtime, .. } = header;
            let link = Header { path, kind, mode, mtime, size: 0, xattrs: Vec::new() };
            self.sink.put(&link, &mut io::empty())?;
        }
        Ok(())
    }
}

/// Symbolic links in the way can make a path longer than the layer's own.
fn checked(path: &[u8]) -> Result<Vec<u8>, LayerError> {
    if path.len() >= PATH_MAX {
        return Err(LayerError::Name(shown(path)));
    }
    Ok(path.to_vec())
}
