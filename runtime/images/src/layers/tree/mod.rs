//! The merge: layers applied one over the other, to a tree of names in memory.
//!
//! The outcome is what unpacking the layers in order would give, symbolic links in the way of a
//! name being followed inside the image as every container engine does.

mod visit;
mod walk;

use std::collections::BTreeMap;

use super::index::split;
use super::limits::{Meter, Quantity, heap, shown};
use super::{Entry, EntryKind, Index, LayerError, Meta};

use walk::{LastParent, Missing, names, walkable};

const ROOT: usize = 0;
/// What a node and its place in its directory cost in memory, and a directory's first block of
/// names besides.
const NODE: u64 = 2 * size_of::<Node>() as u64 + 48;
const DIRECTORY: u64 = 320;

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
}

fn memory_of(meta: &Meta) -> u64 {
    let attributes = meta.xattrs.iter();
    let attributes = attributes.map(|(name, value)| heap(name.len()) + heap(value.len()) + 48);
    heap(size_of::<Meta>()) + attributes.sum::<u64>()
}
