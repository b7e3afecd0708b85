//! The entries of a run, and the trees made of them at commit.
//!
//! Entries come in any order; trees need theirs sorted by the bytes of their names. Each folder keeps its children in a `BTreeMap`, and all else about an
//! entry stands in one list. Owners' names are shared.

use std::{collections::BTreeMap, sync::Arc};

use bulkhead_model::{EntryMetadata, EntryPath, NodeType, Timestamp};

use crate::{
    error::WriteError,
    format::node::{self, Node, NodeParts},
    id::ObjectId,
    index::BlobKind,
    record::RESERVED_FOLDER,
    writer::{run::Run, workshop::Workshop},
};

/// The root in the list of entries.
const ROOT: u32 = 0;

/// All entries of a run.
pub(crate) struct Entries {
    list: Vec<Entry>,
    /// Stands in for times that are not known.
    time: Timestamp,
    /// Whether the commit has begun: the snapshot is what is here now, and Bulkhead's own entries.
    sealed: bool,
}

/// One entry.
struct Entry {
    /// `None`: a folder that was only named as a parent so far.
    metadata: Option<Box<EntryMetadata>>,
    size: u64,
    body: Body,
}

/// What an entry contains.
enum Body {
    Folder(BTreeMap<Box<[u8]>, u32>),
    /// A folder of the parent snapshot.
    Kept(Box<ObjectId>),
    File(Box<[ObjectId]>),
    Nothing,
}

impl Entries {
    /// Just the root.
    pub(crate) fn new(time: Timestamp) -> Self {
        Self {
            list: vec![Entry {
                metadata: None,
                size: 0,
                body: Body::Folder(BTreeMap::new()),
            }],
            time,
            sealed: false,
        }
    }

    /// Refuses all further entries but Bulkhead's own.
    pub(crate) fn seal(&mut self) {
        self.sealed = true;
    }

    /// Takes the entries out of a sealed list, which stays sealed.
    pub(crate) fn take(&mut self) -> Self {
        let empty = Self {
            sealed: true,
            ..Self::new(self.time)
        };
        std::mem::replace(self, empty)
    }

    /// Adds an entry; missing parents appear. Returns its number.
    pub(crate) fn insert(&mut self, path: &EntryPath, metadata: EntryMetadata) -> Result<u32, WriteError> {
        self.refuse_late(path)?;
        self.insert_own(path, metadata)
    }

    fn refuse_late(&self, path: &EntryPath) -> Result<(), WriteError> {
        if self.sealed {
            Err(WriteError::TooLate(path.clone()))
        } else {
            Ok(())
        }
    }

    /// Adds an entry of Bulkhead's own, which it may at any time.
    pub(crate) fn insert_own(&mut self, path: &EntryPath, metadata: EntryMetadata) -> Result<u32, WriteError> {
        let body = match metadata.node_type {
            NodeType::Directory => Body::Folder(BTreeMap::new()),
            NodeType::File => Body::File(Box::default()),
            _ => Body::Nothing,
        };
        self.insert_entry(
            path,
            Entry {
                metadata: Some(Box::new(metadata)),
                size: 0,
                body,
            },
        )
    }

    /// Adds what the parent snapshot has at `path`.
    pub(crate) fn insert_kept(&mut self, path: &EntryPath, node: Node) -> Result<u32, WriteError> {
        self.refuse_late(path)?;
        let body = match (&node.metadata.node_type, node.subtree) {
            (NodeType::Directory, Some(tree)) => Body::Kept(Box::new(tree)),
            (NodeType::File, _) => Body::File(node.content),
            _ => Body::Nothing,
        };
        self.insert_entry(
            path,
            Entry {
                metadata: Some(Box::new(node.metadata)),
                size: node.size,
                body,
            },
        )
    }

    fn insert_entry(&mut self, path: &EntryPath, entry: Entry) -> Result<u32, WriteError> {
        let mut components = path.components();
        let name = components.next_back().ok_or_else(|| WriteError::ReservedPath(path.clone()))?;
        let mut folder = ROOT;
        for (depth, component) in components.enumerate() {
            folder = self.enter(folder, component).map_err(|reason| not_a_folder(path, depth, reason))?;
        }
        let next = self.next_number()?;
        let depth = path.components().count() - 1;
        let children = self
            .children(folder)
            .map_err(|reason| not_a_folder(path, depth.saturating_sub(1), reason))?;
        if let Some(existing) = children.get(name).copied() {
            return self
                .replace_implicit(existing, entry)
                .ok_or_else(|| WriteError::DuplicateEntry(path.clone()));
        }
        children.insert(name.into(), next);
        self.list.push(entry);
        Ok(next)
    }

    /// A folder that was only named as a parent may still be added in its own right.
    fn replace_implicit(&mut self, number: u32, entry: Entry) -> Option<u32> {
        let existing = self.list.get_mut(number as usize)?;
        if existing.metadata.is_some() || !matches!(entry.body, Body::Folder(_)) {
            return None;
        }
        existing.metadata = entry.metadata;
        Some(number)
    }

    fn next_number(&self) -> Result<u32, WriteError> {
        u32::try_from(self.list.len()).map_err(|_| WriteError::Internal("a snapshot can have 4,294,967,295 entries at most".to_owned()))
    }

    fn children(&mut self, folder: u32) -> Result<&mut BTreeMap<Box<[u8]>, u32>, &'static str> {
        match self.list.get_mut(folder as usize).map(|entry| &mut entry.body) {
            Some(Body::Folder(children)) => Ok(children),
            Some(Body::Kept(_)) => Err("was kept whole from the parent snapshot"),
            _ => Err("is not a folder"),
        }
    }

    /// The folder `name` in `folder`, made if it isn't there.
    fn enter(&mut self, folder: u32, name: &[u8]) -> Result<u32, &'static str> {
        let next = self.next_number().map_err(|_| "is one entry too many")?;
        let children = self.children(folder)?;
        if let Some(existing) = children.get(name) {
            return Ok(*existing);
        }
        children.insert(name.into(), next);
        self.list.push(Entry {
            metadata: None,
            size: 0,
            body: Body::Folder(BTreeMap::new()),
        });
        Ok(next)
    }

    /// Sets a file's content.
    pub(crate) fn set_content(&mut self, number: u32, ids: Box<[ObjectId]>) {
        if let Some(entry) = self.list.get_mut(number as usize) {
            entry.body = Body::File(ids);
        }
    }

    /// Sets a file's size.
    pub(crate) fn set_size(&mut self, number: u32, size: u64) {
        if let Some(entry) = self.list.get_mut(number as usize) {
            entry.size = size;
        }
    }

    /// Makes and stores the trees of all folders; returns the root's. Blocks.
    pub(crate) fn store(mut self, run: &Arc<Run>, workshop: &mut Workshop) -> Result<ObjectId, WriteError> {
        self.store_folder(ROOT, run, workshop).map(|(tree, _)| tree)
    }

    /// Stores a folder's tree after those of the folders in it; returns it with the newest time in it. Recursion is bounded: a path has at most
    /// 2,048 components.
    fn store_folder(&mut self, folder: u32, run: &Arc<Run>, workshop: &mut Workshop) -> Result<(ObjectId, Option<Timestamp>), WriteError> {
        let children = self.children(folder).map(std::mem::take).unwrap_or_default();
        let mut json = Vec::new();
        let mut newest = None;
        node::begin_tree(&mut json);
        for (name, number) in children {
            run.poison.check()?;
            let subtree = match self.list.get(number as usize).map(|entry| &entry.body) {
                Some(Body::Folder(_)) => Some(self.store_folder(number, run, workshop)?),
                Some(Body::Kept(tree)) => Some((**tree, None)),
                _ => None,
            };
            let Some(entry) = self.list.get_mut(number as usize) else {
                continue;
            };
            let implicit = || {
                Box::new(EntryMetadata {
                    modified: subtree.and_then(|(_, newest)| newest),
                    ..EntryMetadata::private(NodeType::Directory)
                })
            };
            let metadata = entry.metadata.take().unwrap_or_else(implicit);
            let content = match std::mem::replace(&mut entry.body, Body::Nothing) {
                Body::File(content) => content,
                _ => Box::default(),
            };
            // Bulkhead's own folder is of this run's time: an unchanged parent must not change because of it.
            if &*name != RESERVED_FOLDER.as_bytes() {
                newest = newest.max(metadata.modified);
            }
            let parts = NodeParts {
                name: &name,
                metadata: &metadata,
                default_time: self.time,
                size: entry.size,
                content: &content,
                subtree: subtree.map(|(tree, _)| tree),
            };
            node::push_node(&mut json, &parts);
        }
        node::end_tree(&mut json);
        let tree = run.store_blob(BlobKind::Tree, &json, workshop)?;
        Ok((tree, newest))
    }
}

fn not_a_folder(path: &EntryPath, depth: usize, reason: &'static str) -> WriteError {
    let parent = path.components().take(depth + 1).collect::<Vec<_>>().join(&b'/');
    WriteError::NotAFolder {
        path: path.clone(),
        parent: EntryPath::new(parent).unwrap_or_default(),
        reason,
    }
}
