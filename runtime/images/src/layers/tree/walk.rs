//! Ways through the tree: names, and the symbolic links among them, which never lead out of the image.

use super::{Node, NodeKind, ROOT, Tree};
use crate::layers::LayerError;
use crate::layers::index::split;
use crate::layers::limits::{Meter, Quantity, shown};

/// As many symbolic links in one path as the kernel follows.
const LINKS: usize = 40;
/// So many bytes of a link's target are as much work as one name.
const BYTES_OF_A_STEP: u64 = 16;

/// The directory that the last entry was put into: most entries stand beside the one before.
#[derive(Debug, Default)]
pub(super) struct LastParent {
    layer: u32,
    path: Vec<u8>,
    pub(super) at: Option<usize>,
}

/// What becomes of directories that are missing on a way.
#[derive(Clone, Copy)]
pub(super) enum Missing {
    /// Nothing.
    Stays,
    /// They are made for this layer, and what is no directory gives way to one.
    Put(u32),
    /// They are made for this layer, where there is no file.
    Add(u32),
}

impl Missing {
    /// The layer that gets a directory where there is none, but perhaps a file.
    fn layer(self, is_file: bool) -> Option<u32> {
        match self {
            Missing::Put(layer) => Some(layer),
            Missing::Add(layer) if !is_file => Some(layer),
            Missing::Add(_) | Missing::Stays => None,
        }
    }
}

impl Tree {
    /// The directory that `path` is to be put into, made if need be, and its last name. `None`
    /// for the root.
    pub(super) fn parent<'a>(
        &mut self,
        path: &'a [u8],
        layer: u32,
        meter: &Meter,
    ) -> Result<Option<(usize, &'a [u8])>, LayerError> {
        if path.is_empty() {
            return Ok(None);
        }
        let (parent, name) = split(path);
        if let LastParent { layer: at_layer, path: known, at: Some(at) } = &self.last {
            if *at_layer == layer && known == parent {
                return Ok(Some((*at, name)));
            }
        }
        let at = self.walk(parent, Missing::Put(layer), path, meter)?;
        self.last.layer = layer;
        self.last.path.clear();
        self.last.path.extend_from_slice(parent);
        self.last.at = at;
        Ok(at.map(|at| (at, name)))
    }

    /// The node at `path`, its last component not followed.
    pub(super) fn find(&mut self, path: &[u8], meter: &Meter) -> Result<Option<usize>, LayerError> {
        let (parent, name) = split(path);
        let Some(parent) = self.find_directory(parent, meter)? else { return Ok(None) };
        if path.is_empty() {
            return Ok(Some(ROOT));
        }
        Ok(self.children(parent).get(name).copied())
    }

    pub(super) fn find_directory(
        &mut self,
        path: &[u8],
        meter: &Meter,
    ) -> Result<Option<usize>, LayerError> {
        self.walk(path, Missing::Stays, path, meter)
    }

    /// Follows names and the symbolic links among them, inside the image.
    pub(super) fn walk(
        &mut self,
        path: &[u8],
        missing: Missing,
        entry: &[u8],
        meter: &Meter,
    ) -> Result<Option<usize>, LayerError> {
        // Texts that are being read, and where: the path, and targets of links in it.
        let mut texts: Vec<(Option<usize>, usize)> = vec![(None, 0)];
        let mut trail = vec![ROOT];
        let (mut links, mut steps) = (0, 1);
        while let Some((text, from)) = texts.last_mut() {
            let whole = match text {
                None => path,
                Some(link) => self.target(*link),
            };
            let Some((name, end)) = next_name(whole, *from) else {
                texts.pop();
                continue;
            };
            *from = end;
            steps += 1;
            if name == b".." {
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            let here = *trail.last().expect("starts with the root");
            let found = self.children(here).get(name).copied();
            match found.map(|at| (at, &self.nodes[at].kind)) {
                Some((at, NodeKind::Directory { .. })) => trail.push(at),
                Some((at, NodeKind::Symlink(_, target))) => {
                    links += 1;
                    meter.charge(Quantity::Steps, steps + target.len() as u64 / BYTES_OF_A_STEP)?;
                    steps = 0;
                    if links > LINKS {
                        return Err(LayerError::Loop(shown(entry)));
                    }
                    if target.starts_with(b"/") {
                        trail.truncate(1);
                    }
                    texts.push((Some(at), 0));
                }
                other => {
                    let is_file = matches!(other, Some((_, NodeKind::Other(_))));
                    let Some(layer) = missing.layer(is_file) else {
                        meter.charge(Quantity::Steps, steps)?;
                        return Ok(None);
                    };
                    let name: Box<[u8]> = name.into();
                    let node = Node::new(layer, NodeKind::empty());
                    trail.push(self.insert(here, &name, node, meter)?);
                }
            }
        }
        meter.charge(Quantity::Steps, steps)?;
        if let Some(layer) = missing.layer(false) {
            trail.iter().for_each(|at| self.nodes[*at].touched = layer);
        }
        Ok(trail.last().copied())
    }

    fn target(&self, link: usize) -> &[u8] {
        match &self.nodes[link].kind {
            NodeKind::Symlink(_, target) => target,
            _ => unreachable!("a link stays one"),
        }
    }
}

pub(super) fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

/// The next name at or after a place in a path, and where it ends.
fn next_name(path: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let mut from = from;
    loop {
        let start = from + path.get(from..)?.iter().position(|byte| *byte != b'/')?;
        let length = path[start..].iter().position(|byte| *byte == b'/');
        let end = length.map_or(path.len(), |length| start + length);
        match &path[start..end] {
            b"." => from = end,
            name => return Some((name, end)),
        }
    }
}

/// A link's target without what leads nowhere, so that it is read once and not for each name that
/// goes through it. What the image gets is the archive's own.
pub(super) fn walkable(target: &[u8]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(target.len());
    if target.starts_with(b"/") {
        out.push(b'/');
    }
    for name in names(target) {
        if !matches!(out.as_slice(), [] | [b'/']) {
            out.push(b'/');
        }
        out.extend_from_slice(name);
    }
    out.into()
}
