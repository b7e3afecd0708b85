//! [`Walk`]: the entries of a snapshot in order.

use std::sync::Arc;

use bulkhead_model::{EntryPath, NodeType};

use crate::{
    error::{Corruption, ReadError},
    format::node::Node,
    id::ObjectId,
    reader::{
        nearby::Nearby,
        snapshot_reader::{SnapshotEntry, content_digest},
    },
    record::RESERVED_FOLDER,
    vault::Core,
};

/// A walk in progress. Holds one folder for each level that it is deep, beside the 4 MiB of folders as they are stored that all walks of a snapshot share.
pub struct Walk {
    core: Arc<Core>,
    /// Read with those that stand around them.
    folders: Arc<Nearby>,
    /// Folders that are open, outermost first.
    levels: Vec<Level>,
    /// Where the walk begins, until it has been told.
    start: Option<(SnapshotEntry, Box<[ObjectId]>)>,
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
    pub(crate) fn new(core: Arc<Core>, folders: Arc<Nearby>, path: EntryPath, node: Node) -> Result<Self, ReadError> {
        let entering = subtree(&node, &path)?.map(|tree| (path.clone(), tree));
        let start = (!path.is_root()).then(|| describe(path, node));
        Ok(Self {
            core,
            folders,
            levels: Vec::new(),
            start,
            entering,
        })
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// What can happen to a folder.
    pub async fn next(&mut self) -> Result<Option<SnapshotEntry>, ReadError> {
        Ok(self.advance().await?.map(|(entry, _)| entry))
    }

    /// Leaves out what is below the entry that came last.
    pub fn skip_below(&mut self) {
        self.entering = None;
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// The next entry with the names of its content's chunks.
    pub(crate) async fn advance(&mut self) -> Result<Option<(SnapshotEntry, Box<[ObjectId]>)>, ReadError> {
        if let Some(start) = self.start.take() {
            return Ok(Some(start));
        }
        if let Some((path, tree)) = self.entering.take() {
            let nodes = self.folders.load_tree(&self.core, &tree).await?.into_iter();
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
            self.entering = subtree(&node, &path)?.map(|tree| (path.clone(), tree));
            return Ok(Some(describe(path, node)));
        }
        Ok(None)
    }
}

/// A node as an entry, and the names of its content's chunks.
pub(crate) fn describe(path: EntryPath, node: Node) -> (SnapshotEntry, Box<[ObjectId]>) {
    let entry = SnapshotEntry {
        path,
        content: content_digest(&node),
        metadata: node.metadata,
        size: node.size,
    };
    (entry, node.content)
}

/// The tree of a folder; `None` for anything else. A folder without one, and one of anything else, are damage.
pub(crate) fn subtree(node: &Node, path: &EntryPath) -> Result<Option<ObjectId>, ReadError> {
    let reason = match (&node.metadata.node_type, node.subtree) {
        (NodeType::Directory, None) => "it is a folder, but names no tree",
        (NodeType::Directory, tree) => return Ok(tree),
        (_, None) => return Ok(None),
        (_, Some(_)) => "it is no folder, but names a tree",
    };
    Err(Corruption {
        object: format!("the entry {path:?}"),
        blob: None,
        reason: reason.to_owned(),
    }
    .into())
}

/// The path of what is called `name` in `folder`.
pub(crate) fn join(folder: &EntryPath, name: &[u8]) -> Result<EntryPath, ReadError> {
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
