//! Snapshots and their folders: everything that they refer to must be there.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bulkhead_model::NodeType;
use futures_util::{StreamExt, stream, stream::FuturesUnordered};

use crate::{
    access, blob,
    crew::Tools,
    error::{ReadError, VerifyError},
    format::{
        document,
        node::{self, Node},
        snapshot_file::SnapshotFile,
    },
    id::ObjectId,
    index::BlobKind,
    vault::Core,
    verification,
    verify::{
        VerifyPhase, VerifyProgress, damage,
        report::{Findings, ProblemNumber, WholeIndex},
    },
};

/// A snapshot, as far as it is verified.
#[derive(Debug, Clone, Copy)]
pub(super) struct Root {
    pub(super) id: ObjectId,
    pub(super) tree: ObjectId,
    /// Whether it is the record of a verification.
    pub(super) is_record: bool,
}

/// Reads all snapshot files.
pub(super) async fn read_snapshots(core: &Arc<Core>, findings: &mut Findings) -> Result<Vec<Root>, VerifyError> {
    let ids = access::list_ids(&*core.store, "snapshots/").await?;
    let mut files = stream::iter(ids).map(|id| read_snapshot(core, id)).buffered(core.concurrency());
    let mut roots = Vec::new();
    while let Some(read) = files.next().await {
        match read? {
            (_, Ok(root)) => roots.push(root),
            (id, Err(reason)) => {
                let number = findings.add(format!("snapshots/{id}"), reason, "this snapshot cannot be restored");
                number.into_iter().for_each(|number| findings.reaches(number, id));
            }
        }
    }
    Ok(roots)
}

async fn read_snapshot(core: &Core, id: ObjectId) -> Result<(ObjectId, Result<Root, String>), VerifyError> {
    let content = match access::get(&*core.store, &format!("snapshots/{id}"), None).await {
        Ok(content) => content,
        Err(error) => return Ok((id, Err(damage(error)?))),
    };
    if ObjectId::of(&content) != id {
        return Ok((id, Err("its content does not match its name".to_owned())));
    }
    let root = document::decode::<SnapshotFile>(&core.key, content.to_vec()).map(|file| Root {
        id,
        tree: file.tree,
        is_record: verification::recorded(&file).is_some(),
    });
    Ok((id, root))
}

/// A folder: what is wrong in it, and the folders in it.
#[derive(Default)]
struct Folder {
    problems: Vec<ProblemNumber>,
    folders: Vec<ObjectId>,
}

/// Walks all folders of all snapshots, each once, several at a time.
pub(super) async fn check(
    core: &Arc<Core>,
    index: &WholeIndex,
    snapshots: &[Root],
    progress: &dyn VerifyProgress,
    findings: &mut Findings,
) -> Result<(), VerifyError> {
    let mut known: HashSet<ObjectId> = HashSet::new();
    let mut waiting: Vec<ObjectId> = snapshots.iter().map(|root| root.tree).filter(|tree| known.insert(*tree)).collect();
    let mut checked: HashMap<ObjectId, Folder> = HashMap::new();
    let mut reading = FuturesUnordered::new();
    loop {
        while reading.len() < core.concurrency() {
            let Some(tree) = waiting.pop() else { break };
            reading.push(async move { (tree, load(core, index, tree).await) });
        }
        let Some((tree, loaded)) = reading.next().await else { break };
        let mut folder = Folder::default();
        match loaded? {
            Ok(nodes) => nodes.iter().for_each(|node| check_node(index, node, &mut folder, findings)),
            Err(lost) => folder.problems.extend(lost.report(tree, findings)),
        }
        waiting.extend(folder.folders.iter().filter(|tree| known.insert(**tree)));
        checked.insert(tree, folder);
        progress.report(VerifyPhase::Trees, checked.len() as u64, known.len() as u64);
    }
    attribute(snapshots, &checked, findings);
    Ok(())
}

/// Why a folder cannot be read.
struct Lost {
    pack: Option<ObjectId>,
    reason: String,
}

impl Lost {
    fn report(self, tree: ObjectId, findings: &mut Findings) -> Option<ProblemNumber> {
        let consequence = "folders in it, and all below them, cannot be restored";
        match self.pack {
            Some(pack) => findings
                .of_blob(BlobKind::Tree, &tree, &pack)
                .or_else(|| findings.add(access::pack_key(&pack), format!("blob {tree}: {}", self.reason), consequence)),
            None => findings.add(
                format!("tree {tree}"),
                self.reason,
                "this folder, and all below it, cannot be restored",
            ),
        }
    }
}

async fn load(core: &Arc<Core>, index: &WholeIndex, tree: ObjectId) -> Result<Result<Vec<Node>, Lost>, VerifyError> {
    let Some(location) = index.index.locate(BlobKind::Tree, &tree) else {
        return Ok(Err(Lost {
            pack: None,
            reason: "it is in no index".to_owned(),
        }));
    };
    let range = u64::from(location.offset)..u64::from(location.offset) + u64::from(location.length);
    let lost = |reason| Lost {
        pack: Some(location.pack),
        reason,
    };
    let stored = match access::get(&*core.store, &access::pack_key(&location.pack), Some(range)).await {
        Ok(stored) => stored,
        Err(error) => {
            return match blob::damaged_pack(error, Some(tree)) {
                ReadError::Corrupt(corruption) => Ok(Err(lost(corruption.reason))),
                ReadError::Store(error) => Err(error.into()),
                other => Err(VerifyError::Internal(other.to_string())),
            };
        }
    };
    let owned = Arc::clone(core);
    let decode = move |tools: &mut Tools| {
        let content = blob::open(&owned.key, &tree, &location, &mut blob::own(stored), tools)?;
        node::decode_tree(&content)
    };
    let decoded = core.crew.run(decode).await.map_err(VerifyError::Internal)?;
    Ok(decoded.map_err(lost))
}

/// Checks that what a node refers to is there.
fn check_node(index: &WholeIndex, node: &Node, folder: &mut Folder, findings: &mut Findings) {
    let name = String::from_utf8_lossy(&node.name);
    match (&node.metadata.node_type, node.subtree) {
        (NodeType::Directory, Some(tree)) => folder.folders.push(tree),
        (NodeType::Directory, None) => {
            let consequence = "what was in this folder cannot be restored";
            folder
                .problems
                .extend(findings.add(format!("the folder {name:?}"), "it names no tree", consequence));
        }
        _ => {}
    }
    let mut size = 0;
    for id in &node.content {
        let Some(location) = index.index.locate(BlobKind::Data, id) else {
            let consequence = "files that contain it cannot be restored whole";
            folder.problems.extend(findings.add(
                format!("blob {id}"),
                format!("it is in no index (first seen in {name:?})"),
                consequence,
            ));
            return;
        };
        size += location.content_length();
        folder.problems.extend(findings.of_blob(BlobKind::Data, id, &location.pack));
    }
    if node.metadata.node_type == NodeType::File && size != node.size {
        let damage = format!("its content has {size} bytes, but it says {}", node.size);
        folder
            .problems
            .extend(findings.add(format!("the file {name:?}"), damage, "what is restored is not what was backed up"));
    }
}

/// Notes for every problem which snapshots it reaches.
fn attribute(snapshots: &[Root], checked: &HashMap<ObjectId, Folder>, findings: &mut Findings) {
    if checked.values().all(|folder| folder.problems.is_empty()) {
        return;
    }
    for snapshot in snapshots {
        let mut problems: HashSet<ProblemNumber> = HashSet::new();
        let mut seen: HashSet<ObjectId> = HashSet::from([snapshot.tree]);
        let mut waiting = vec![snapshot.tree];
        while let Some(folder) = waiting.pop().and_then(|tree| checked.get(&tree)) {
            problems.extend(&folder.problems);
            waiting.extend(folder.folders.iter().filter(|tree| seen.insert(**tree)));
        }
        problems.into_iter().for_each(|number| findings.reaches(number, snapshot.id));
    }
}
