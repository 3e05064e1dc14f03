//! The merge: layers applied one over the other, to a tree of names in memory.
//!
//! The outcome is what unpacking the layers in order would give, symbolic links in the way of a
//! name being followed inside the image as every container engine does.

use std::collections::BTreeMap;

use super::index::{is_left_out, split};
use super::limits::{Meter, Quantity, heap, shown};
use super::{Entry, EntryKind, Index, LayerError, Meta};

/// As many symbolic links in one path as the kernel follows.
const LINKS: usize = 40;
const ROOT: usize = 0;
/// What a node and its place in its directory cost in memory, and a directory's first block of
/// names besides.
const NODE: u64 = 2 * size_of::<Node>() as u64 + 48;
const DIRECTORY: u64 = 320;
/// So many bytes of a link's target are as much work as one name.
const BYTES_OF_A_STEP: u64 = 16;

/// Where a name's content comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Content {
    /// The layer, counted from the lowest.
    pub layer: u32,
    /// The entry's ordinal in it.
    pub ordinal: u32,
}

/// A content and one of its names.
pub type Name = (Content, Box<[u8]>);

#[derive(Debug)]
struct Node {
    /// The layer that made this name.
    layer: u32,
    /// The last layer that put something here or below.
    touched: u32,
    /// The last layer that removed what lower ones have below, and one: nothing of theirs can
    /// come back in that layer.
    cleared: u32,
    kind: NodeKind,
}

impl Node {
    fn new(layer: u32, kind: NodeKind) -> Node {
        Node { layer, touched: layer, cleared: 0, kind }
    }
}

/// The kind of a file, and what the tree keeps of it by that.
#[derive(Debug)]
enum NodeKind {
    Directory {
        children: BTreeMap<Box<[u8]>, usize>,
        meta: Option<Box<Meta>>,
    },
    Symlink(Content, Box<[u8]>),
    Other(Content),
    /// In the way of others, and not in the image.
    Device,
}

impl NodeKind {
    fn empty() -> NodeKind {
        NodeKind::Directory { children: BTreeMap::new(), meta: None }
    }
}

/// The directory that the last entry was put into: most entries stand beside the one before.
#[derive(Debug, Default)]
struct LastParent {
    layer: u32,
    path: Vec<u8>,
    at: Option<usize>,
}

/// All names of an image.
#[derive(Debug)]
pub struct Tree {
    /// Removed nodes stay until the tree goes.
    nodes: Vec<Node>,
    layers: u32,
    last: LastParent,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree {
            nodes: vec![Node::new(0, NodeKind::empty())],
            layers: 0,
            last: LastParent::default(),
        }
    }
}

impl Tree {
    /// Applies the next layer.
    ///
    /// # Errors
    /// [`LayerError`] naming the entry that cannot be applied, or limits.
    pub fn apply(&mut self, index: Index, meter: &Meter) -> Result<(), LayerError> {
        let layer = self.layers;
        self.layers += 1;
        for entry in index.entries {
            self.apply_entry(entry, layer, meter)?;
        }
        meter.release(Quantity::Memory, index.memory);
        meter.check_time()
    }

    fn apply_entry(&mut self, entry: Entry, layer: u32, meter: &Meter) -> Result<(), LayerError> {
        let Entry { ordinal, path, kind } = entry;
        let content = Content { layer, ordinal };
        let kind = match kind {
            EntryKind::Directory(meta) => return self.put_directory(&path, layer, meta, meter),
            EntryKind::Opaque => {
                if let Some(at) = self.find_directory(&path, meter)? {
                    self.remove_below(at, layer);
                }
                return Ok(());
            }
            EntryKind::Whiteout => return self.whiteout(&path, layer, meter),
            EntryKind::HardLink(target) => {
                let gone = || LayerError::HardLink { link: shown(&path), target: shown(&target) };
                let at = self.find(&target, meter)?.ok_or_else(gone)?;
                match &self.nodes[at].kind {
                    NodeKind::Directory { .. } => return Err(gone()),
                    NodeKind::Symlink(content, target) => {
                        NodeKind::Symlink(*content, target.clone())
                    }
                    NodeKind::Other(content) => NodeKind::Other(*content),
                    NodeKind::Device => NodeKind::Device,
                }
            }
            EntryKind::Symlink(target) => NodeKind::Symlink(content, walkable(&target)),
            EntryKind::File | EntryKind::Fifo => NodeKind::Other(content),
            EntryKind::Device => NodeKind::Device,
        };
        self.put(&path, Node::new(layer, kind), meter)
    }

    /// Makes sure of a directory, in no layer of its own, unless something of the image that is none is in its way,
    /// also where links lead.
    ///
    /// # Errors
    /// Limits.
    pub fn add_directory(&mut self, path: &[u8], meter: &Meter) -> Result<(), LayerError> {
        if names(path).count() > meter.limits().depth {
            return Ok(());
        }
        match self.walk(path, Missing::Add(self.layers), path, meter) {
            Err(LayerError::Loop(_)) => Ok(()),
            made => made.map(drop),
        }
    }

    /// Puts a file whose content is not from a layer: `content` is the caller's.
    ///
    /// # Errors
    /// [`LayerError::Loop`], or limits.
    pub fn put_file(
        &mut self,
        path: &[u8],
        content: Content,
        meter: &Meter,
    ) -> Result<(), LayerError> {
        self.put(path, Node::new(self.layers, NodeKind::Other(content)), meter)
    }

    /// Visits all directories, parents first; the root's path is empty. Directories that no
    /// layer described have no attributes.
    pub fn directories(&self, mut visit: impl FnMut(&[u8], Option<&Meta>)) {
        let visited = self.visit(|path, node| {
            if let NodeKind::Directory { meta, .. } = &node.kind {
                visit(path, meta.as_deref());
            }
            Ok(())
        });
        debug_assert!(visited.is_ok(), "visiting a directory does not fail");
    }

    /// All names that are no directories, in the order in which their layers have their content.
    /// Paths are longer than the layers' own where symbolic links lead to them, so they are
    /// counted here, those of directories as well.
    ///
    /// # Errors
    /// [`LayerError::Limit`].
    pub fn contents(&self, meter: &Meter) -> Result<Vec<Name>, LayerError> {
        let mut out = Vec::new();
        self.visit(|path, node| {
            meter.charge(Quantity::Names, path.len() as u64)?;
            if let NodeKind::Symlink(content, _) | NodeKind::Other(content) = &node.kind {
                meter.charge(Quantity::Memory, CONTENT + heap(path.len()))?;
                out.push((*content, path.into()));
            }
            Ok(())
        })?;
        out.sort_unstable();
        Ok(out)
    }

    fn visit(
        &self,
        mut visit: impl FnMut(&[u8], &Node) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        // A stack of our own: an image may nest deeper than a thread's stack.
        let mut path = Vec::new();
        visit(&path, &self.nodes[ROOT])?;
        let mut stack = vec![(0, self.children(ROOT).iter())];
        while let Some((length, children)) = stack.last_mut() {
            path.truncate(*length);
            let Some((name, at)) = children.next() else {
                stack.pop();
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            if is_left_out(&path) {
                continue;
            }
            let node = &self.nodes[*at];
            visit(&path, node)?;
            if let NodeKind::Directory { children, .. } = &node.kind {
                stack.push((path.len(), children.iter()));
            }
        }
        Ok(())
    }

    fn put_directory(
        &mut self,
        path: &[u8],
        layer: u32,
        new: Box<Meta>,
        meter: &Meter,
    ) -> Result<(), LayerError> {
        let existing = match self.parent(path, layer, meter)? {
            None => Some(ROOT),
            Some((parent, name)) => self.children(parent).get(name).copied(),
        };
        // What an index was charged with for it goes over to the tree.
        meter.charge(Quantity::Memory, memory_of(&new))?;
        if let Some(at) = existing {
            let node = &mut self.nodes[at];
            if let NodeKind::Directory { meta, .. } = &mut node.kind {
                *meta = Some(new);
                (node.layer, node.touched) = (layer, layer);
                return Ok(());
            }
        }
        let kind = NodeKind::Directory { children: BTreeMap::new(), meta: Some(new) };
        self.put(path, Node::new(layer, kind), meter)
    }

    fn put(&mut self, path: &[u8], node: Node, meter: &Meter) -> Result<(), LayerError> {
        let Some((parent, name)) = self.parent(path, node.layer, meter)? else {
            // Nothing but a directory can be the root.
            return Err(LayerError::Name("/".into()));
        };
        self.insert(parent, name, node, meter).map(drop)
    }

    /// Puts a node into a directory, in place of what has its name.
    fn insert(
        &mut self,
        parent: usize,
        name: &[u8],
        node: Node,
        meter: &Meter,
    ) -> Result<usize, LayerError> {
        let own = match &node.kind {
            NodeKind::Directory { .. } => {
                meter.charge(Quantity::Entries, 1)?;
                DIRECTORY
            }
            NodeKind::Symlink(_, target) => heap(target.len()),
            NodeKind::Other(_) | NodeKind::Device => 0,
        };
        meter.charge(Quantity::Memory, NODE + heap(name.len()) + own)?;
        let at = self.nodes.len();
        self.nodes.push(node);
        let before = self.children_mut(parent).insert(name.into(), at);
        // Files are in nobody's way.
        if before.is_some_and(|at| !matches!(self.nodes[at].kind, NodeKind::Other(_))) {
            self.last.at = None;
        }
        Ok(at)
    }

    fn whiteout(&mut self, path: &[u8], layer: u32, meter: &Meter) -> Result<(), LayerError> {
        let (parent, name) = split(path);
        let Some(parent) = self.find_directory(parent, meter)? else { return Ok(()) };
        let Some(at) = self.children(parent).get(name).copied() else { return Ok(()) };
        // What this layer put stays, wherever its whiteout stands in the archive.
        if self.nodes[at].touched >= layer {
            self.remove_below(at, layer);
        } else {
            self.children_mut(parent).remove(name);
            self.last.at = None;
        }
        Ok(())
    }

    /// Removes what layers below `layer` put beneath a node.
    ///
    /// A directory is gone through once per layer at most: afterwards all that is in it is the
    /// layer's own. Each name met on the way either goes or was put, or led to, by this layer.
    fn remove_below(&mut self, at: usize, layer: u32) {
        let mut todo = vec![at];
        while let Some(at) = todo.pop() {
            let Node { cleared, kind: NodeKind::Directory { children, .. }, .. } =
                &mut self.nodes[at]
            else {
                continue;
            };
            if *cleared == layer + 1 {
                continue;
            }
            *cleared = layer + 1;
            let mut children = std::mem::take(children);
            children.retain(|_, child| self.nodes[*child].touched >= layer);
            todo.extend(children.values());
            *self.children_mut(at) = children;
        }
        self.last.at = None;
    }

    fn children(&self, at: usize) -> &BTreeMap<Box<[u8]>, usize> {
        match &self.nodes[at].kind {
            NodeKind::Directory { children, .. } => children,
            _ => unreachable!("only directories are walked into"),
        }
    }

    fn children_mut(&mut self, at: usize) -> &mut BTreeMap<Box<[u8]>, usize> {
        match &mut self.nodes[at].kind {
            NodeKind::Directory { children, .. } => children,
            _ => unreachable!("only directories are walked into"),
        }
    }

    /// The directory that `path` is to be put into, made if need be, and its last name. `None`
    /// for the root.
    fn parent<'a>(
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
    fn find(&mut self, path: &[u8], meter: &Meter) -> Result<Option<usize>, LayerError> {
        let (parent, name) = split(path);
        let Some(parent) = self.find_directory(parent, meter)? else { return Ok(None) };
        if path.is_empty() {
            return Ok(Some(ROOT));
        }
        Ok(self.children(parent).get(name).copied())
    }

    fn find_directory(&mut self, path: &[u8], meter: &Meter) -> Result<Option<usize>, LayerError> {
        self.walk(path, Missing::Stays, path, meter)
    }

    /// Follows names and the symbolic links among them, inside the image.
    fn walk(
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

/// What becomes of directories that are missing on a way.
#[derive(Clone, Copy)]
enum Missing {
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

/// A content's place in a vector, which doubles when it is full.
const CONTENT: u64 = 2 * size_of::<Name>() as u64;

fn memory_of(meta: &Meta) -> u64 {
    let attributes = meta.xattrs.iter();
    let attributes = attributes.map(|(name, value)| heap(name.len()) + heap(value.len()) + 48);
    heap(size_of::<Meta>()) + attributes.sum::<u64>()
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
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
fn walkable(target: &[u8]) -> Box<[u8]> {
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
