//! What has come of the merge: directories, and all other names in the order of their contents.

use super::{Name, Node, NodeKind, ROOT, Tree};
use crate::layers::index::is_left_out;
use crate::layers::limits::{Meter, Quantity, heap};
use crate::layers::{LayerError, Meta};

/// A content's place in a vector, which doubles when it is full.
const CONTENT: u64 = 2 * size_of::<Name>() as u64;

impl Tree {
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
}
