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
    let mut kept = Kept { node, files: 0, bytes: 0 };
    let core = parent.core();
    count(core, path, &kept.node.clone(), &mut kept)?;
    if let Some(tree) = kept.node.subtree {
        check_folder(core, path, tree, &mut kept).await?;
    }
    Ok(kept)
}

/// Checks and counts everything in a folder, several trees at a time and each once.
async fn check_folder(core: &Arc<Core>, path: &EntryPath, root: ObjectId, kept: &mut Kept) -> Result<(), WriteError> {
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
        let mut own = Kept {
            node: kept.node.clone(),
            files: 0,
            bytes: 0,
        };
        let mut folders = Vec::new();
        for node in &nodes {
            count(core, path, node, &mut own)?;
            if let Some(subtree) = node.subtree {
                folders.push(subtree);
                if known.insert(subtree) {
                    waiting.push(subtree);
                }
            }
        }
        totals.0.insert(tree, (own.files, own.bytes, folders));
    }
    let (files, bytes) = totals.of(root);
    kept.files += files;
    kept.bytes += bytes;
    Ok(())
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

/// Counts a file and checks that its content is there to stay; likewise a folder's tree.
fn count(core: &Core, path: &EntryPath, node: &Node, kept: &mut Kept) -> Result<(), WriteError> {
    let index = read(&core.index);
    let missing = |kind: &str, id: &ObjectId| WriteError::KeptContentMissing {
        path: path.clone(),
        reason: format!("its {kind} {id} is not in the index"),
    };
    if let Some(id) = node.content.iter().find(|id| !index.has(BlobKind::Data, id)) {
        return Err(missing("content", id));
    }
    if let Some(tree) = node.subtree.filter(|tree| !index.has(BlobKind::Tree, tree)) {
        return Err(missing("tree", &tree));
    }
    if node.metadata.node_type == NodeType::File {
        kept.files += 1;
        kept.bytes += node.size;
    }
    Ok(())
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
