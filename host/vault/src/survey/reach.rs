//! [`Reach`]: which blobs are reached from which snapshots, in four bytes for each blob of the index.
//!
//! A blob is reached by nobody, by one group of snapshots, or by several. So a folder is looked into at most twice: when the first group comes to it, and
//! when a second one does; everything else is known by then.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream::FuturesUnordered};

use crate::{
    error::ReadError,
    format::node::Node,
    id::ObjectId,
    index::{BlobKind, Location},
    survey::is_damage,
    sync::read,
    vault::Core,
};

/// Reached by nobody.
const NOBODY: u32 = 0;
/// Reached by several groups. Any other number is that of a group, counted from 1.
const SEVERAL: u32 = u32::MAX;

/// Who reaches which blob.
pub(super) struct Reach {
    core: Arc<Core>,
    states: Vec<u32>,
    /// Blobs that a snapshot refers to and no index names, each time they are come upon.
    pub(super) missing: u64,
    /// Folders that can't be read.
    pub(super) unreadable: Vec<ReadError>,
}

/// Who reaches a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    Nobody,
    /// The group of this number.
    One(u32),
    Several,
}

/// What is told of what is reached for the first time.
pub(super) trait Visitor {
    /// A blob that nobody reached before.
    fn blob(&mut self, kind: BlobKind, location: &Location);
    /// What is in the folder that has this number in the index.
    fn folder(&mut self, number: usize, nodes: &[Node], subtrees: Vec<u32>);
}

/// A folder to look into.
struct Waiting {
    tree: ObjectId,
    number: usize,
    is_new: bool,
}

impl Reach {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            states: Vec::new(),
            missing: 0,
            unreadable: Vec::new(),
        }
    }

    /// Who reaches the blob of this number.
    pub(super) fn of(&self, number: usize) -> Reached {
        match self.states.get(number).copied().unwrap_or(NOBODY) {
            NOBODY => Reached::Nobody,
            SEVERAL => Reached::Several,
            group => Reached::One(group - 1),
        }
    }

    /// Follows everything from a root, for `group`, several folders at a time; in any order.
    pub(super) async fn follow(&mut self, root: ObjectId, group: u32, visitor: &mut impl Visitor) -> Result<(), ReadError> {
        let mut waiting = Vec::new();
        self.tree(root, group, visitor, &mut waiting);
        let core = Arc::clone(&self.core);
        let mut reading = FuturesUnordered::new();
        loop {
            while reading.len() < core.concurrency() {
                let Some(next) = waiting.pop() else { break };
                let core = &core;
                reading.push(async move { (core.load_tree(&next.tree).await, next) });
            }
            let Some((loaded, folder)) = reading.next().await else {
                return Ok(());
            };
            match loaded {
                Ok(nodes) => self.look_into(&nodes, &folder, group, visitor, &mut waiting),
                Err(error) if !is_damage(&error) => return Err(error),
                Err(error) if folder.is_new => self.unreadable.push(error),
                Err(_) => {}
            }
        }
    }

    fn look_into(&mut self, nodes: &[Node], folder: &Waiting, group: u32, visitor: &mut impl Visitor, waiting: &mut Vec<Waiting>) {
        let mut subtrees = Vec::new();
        for node in nodes {
            for id in &node.content {
                self.mark(BlobKind::Data, id, group, visitor);
            }
            if let Some(tree) = node.subtree {
                let number = self.tree(tree, group, visitor, waiting);
                subtrees.extend(number.and_then(|number| u32::try_from(number).ok()));
            }
        }
        if folder.is_new {
            visitor.folder(folder.number, nodes, subtrees);
        }
    }

    /// Marks a tree, and has it looked into where that is news.
    fn tree(&mut self, tree: ObjectId, group: u32, visitor: &mut impl Visitor, waiting: &mut Vec<Waiting>) -> Option<usize> {
        let (number, before, after) = self.mark(BlobKind::Tree, &tree, group, visitor)?;
        if before != after {
            let is_new = before == NOBODY;
            waiting.push(Waiting { tree, number, is_new });
        }
        Some(number)
    }

    /// Notes that `group` reaches a blob; its number, and its state before and after. `None` where no index names it.
    fn mark(&mut self, kind: BlobKind, id: &ObjectId, group: u32, visitor: &mut impl Visitor) -> Option<(usize, u32, u32)> {
        let index = read(&self.core.index);
        let Some(number) = index.number(kind, id) else {
            self.missing += 1;
            return None;
        };
        if self.states.len() < index.len() {
            self.states.resize(index.len(), NOBODY);
        }
        let state = self.states.get_mut(number)?;
        let before = *state;
        *state = match before {
            NOBODY => group + 1,
            same if same == group + 1 => same,
            _ => SEVERAL,
        };
        if before == NOBODY {
            visitor.blob(kind, &index.locate(kind, id)?);
        }
        Some((number, before, *state))
    }
}
