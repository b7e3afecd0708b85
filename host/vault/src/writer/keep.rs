//! Carrying entries forward from the parent snapshot: nothing is read but trees, and everything is checked to be there.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bulkhead_model::{EntryPath, NodeType};
use futures_util::{StreamExt, stream::FuturesUnordered};

use crate::{
    error::{ReadError, WriteError},
    format::node::Node,
    id::ObjectId,
    index::BlobKind,
    reader::SnapshotReader,
    sync::read,
    vault::Core,
};

/// Trees that are read at once.
const TREES_AT_ONCE: usize = 16;

/// An entry to keep, with what is in it.
pub(crate) struct Kept {
    pub(crate) node: Node,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// Finds what the parent has at `path`.
pub(crate) async fn find(parent: &SnapshotReader, path: &EntryPath) -> Result<Kept, WriteError> {
    let node = match parent.node(path).await {
        Ok(node) => node,
        Err(ReadError::NoSuchEntry { path, .. }) => return Err(WriteError::NothingToKeep { path }),
        Err(error) => return Err(missing_or(path, error)),
    };
    let core = parent.core();
    check(core, path, &node)?;
    let (files, bytes) = match node.subtree {
        Some(tree) => check_folder(core, path, tree).await?,
        None => count(&node),
    };
    Ok(Kept { node, files, bytes })
}

/// Checks everything in a folder, several trees at a time and each once; its files and their bytes.
async fn check_folder(core: &Arc<Core>, path: &EntryPath, root: ObjectId) -> Result<(u64, u64), WriteError> {
    let mut waiting = vec![root];
    let mut known: HashSet<ObjectId> = HashSet::from([root]);
    // How often a tree occurs matters for the count only: the same folder twice has its files twice.
    let mut totals = Totals::default();
    let mut reading = FuturesUnordered::new();
    loop {
        while reading.len() < TREES_AT_ONCE {
            let Some(tree) = waiting.pop() else { break };
            reading.push(async move { (tree, core.load_tree(&tree).await) });
        }
        let Some((tree, nodes)) = reading.next().await else { break };
        let nodes = nodes.map_err(|error| missing_or(path, error))?;
        let (mut files, mut bytes) = (0, 0);
        let mut folders = Vec::new();
        for node in &nodes {
            check(core, path, node)?;
            let (more_files, more_bytes) = count(node);
            files += more_files;
            bytes += more_bytes;
            if let Some(subtree) = node.subtree {
                folders.push(subtree);
                if known.insert(subtree) {
                    waiting.push(subtree);
                }
            }
        }
        totals.0.insert(tree, (files, bytes, folders));
    }
    Ok(totals.of(root))
}

/// Files, bytes and folders that are directly in each tree.
#[derive(Default)]
struct Totals(HashMap<ObjectId, (u64, u64, Vec<ObjectId>)>);

impl Totals {
    /// Files and bytes at all depths.
    ///
    /// Every tree is summed up once, those in it first: a folder that occurs twice on each of many levels is no work, but many files.
    fn of(&self, root: ObjectId) -> (u64, u64) {
        let mut sums: HashMap<ObjectId, (u64, u64)> = HashMap::new();
        let mut waiting = vec![(root, false)];
        while let Some((tree, entered)) = waiting.pop() {
            let Some((files, bytes, folders)) = self.0.get(&tree).filter(|_| !sums.contains_key(&tree)) else {
                continue;
            };
            if entered {
                let sum = folders.iter().fold((*files, *bytes), |(files, bytes), folder| {
                    let (more_files, more_bytes) = sums.get(folder).copied().unwrap_or_default();
                    (files.saturating_add(more_files), bytes.saturating_add(more_bytes))
                });
                sums.insert(tree, sum);
            } else {
                waiting.push((tree, true));
                waiting.extend(folders.iter().map(|folder| (*folder, false)));
            }
        }
        sums.get(&root).copied().unwrap_or_default()
    }
}

/// Checks that a file's content is there to stay; likewise a folder's tree.
fn check(core: &Core, path: &EntryPath, node: &Node) -> Result<(), WriteError> {
    let index = read(&core.index);
    let missing = |kind: &str, id: &ObjectId| WriteError::KeptContentMissing {
        path: path.clone(),
        reason: format!("its {kind} {id} is not in the index"),
    };
    if let Some(id) = node.content.iter().find(|id| !index.has(BlobKind::Data, id)) {
        return Err(missing("content", id));
    }
    match node.subtree.filter(|tree| !index.has(BlobKind::Tree, tree)) {
        Some(tree) => Err(missing("tree", &tree)),
        None => Ok(()),
    }
}

/// Files and bytes of a node by itself.
fn count(node: &Node) -> (u64, u64) {
    match node.metadata.node_type {
        NodeType::File => (1, node.size),
        _ => (0, 0),
    }
}

/// Damage in the parent is a reason to write the entry anew, not to fail the run; a store that does not answer is.
fn missing_or(path: &EntryPath, error: ReadError) -> WriteError {
    match error {
        ReadError::Corrupt(_) | ReadError::BlobMissing { .. } => WriteError::KeptContentMissing {
            path: path.clone(),
            reason: error.to_string(),
        },
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_occurs_again_and_again_is_summed_up_once() {
        let id = |level: u32| ObjectId::of(&level.to_le_bytes());
        let mut totals = Totals::default();
        totals.0.insert(id(0), (1, 10, Vec::new()));
        for level in 1..=60 {
            totals.0.insert(id(level), (0, 0, vec![id(level - 1), id(level - 1)]));
        }
        assert_eq!(totals.of(id(60)), (1 << 60, 10 << 60));
        for level in 61..=3000 {
            totals.0.insert(id(level), (1, 0, vec![id(level - 1)]));
        }
        assert_eq!(totals.of(id(3000)).0, (1 << 60) + 2940);
    }
}
