//! The merge: layers applied one over the other, to a tree of names in memory.
//!
//! The outcome is what unpacking the layers in order would give, symbolic links in the way of a
//! name being followed inside the image as every container engine does.

use std::collections::BTreeMap;

use super::index::split;
use super::{Entry, EntryKind, Index, LayerError, Meta};

/// As many symbolic links in one path as the kernel follows.
const LINKS: usize = 40;
const ROOT: usize = 0;

/// Where a name's content comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Content {
    /// The layer, counted from the lowest.
    pub layer: u32,
    /// The entry's ordinal in it.
    pub ordinal: u32,
}

#[derive(Debug)]
struct Node {
    /// The layer that made this name.
    layer: u32,
    what: What,
}

#[derive(Debug)]
enum What {
    Directory { children: BTreeMap<Box<[u8]>, usize>, meta: Option<Box<Meta>> },
    Symlink(Content, Box<[u8]>),
    Other(Content),
}

impl What {
    fn empty() -> What {
        What::Directory { children: BTreeMap::new(), meta: None }
    }
}

/// All names of an image.
#[derive(Debug)]
pub struct Tree {
    /// Removed nodes stay until the tree goes.
    nodes: Vec<Node>,
    layers: u32,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { nodes: vec![Node { layer: 0, what: What::empty() }], layers: 0 }
    }
}

impl Tree {
    /// Applies the next layer.
    ///
    /// # Errors
    /// [`LayerError`] naming the entry that cannot be applied.
    pub fn apply(&mut self, index: Index) -> Result<(), LayerError> {
        let layer = self.layers;
        self.layers += 1;
        for entry in index.entries {
            self.apply_entry(entry, layer)?;
        }
        Ok(())
    }

    fn apply_entry(&mut self, entry: Entry, layer: u32) -> Result<(), LayerError> {
        let Entry { ordinal, path, kind } = entry;
        let content = Content { layer, ordinal };
        let what = match kind {
            EntryKind::Directory(meta) => return self.put_directory(&path, layer, Some(meta)),
            EntryKind::Opaque => {
                if let Some(at) = self.find_directory(&path)? {
                    self.remove_below(at, layer);
                }
                return Ok(());
            }
            EntryKind::Whiteout => return self.whiteout(&path, layer),
            EntryKind::HardLink(target) => {
                let gone = || LayerError::HardLink { link: shown(&path), target: shown(&target) };
                let at = self.find(&target)?.ok_or_else(gone)?;
                match &self.nodes[at].what {
                    What::Directory { .. } => return Err(gone()),
                    What::Symlink(content, target) => What::Symlink(*content, target.clone()),
                    What::Other(content) => What::Other(*content),
                }
            }
            EntryKind::Symlink(target) => What::Symlink(content, target),
            EntryKind::File | EntryKind::Fifo => What::Other(content),
        };
        self.put(&path, Node { layer, what })
    }

    /// Makes sure of a directory, in no layer of its own.
    ///
    /// # Errors
    /// [`LayerError::Loop`].
    pub fn ensure_directory(&mut self, path: &[u8]) -> Result<(), LayerError> {
        let path: Vec<&[u8]> = names(path).collect();
        self.walk(&path, Some(self.layers), &path.join(&b'/')).map(drop)
    }

    /// Puts a file whose content is not from a layer: `content` is the caller's.
    ///
    /// # Errors
    /// [`LayerError::Loop`].
    pub fn put_file(&mut self, path: &[u8], content: Content) -> Result<(), LayerError> {
        self.put(path, Node { layer: self.layers, what: What::Other(content) })
    }

    /// Visits all directories, parents first; the root's path is empty. Directories that no
    /// layer described have no attributes.
    pub fn directories(&self, mut visit: impl FnMut(&[u8], Option<&Meta>)) {
        self.visit(|path, node| {
            if let What::Directory { meta, .. } = &node.what {
                visit(path, meta.as_deref());
            }
        });
    }

    /// All names that are no directories, in the order in which their layers have their content.
    pub fn contents(&self) -> Vec<(Content, Box<[u8]>)> {
        let mut out = Vec::new();
        self.visit(|path, node| match &node.what {
            What::Directory { .. } => {}
            What::Symlink(content, _) | What::Other(content) => out.push((*content, path.into())),
        });
        out.sort_unstable();
        out
    }

    fn visit(&self, mut visit: impl FnMut(&[u8], &Node)) {
        // A stack of our own: an image may nest deeper than a thread's stack.
        let mut path = Vec::new();
        visit(&path, &self.nodes[ROOT]);
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
            let node = &self.nodes[*at];
            visit(&path, node);
            if let What::Directory { children, .. } = &node.what {
                stack.push((path.len(), children.iter()));
            }
        }
    }

    fn put_directory(
        &mut self,
        path: &[u8],
        layer: u32,
        new: Option<Box<Meta>>,
    ) -> Result<(), LayerError> {
        let existing = match self.parent(path, layer)? {
            None => Some(ROOT),
            Some((parent, name)) => self.children(parent).get(name).copied(),
        };
        if let Some(at) = existing {
            let node = &mut self.nodes[at];
            if let What::Directory { meta, .. } = &mut node.what {
                *meta = new;
                node.layer = layer;
                return Ok(());
            }
        }
        let what = What::Directory { children: BTreeMap::new(), meta: new };
        self.put(path, Node { layer, what })
    }

    fn put(&mut self, path: &[u8], node: Node) -> Result<(), LayerError> {
        let layer = node.layer;
        let Some((parent, name)) = self.parent(path, layer)? else {
            // Nothing but a directory can be the root.
            return Err(LayerError::Name("/".into()));
        };
        let at = self.nodes.len();
        self.nodes.push(node);
        self.children_mut(parent).insert(name.into(), at);
        Ok(())
    }

    fn whiteout(&mut self, path: &[u8], layer: u32) -> Result<(), LayerError> {
        let (parent, name) = split(path);
        let Some(parent) = self.find_directory(parent)? else { return Ok(()) };
        let Some(at) = self.children(parent).get(name).copied() else { return Ok(()) };
        // What this layer put stays, wherever its whiteout stands in the archive.
        if self.remove_below(at, layer) {
            self.children_mut(parent).remove(name);
        }
        Ok(())
    }

    /// Removes what layers below `layer` put beneath a node. True if nothing of `layer` is left,
    /// the node itself included.
    fn remove_below(&mut self, at: usize, layer: u32) -> bool {
        // Post-order without recursion: a node is judged when its children have been.
        let mut order = vec![at];
        let mut next = 0;
        while next < order.len() {
            if let What::Directory { children, .. } = &self.nodes[order[next]].what {
                order.extend(children.values());
            }
            next += 1;
        }
        let mut gone = std::collections::HashSet::new();
        for at in order.into_iter().rev() {
            let own = self.nodes[at].layer >= layer;
            let empty = match &mut self.nodes[at].what {
                What::Directory { children, .. } => {
                    children.retain(|_, child| !gone.contains(child));
                    children.is_empty()
                }
                _ => true,
            };
            if empty && !own {
                gone.insert(at);
            }
        }
        gone.contains(&at)
    }

    fn children(&self, at: usize) -> &BTreeMap<Box<[u8]>, usize> {
        match &self.nodes[at].what {
            What::Directory { children, .. } => children,
            _ => unreachable!("only directories are walked into"),
        }
    }

    fn children_mut(&mut self, at: usize) -> &mut BTreeMap<Box<[u8]>, usize> {
        match &mut self.nodes[at].what {
            What::Directory { children, .. } => children,
            _ => unreachable!("only directories are walked into"),
        }
    }

    /// The directory that `path` is to be put into, made if need be, and its last name. `None`
    /// for the root.
    fn parent<'a>(
        &mut self,
        path: &'a [u8],
        layer: u32,
    ) -> Result<Option<(usize, &'a [u8])>, LayerError> {
        if path.is_empty() {
            return Ok(None);
        }
        let (parent, name) = split(path);
        let names: Vec<&[u8]> = names(parent).collect();
        let at = self.walk(&names, Some(layer), path)?;
        Ok(at.map(|at| (at, name)))
    }

    /// The node at `path`, its last component not followed.
    fn find(&mut self, path: &[u8]) -> Result<Option<usize>, LayerError> {
        let (parent, name) = split(path);
        let Some(parent) = self.find_directory(parent)? else { return Ok(None) };
        if path.is_empty() {
            return Ok(Some(ROOT));
        }
        Ok(self.children(parent).get(name).copied())
    }

    fn find_directory(&mut self, path: &[u8]) -> Result<Option<usize>, LayerError> {
        let names: Vec<&[u8]> = names(path).collect();
        self.walk(&names, None, path)
    }

    /// Follows names and the symbolic links among them, inside the image. With `make`, what is
    /// missing is made for that layer, and what is no directory gives way to one.
    fn walk(
        &mut self,
        path: &[&[u8]],
        make: Option<u32>,
        entry: &[u8],
    ) -> Result<Option<usize>, LayerError> {
        let mut todo: Vec<Box<[u8]>> = path.iter().rev().map(|name| (*name).into()).collect();
        let mut trail = vec![ROOT];
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if *name == *b".." {
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            let here = *trail.last().expect("starts with the root");
            let found = self.children(here).get(&name).copied();
            let target = match found.map(|at| (at, &self.nodes[at].what)) {
                Some((at, What::Directory { .. })) => {
                    trail.push(at);
                    continue;
                }
                Some((_, What::Symlink(_, target))) => Some(target.clone()),
                _ => None,
            };
            if let Some(target) = target {
                links += 1;
                if links > LINKS {
                    return Err(LayerError::Loop(shown(entry)));
                }
                if target.starts_with(b"/") {
                    trail.truncate(1);
                }
                let names: Vec<Box<[u8]>> = names(&target).map(Into::into).collect();
                todo.extend(names.into_iter().rev());
                continue;
            }
            let Some(layer) = make else { return Ok(None) };
            let at = self.nodes.len();
            self.nodes.push(Node { layer, what: What::empty() });
            self.children_mut(here).insert(name, at);
            trail.push(at);
        }
        Ok(trail.last().copied())
    }
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
