//! Repairing snapshots: of one whose folders or content are lost, what remains becomes a snapshot of its own, tagged `repaired`.
//!
//! Lost is what is in no index, and a folder that cannot be read. A file that has lost a part keeps the rest under a name that says so, `….repaired` (or
//! `….repaired-2`, where there is such a file already), so that nobody takes it for whole; a lost folder is left out. Folders are rewritten as JSON, so that fields that only other programs know stay.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bulkhead_model::NodeType;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::{Map, Value};

use crate::{
    access,
    error::{MaintenanceError, ReadError},
    format::{
        node::{self, Node},
        quote,
    },
    id::ObjectId,
    index::BlobKind,
    lock::{Held, Lock, Share},
    maintenance::Stop,
    snapshots::{REPAIRED_TAG, SnapshotInfo},
    sync::read,
    vault::{Core, Vault},
    writer::TreeWriter,
};

/// What follows the name of a file that is not whole any more.
const SUFFIX: &str = ".repaired";
/// Longest name that file systems take, in bytes.
const MAX_NAME: usize = 255;
/// Lost files and folders that a repair names, of each snapshot.
const MAX_NAMES: usize = 100;

/// A snapshot that is not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRepair {
    /// The snapshot.
    pub snapshot: SnapshotInfo,
    /// Files and folders that are damaged or lost: the first hundred, with `/` between folders.
    pub damaged: Vec<String>,
    /// All of them.
    pub damaged_count: u64,
    /// Whether nothing of it is left: there is nothing to repair.
    pub is_lost: bool,
    /// What it became; `None` in a plan.
    pub repaired: Option<ObjectId>,
}

/// A folder, as far as damage goes.
#[derive(Default)]
struct Folder {
    is_lost: bool,
    damaged: Vec<Box<[u8]>>,
    folders: Vec<(Box<[u8]>, ObjectId)>,
}

type Folders = HashMap<ObjectId, Folder>;

/// What an examination has found.
struct Examined {
    repairs: Vec<SnapshotRepair>,
    folders: Folders,
    /// The folders that are damaged themselves, or have such a one somewhere below.
    dirty: HashSet<ObjectId>,
}

impl Vault {
    /// The snapshots that are not whole. Those whose own files are damaged are passed over: nothing can be told of them.
    ///
    /// # Errors
    /// [`MaintenanceError`].
    pub async fn plan_snapshot_repair(&self, host: &str, stop: &Stop) -> Result<Vec<SnapshotRepair>, MaintenanceError> {
        let lock = Lock::take(&self.core, host, Share::Nobody).await?;
        let planned = plan(self, stop).await;
        lock.release().await;
        Ok(planned?.repairs)
    }

    /// Makes a snapshot of what remains of each that is not whole; `expected` is the plan that was agreed to, where there is one. The damaged ones go
    /// only with `forget`, those of which nothing is left as well.
    ///
    /// # Errors
    /// [`MaintenanceError`].
    pub async fn repair_snapshots(
        &self,
        expected: Option<&[SnapshotRepair]>,
        forget: bool,
        host: &str,
        stop: &Stop,
    ) -> Result<Vec<SnapshotRepair>, MaintenanceError> {
        let lock = Lock::take(&self.core, host, Share::Nobody).await?;
        let result = match plan(self, stop).await {
            Ok(examined) if expected.is_some_and(|expected| *expected != examined.repairs) => Err(MaintenanceError::Changed),
            Ok(examined) => self.carry_out(examined, forget, host, stop, lock.held()).await,
            Err(error) => Err(error),
        };
        lock.release().await;
        result
    }

    /// Those of the snapshots `ids` that are here, and whole.
    ///
    /// # Errors
    /// [`MaintenanceError`].
    pub async fn whole_snapshots(&self, ids: &[ObjectId], host: &str, stop: &Stop) -> Result<Vec<ObjectId>, MaintenanceError> {
        let lock = Lock::take(&self.core, host, Share::Nobody).await?;
        let whole = whole(&self.core, ids, stop).await;
        lock.release().await;
        whole
    }

    async fn carry_out(
        &self,
        examined: Examined,
        forget: bool,
        host: &str,
        stop: &Stop,
        held: &Held,
    ) -> Result<Vec<SnapshotRepair>, MaintenanceError> {
        let Examined {
            mut repairs,
            folders,
            dirty,
        } = examined;
        let writer = TreeWriter::begin(&self.core, &self.options, host)?;
        let mut rewritten = HashMap::new();
        for repair in repairs.iter().filter(|repair| !repair.is_lost) {
            rewrite(&self.core, repair.snapshot.tree, (&folders, &dirty), &writer, &mut rewritten, stop).await?;
        }
        writer.finish().await?;
        for repair in &mut repairs {
            let id = repair.snapshot.id;
            if let Some(tree) = rewritten.get(&repair.snapshot.tree) {
                let mut file = self.core.snapshot_fields(id).await?;
                file.insert("tree".to_owned(), tree.to_string().into());
                let mut tags = repair.snapshot.tags.clone();
                if !tags.iter().any(|tag| tag == REPAIRED_TAG) {
                    tags.push(REPAIRED_TAG.to_owned());
                }
                file.insert("tags".to_owned(), tags.into());
                repair.repaired = Some(self.core.store_successor(id, file, held).await?);
            }
        }
        if forget {
            let free = repairs.iter().filter(|repair| !repair.snapshot.is_held());
            let damaged: Vec<ObjectId> = free.map(|repair| repair.snapshot.id).collect();
            self.forget_locked(&damaged, held, stop, &mut Vec::new()).await?;
        }
        Ok(repairs)
    }
}

async fn plan(vault: &Vault, stop: &Stop) -> Result<Examined, MaintenanceError> {
    let core = &vault.core;
    core.refresh_index().await?;
    let ids = access::list_ids(&*core.store, "snapshots/").await?;
    let snapshots = core.load_snapshots(ids, true).await?;
    let folders = examine(core, snapshots.iter().map(|snapshot| snapshot.tree), stop).await?;
    let dirty = dirty(&folders);
    let repairs = snapshots
        .into_iter()
        .filter(|snapshot| dirty.contains(&snapshot.tree))
        .map(|snapshot| {
            let (damaged, damaged_count) = losses(snapshot.tree, &folders, &dirty);
            SnapshotRepair {
                is_lost: folders.get(&snapshot.tree).is_none_or(|folder| folder.is_lost),
                snapshot,
                damaged,
                damaged_count,
                repaired: None,
            }
        })
        .collect();
    Ok(Examined { repairs, folders, dirty })
}

async fn whole(core: &Arc<Core>, ids: &[ObjectId], stop: &Stop) -> Result<Vec<ObjectId>, MaintenanceError> {
    core.refresh_index().await?;
    let snapshots = core.load_snapshots(ids.to_vec(), true).await?;
    let folders = examine(core, snapshots.iter().map(|snapshot| snapshot.tree), stop).await?;
    let dirty = dirty(&folders);
    let whole = snapshots.into_iter().filter(|snapshot| !dirty.contains(&snapshot.tree));
    Ok(whole.map(|snapshot| snapshot.id).collect())
}

/// Reads all folders below `roots`, each once, several at a time.
async fn examine(core: &Arc<Core>, roots: impl Iterator<Item = ObjectId>, stop: &Stop) -> Result<Folders, MaintenanceError> {
    let mut known = HashSet::new();
    let mut waiting: Vec<ObjectId> = roots.filter(|tree| known.insert(*tree)).collect();
    let mut folders = Folders::new();
    let mut reading = FuturesUnordered::new();
    loop {
        stop.check()?;
        while reading.len() < core.concurrency() {
            let Some(tree) = waiting.pop() else { break };
            reading.push(async move { (tree, core.load_tree(&tree).await) });
        }
        let Some((tree, loaded)) = reading.next().await else { break };
        let folder = match loaded {
            Ok(nodes) => examine_nodes(core, &nodes),
            Err(ReadError::Corrupt(_) | ReadError::BlobMissing { .. }) => Folder {
                is_lost: true,
                ..Folder::default()
            },
            Err(error) => return Err(error.into()),
        };
        waiting.extend(folder.folders.iter().map(|(_, tree)| *tree).filter(|tree| known.insert(*tree)));
        folders.insert(tree, folder);
    }
    Ok(folders)
}

fn examine_nodes(core: &Core, nodes: &[Node]) -> Folder {
    let index = read(&core.index);
    let mut folder = Folder::default();
    for node in nodes {
        match node.subtree {
            Some(tree) => folder.folders.push((node.name.clone(), tree)),
            None if node.metadata.node_type == NodeType::Directory => folder.damaged.push(node.name.clone()),
            None if node.content.iter().any(|id| index.locate(BlobKind::Data, id).is_none()) => folder.damaged.push(node.name.clone()),
            None => {}
        }
    }
    folder
}

/// The folders that are damaged themselves, or have such a one somewhere below.
fn dirty(folders: &Folders) -> HashSet<ObjectId> {
    let mut parents: HashMap<ObjectId, Vec<ObjectId>> = HashMap::new();
    let mut waiting = Vec::new();
    for (tree, folder) in folders {
        if folder.is_lost || !folder.damaged.is_empty() {
            waiting.push(*tree);
        }
        for (_, below) in &folder.folders {
            parents.entry(*below).or_default().push(*tree);
        }
    }
    let mut dirty = HashSet::new();
    while let Some(tree) = waiting.pop() {
        if dirty.insert(tree) {
            waiting.extend(parents.get(&tree).into_iter().flatten());
        }
    }
    dirty
}

/// What is damaged below `root`: the first names, and how much; a folder that occurs twice counts once.
fn losses(root: ObjectId, folders: &Folders, dirty: &HashSet<ObjectId>) -> (Vec<String>, u64) {
    let mut seen = HashSet::from([root]);
    let mut waiting = vec![(String::new(), root)];
    let (mut names, mut count) = (Vec::new(), 0);
    while let Some((path, tree)) = waiting.pop() {
        let Some(folder) = folders.get(&tree) else { continue };
        let join = |name: &[u8]| {
            let name = String::from_utf8_lossy(name);
            if path.is_empty() {
                name.into_owned()
            } else {
                format!("{path}/{name}")
            }
        };
        if folder.is_lost {
            count += 1;
            names.push(if path.is_empty() { "/".to_owned() } else { path.clone() });
        }
        count += folder.damaged.len() as u64;
        names.extend(folder.damaged.iter().map(|name| join(name)));
        names.truncate(MAX_NAMES);
        let below = folder.folders.iter().filter(|(_, tree)| dirty.contains(tree) && seen.insert(*tree));
        waiting.extend(below.map(|(name, tree)| (join(name), *tree)));
    }
    names.sort_unstable();
    (names, count)
}

/// Stores what is left of the folder `root` and of those below; those that are whole stay as they are.
async fn rewrite(
    core: &Arc<Core>,
    root: ObjectId,
    (folders, dirty): (&Folders, &HashSet<ObjectId>),
    writer: &TreeWriter,
    rewritten: &mut HashMap<ObjectId, ObjectId>,
    stop: &Stop,
) -> Result<(), MaintenanceError> {
    // Those below first.
    let mut waiting = vec![(root, false)];
    while let Some((tree, entered)) = waiting.pop() {
        let Some(folder) = folders
            .get(&tree)
            .filter(|folder| !folder.is_lost && dirty.contains(&tree) && !rewritten.contains_key(&tree))
        else {
            continue;
        };
        if !entered {
            waiting.push((tree, true));
            waiting.extend(folder.folders.iter().map(|(_, tree)| (*tree, false)));
            continue;
        }
        stop.check()?;
        let document = core.load_tree_document(&tree).await?;
        let repaired = remains(core, document, folders, rewritten)?;
        // A folder that nobody can read would be worse than one that lacks something.
        node::decode_tree(&repaired).map_err(MaintenanceError::Internal)?;
        rewritten.insert(tree, writer.store(repaired).await?);
    }
    Ok(())
}

/// What is left of a folder, as JSON.
fn remains(
    core: &Core,
    mut document: Map<String, Value>,
    folders: &Folders,
    rewritten: &HashMap<ObjectId, ObjectId>,
) -> Result<Vec<u8>, MaintenanceError> {
    let nodes = match document.remove("nodes") {
        Some(Value::Array(nodes)) => nodes,
        _ => Vec::new(),
    };
    let nodes = nodes.into_iter().filter_map(|node| match node {
        Value::Object(node) => Some(name_of(&node).map(|name| (name, node))),
        _ => None,
    });
    let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
    let mut taken: HashSet<Vec<u8>> = nodes.iter().map(|(name, _)| name.clone()).collect();
    let mut kept = Vec::with_capacity(nodes.len());
    for (mut name, mut node) in nodes {
        match left_of(core, &mut node, folders, rewritten) {
            Left::Nothing => continue,
            Left::All => {}
            Left::Part => {
                name = free_name(&name, &taken);
                taken.insert(name.clone());
                node.insert("name".to_owned(), quote::quote(&name).into());
            }
        }
        kept.push((name, Value::Object(node)));
    }
    kept.sort_by(|(one, _), (other, _)| one.cmp(other));
    document.insert("nodes".to_owned(), kept.into_iter().map(|(_, node)| node).collect());
    let mut json = serde_json::to_vec(&document).map_err(|error| MaintenanceError::Internal(error.to_string()))?;
    json.push(b'\n');
    Ok(json)
}

fn name_of(node: &Map<String, Value>) -> Result<Vec<u8>, MaintenanceError> {
    let name = node.get("name").and_then(Value::as_str).unwrap_or_default();
    quote::unquote(name).map_err(MaintenanceError::Internal)
}

/// A name for what is left of the file `name` that none of `taken` is, and that file systems take.
fn free_name(name: &[u8], taken: &HashSet<Vec<u8>>) -> Vec<u8> {
    let with = |suffix: String| {
        let mut end = name.len().min(MAX_NAME - suffix.len());
        // Not in the middle of a character.
        while end > 0 && name.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end -= 1;
        }
        [&name[..end], suffix.as_bytes()].concat()
    };
    let mut free = with(SUFFIX.to_owned());
    let mut number = 2_u64;
    while taken.contains(&free) {
        free = with(format!("{SUFFIX}-{number}"));
        number += 1;
    }
    free
}

/// What is left of something in a folder.
enum Left {
    Nothing,
    /// Of a file: the rest is lost.
    Part,
    All,
}

/// Leaves in a node what is there.
fn left_of(core: &Core, node: &mut Map<String, Value>, folders: &Folders, rewritten: &HashMap<ObjectId, ObjectId>) -> Left {
    if node.get("type").and_then(Value::as_str) == Some("dir") {
        let tree = node.get("subtree").and_then(id_in);
        let Some(tree) = tree.filter(|tree| folders.get(tree).is_some_and(|folder| !folder.is_lost)) else {
            return Left::Nothing;
        };
        if let Some(repaired) = rewritten.get(&tree) {
            node.insert("subtree".to_owned(), repaired.to_string().into());
        }
        return Left::All;
    }
    let Some(Value::Array(content)) = node.get("content") else {
        return Left::All;
    };
    let index = read(&core.index);
    let found: Vec<_> = content
        .iter()
        .filter_map(|id| Some((id.clone(), index.locate(BlobKind::Data, &id_in(id)?)?)))
        .collect();
    if found.len() == content.len() {
        return Left::All;
    }
    let size: u64 = found.iter().map(|(_, location)| location.content_length()).sum();
    node.insert("size".to_owned(), size.into());
    node.insert("content".to_owned(), found.into_iter().map(|(id, _)| id).collect());
    Left::Part
}

fn id_in(value: &Value) -> Option<ObjectId> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_file_gets_a_name_of_its_own() {
        let names = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect::<HashSet<_>>();
        assert_eq!(free_name(b"db", &names(&["db"])), b"db.repaired");
        assert_eq!(free_name(b"db", &names(&["db", "db.repaired"])), b"db.repaired-2");
        assert_eq!(free_name(b"db", &names(&["db.repaired", "db.repaired-2"])), b"db.repaired-3");
        let (long, longer) = (format!("{}ä", "x".repeat(245)), "x".repeat(255));
        let cut = format!("{}.repaired", "x".repeat(245));
        assert_eq!(free_name(long.as_bytes(), &names(&[])), cut.as_bytes());
        assert_eq!(free_name(longer.as_bytes(), &names(&[])).len(), 255);
        assert_eq!(free_name(&[0xff; 255], &names(&[])).len(), 255);
        let cut = format!("{}.repaired-2", "x".repeat(244));
        let taken = HashSet::from([free_name(longer.as_bytes(), &names(&[]))]);
        assert_eq!(free_name(longer.as_bytes(), &taken), cut.as_bytes());
    }

    #[test]
    fn damage_reaches_all_folders_above_it() {
        let id = |name: &str| ObjectId::of(name.as_bytes());
        let folder = |below: &[&str]| Folder {
            folders: below.iter().map(|name| (name.as_bytes().into(), id(name))).collect(),
            ..Folder::default()
        };
        let mut folders = Folders::from([
            (id("root"), folder(&["a", "b"])),
            (id("a"), folder(&["c"])),
            (id("b"), folder(&[])),
            (id("c"), folder(&["lost"])),
        ]);
        folders.insert(
            id("lost"),
            Folder {
                is_lost: true,
                ..Folder::default()
            },
        );
        let dirty = dirty(&folders);
        assert_eq!(dirty, HashSet::from(["root", "a", "c", "lost"].map(id)));
        assert_eq!(losses(id("root"), &folders, &dirty), (vec!["a/c/lost".to_owned()], 1));
    }
}
