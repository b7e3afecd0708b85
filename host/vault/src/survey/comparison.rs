//! [`Comparison`]: what differs between two snapshots.
//!
//! Both are walked side by side, and a folder that is the same tree in both is not looked into. What is held is one folder of each and the names of the
//! folders still to come.

use bulkhead_model::{EntryPath, NodeType};

use crate::{
    error::ReadError,
    format::node::Node,
    id::ObjectId,
    reader::{SnapshotEntry, describe, join, subtree},
    record::RESERVED_FOLDER,
    snapshots::SnapshotInfo,
    survey::{
        is_damage,
        lookahead::{Load, Lookahead},
    },
    vault::Vault,
};

/// Steps that are looked through for folders to read ahead.
const AHEAD: usize = 1024;

/// What a comparison comes upon.
#[derive(Debug, Clone)]
pub enum Difference {
    /// Only the second snapshot has it.
    Added(Box<SnapshotEntry>),
    /// Only the first one has it.
    Removed(Box<SnapshotEntry>),
    /// Both have it, but not the same; as it was and as it is.
    Changed(Change, Box<(SnapshotEntry, SnapshotEntry)>),
    /// A folder that is damaged: what is in it was not compared.
    Unreadable {
        /// Its path.
        path: EntryPath,
        /// What is wrong.
        error: ReadError,
        /// The snapshot that has this folder.
        snapshot: ObjectId,
    },
}

/// In what an entry differs: the first of these that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is of another type. What is below a folder that is none any more is told as removed.
    Type,
    /// In content: a file's bytes, a link's target, a device's number.
    Content,
    /// In nothing but mode, owner, times, links or extended attributes.
    Metadata,
}

/// A comparison in progress.
pub struct Comparison {
    lookahead: Lookahead,
    snapshots: (ObjectId, ObjectId),
    /// What comes next last.
    steps: Vec<Step>,
}

enum Step {
    Tell(Difference),
    Compare(Folders),
}

/// A folder as each of the two has it.
struct Folders {
    path: EntryPath,
    before: Option<Load>,
    after: Option<Load>,
}

impl Vault {
    /// Compares two snapshots. Bulkhead's own folder is left out.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn compare(&self, before: &SnapshotInfo, after: &SnapshotInfo) -> Result<Comparison, ReadError> {
        self.core.refresh_index().await?;
        let mut comparison = Comparison {
            lookahead: Lookahead::new(self.core.clone()),
            snapshots: (before.id, after.id),
            steps: Vec::new(),
        };
        let root = Folders::new(EntryPath::default(), Some(before.tree), Some(after.tree));
        comparison.steps.extend(root.map(Step::Compare));
        Ok(comparison)
    }
}

impl Comparison {
    /// The next difference, in the order of paths, a folder before what is in it; `None` at the end.
    ///
    /// # Errors
    /// When the store fails; damage is among the differences.
    pub async fn next(&mut self) -> Result<Option<Difference>, ReadError> {
        loop {
            match self.steps.pop() {
                None => return Ok(None),
                Some(Step::Tell(difference)) => return Ok(Some(difference)),
                Some(Step::Compare(folders)) => self.compare(folders).await?,
            }
        }
    }

    async fn compare(&mut self, mut folders: Folders) -> Result<(), ReadError> {
        let later = self.steps.iter_mut().rev().take(AHEAD).filter_map(Step::folders);
        let loads = std::iter::once(&mut folders).chain(later).flat_map(Folders::loads);
        self.lookahead.fill(loads);
        let Folders { path, before, after } = folders;
        let before = self.nodes(before).await?;
        let after = self.nodes(after).await?;
        let mut steps = match (before, after) {
            (Ok(before), Ok(after)) => differences(&path, before, after)?,
            (before, after) => {
                let lost = [(before, self.snapshots.0), (after, self.snapshots.1)];
                let lost = lost.into_iter().filter_map(|(nodes, snapshot)| Some((nodes.err()?, snapshot)));
                let told = lost.map(|(error, snapshot)| {
                    Step::Tell(Difference::Unreadable {
                        path: path.clone(),
                        error,
                        snapshot,
                    })
                });
                told.collect()
            }
        };
        steps.reverse();
        self.steps.append(&mut steps);
        Ok(())
    }

    /// The nodes of a folder, none where there is no folder; the inner error is damage.
    async fn nodes(&mut self, load: Option<Load>) -> Result<Result<Vec<Node>, ReadError>, ReadError> {
        let Some(load) = load else { return Ok(Ok(Vec::new())) };
        match self.lookahead.take(load).await {
            Err(error) if !is_damage(&error) => Err(error),
            nodes => Ok(nodes),
        }
    }
}

impl Step {
    fn folders(&mut self) -> Option<&mut Folders> {
        match self {
            Self::Compare(folders) => Some(folders),
            Self::Tell(_) => None,
        }
    }
}

impl Folders {
    /// `None` where both are the same.
    fn new(path: EntryPath, before: Option<ObjectId>, after: Option<ObjectId>) -> Option<Self> {
        (before != after).then(|| Self {
            path,
            before: before.map(Load::new),
            after: after.map(Load::new),
        })
    }

    fn loads(&mut self) -> impl Iterator<Item = &mut Load> {
        self.before.iter_mut().chain(&mut self.after)
    }
}

/// What differs in a folder, in order, and the folders in it that have to be compared.
fn differences(folder: &EntryPath, before: Vec<Node>, after: Vec<Node>) -> Result<Vec<Step>, ReadError> {
    let mut steps = Vec::new();
    let (mut before, mut after) = (before.into_iter().peekable(), after.into_iter().peekable());
    loop {
        let (old, new) = match (before.peek(), after.peek()) {
            (None, None) => return Ok(steps),
            (Some(old), Some(new)) => (old.name <= new.name, new.name <= old.name),
            (old, new) => (old.is_some(), new.is_some()),
        };
        let pair = (before.next_if(|_| old), after.next_if(|_| new));
        let Some(name) = pair.0.as_ref().or(pair.1.as_ref()).map(|node| &node.name) else {
            continue;
        };
        if !(folder.is_root() && **name == *RESERVED_FOLDER.as_bytes()) {
            let path = join(folder, name)?;
            compare_nodes(path, pair, &mut steps)?;
        }
    }
}

fn compare_nodes(path: EntryPath, (old, new): (Option<Node>, Option<Node>), steps: &mut Vec<Step>) -> Result<(), ReadError> {
    let tree = |node: &Option<Node>| node.as_ref().map_or(Ok(None), |node| subtree(node, &path));
    let folders = Folders::new(path.clone(), tree(&old)?, tree(&new)?);
    let entry = |node: Node| Box::new(describe(path.clone(), node).0);
    let difference = match (old, new) {
        (Some(old), None) => Some(Difference::Removed(entry(old))),
        (None, Some(new)) => Some(Difference::Added(entry(new))),
        (Some(old), Some(new)) => change(&old, &new).map(|change| Difference::Changed(change, Box::new((*entry(old), *entry(new))))),
        (None, None) => None,
    };
    steps.extend(difference.map(Step::Tell));
    steps.extend(folders.map(Step::Compare));
    Ok(())
}

fn change(old: &Node, new: &Node) -> Option<Change> {
    use NodeType::{BlockDevice, CharacterDevice, Symlink};
    let (old_type, new_type) = (&old.metadata.node_type, &new.metadata.node_type);
    let is_same_type = std::mem::discriminant(old_type) == std::mem::discriminant(new_type);
    let has_same_content = match (old_type, new_type) {
        (Symlink(old), Symlink(new)) => old == new,
        (CharacterDevice(old), CharacterDevice(new)) | (BlockDevice(old), BlockDevice(new)) => old == new,
        _ => old.content == new.content,
    };
    match (is_same_type, has_same_content) {
        (false, _) => Some(Change::Type),
        (true, false) => Some(Change::Content),
        (true, true) => (old.metadata != new.metadata).then_some(Change::Metadata),
    }
}
