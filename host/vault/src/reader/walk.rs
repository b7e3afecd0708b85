//! [`Walk`]: the entries of a snapshot in order.

use std::sync::Arc;

use bulkhead_model::EntryPath;

use crate::{
    error::{Corruption, ReadError},
    format::node::Node,
    id::ObjectId,
    reader::snapshot_reader::SnapshotEntry,
    record::RESERVED_FOLDER,
    vault::Core,
};

/// A walk in progress. Holds one folder for each level that it is deep.
pub struct Walk {
    core: Arc<Core>,
    /// Folders that are open, outermost first.
    levels: Vec<Level>,
    /// Where the walk begins, until it has been told.
    start: Option<SnapshotEntry>,
    /// A folder to enter on the next call.
    entering: Option<(EntryPath, ObjectId)>,
}

/// A folder and what of it is still to come.
struct Level {
    path: EntryPath,
    nodes: std::vec::IntoIter<Node>,
}

impl Walk {
    /// A walk that begins with `node` at `path`.
    pub(crate) fn new(core: Arc<Core>, path: EntryPath, node: Node) -> Self {
        let entering = node.subtree.map(|tree| (path.clone(), tree));
        let start = (!path.is_root()).then_some(SnapshotEntry {
            path,
            metadata: node.metadata,
            size: node.size,
        });
        Self {
            core,
            levels: Vec::new(),
            start,
            entering,
        }
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// What can happen to a folder.
    pub async fn next(&mut self) -> Result<Option<SnapshotEntry>, ReadError> {
        if let Some(start) = self.start.take() {
            return Ok(Some(start));
        }
        if let Some((path, tree)) = self.entering.take() {
            let nodes = self.core.load_tree(&tree).await?.into_iter();
            self.levels.push(Level { path, nodes });
        }
        while let Some(level) = self.levels.last_mut() {
            let Some(node) = level.nodes.next() else {
                self.levels.pop();
                continue;
            };
            if level.path.is_root() && &*node.name == RESERVED_FOLDER.as_bytes() {
                continue;
            }
            let path = join(&level.path, &node.name)?;
            self.entering = node.subtree.map(|tree| (path.clone(), tree));
            return Ok(Some(SnapshotEntry {
                path,
                metadata: node.metadata,
                size: node.size,
            }));
        }
        Ok(None)
    }
}

fn join(folder: &EntryPath, name: &[u8]) -> Result<EntryPath, ReadError> {
    let mut path = folder.as_bytes().to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    let malformed = |error: bulkhead_model::EntryPathError| Corruption {
        object: folder.to_string(),
        blob: None,
        reason: error.to_string(),
    };
    Ok(EntryPath::new(path).map_err(malformed)?)
}
