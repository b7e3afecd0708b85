//! The entries of a run, and the trees made of them at commit.
//!
//! Entries come in any order, millions of them, and stay in memory until the commit: so each takes as little as it can. A fixed part stands in segments
//! that never move, the rest is a compact record (`records.rs`), and a folder's children are a chain, sorted when its tree is made. They are found
//! by an open-addressed table of 4-byte numbers. Together 100 to 120 bytes for a file with a name of 20, besides 32 for each of its chunks.

use std::{
    collections::{HashSet, hash_map::RandomState},
    hash::BuildHasher,
    sync::Arc,
};

use bulkhead_model::{EntryMetadata, EntryPath, NodeType, Timestamp};

use crate::{
    error::WriteError,
    format::node::{self, Node, NodeParts},
    id::ObjectId,
    index::BlobKind,
    record::RESERVED_FOLDER,
    writer::{
        records::{Position, Records},
        run::Run,
        workshop::Workshop,
    },
};

/// The root among the entries.
const ROOT: u32 = 0;
/// No entry: the end of a chain, a slot that is free.
const NONE: u32 = u32::MAX;
/// Entries in a segment.
const SEGMENT: usize = 4096;
/// Slots of the smallest table; a power of two.
const FIRST_SLOTS: usize = 64;

/// All entries of a run.
pub(crate) struct Entries {
    segments: Vec<Vec<Entry>>,
    records: Records,
    /// Numbers of entries, by the hash of their folder and name.
    slots: Vec<u32>,
    hasher: RandomState,
    /// Entries that came with a kept folder, and may be replaced, once.
    inherited: HashSet<u32>,
    /// Stands in for times that are not known.
    time: Timestamp,
    /// Whether the commit has begun: the snapshot is what is here now, and Bulkhead's own entries.
    sealed: bool,
}

/// One entry.
struct Entry {
    record: Position,
    /// The folder that it is in, and the entry that was added to that one before.
    parent: u32,
    next: u32,
    size: u64,
    body: Body,
}

/// What an entry contains.
enum Body {
    /// The entry that was added last.
    Folder(u32),
    /// A folder of the parent snapshot.
    Kept(Box<ObjectId>),
    File(Box<[ObjectId]>),
    Nothing,
}

/// An entry that was added.
pub(crate) struct Inserted {
    /// Its number.
    pub(crate) number: u32,
    /// Bytes of the file of the parent snapshot whose place it takes.
    pub(crate) replaced: Option<u64>,
}

/// Why an entry cannot be added.
pub(crate) enum Refused {
    /// It is the caller's mistake.
    Mistake(WriteError),
    /// The entries of this folder must be added first ([`Entries::unfold`]): it was kept whole.
    Kept(KeptFolder),
}

/// A folder that was kept whole.
pub(crate) struct KeptFolder {
    number: u32,
    /// Its tree.
    pub(crate) tree: ObjectId,
}

impl From<WriteError> for Refused {
    fn from(error: WriteError) -> Self {
        Self::Mistake(error)
    }
}

impl Entries {
    /// Just the root.
    pub(crate) fn new(time: Timestamp) -> Self {
        let mut records = Records::default();
        // The first record: there is room for it.
        let root = records.add(b"", None).map(|record| Entry {
            record,
            parent: NONE,
            next: NONE,
            size: 0,
            body: Body::Folder(NONE),
        });
        Self {
            segments: vec![root.into_iter().collect()],
            records,
            slots: vec![NONE; FIRST_SLOTS],
            hasher: RandomState::new(),
            inherited: HashSet::new(),
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

    /// Adds an entry; missing parents appear. It takes the place of one that came with a kept folder.
    pub(crate) fn insert(&mut self, path: &EntryPath, metadata: &EntryMetadata) -> Result<Inserted, Refused> {
        self.refuse_late(path)?;
        let body = match metadata.node_type {
            NodeType::Directory => Body::Folder(NONE),
            NodeType::File => Body::File(Box::default()),
            _ => Body::Nothing,
        };
        self.insert_entry(path, metadata, 0, body)
    }

    fn refuse_late(&self, path: &EntryPath) -> Result<(), WriteError> {
        if self.sealed {
            Err(WriteError::TooLate(path.clone()))
        } else {
            Ok(())
        }
    }

    /// Adds a file of Bulkhead's own, which it may at any time.
    pub(crate) fn insert_own(&mut self, path: &EntryPath) -> Result<u32, WriteError> {
        let metadata = EntryMetadata::private(NodeType::File);
        match self.insert_entry(path, &metadata, 0, Body::File(Box::default())) {
            Ok(inserted) => Ok(inserted.number),
            Err(Refused::Mistake(error)) => Err(error),
            Err(Refused::Kept(_)) => Err(WriteError::ReservedPath(path.clone())),
        }
    }

    /// Adds what the parent snapshot has at `path`.
    pub(crate) fn insert_kept(&mut self, path: &EntryPath, node: &Node) -> Result<Inserted, Refused> {
        self.refuse_late(path)?;
        self.insert_entry(path, &node.metadata, node.size, inherit(node))
    }

    /// Adds the entries of a folder that was kept whole; `nodes` is its tree.
    pub(crate) fn unfold(&mut self, folder: &KeptFolder, nodes: &[Node]) -> Result<(), WriteError> {
        match self.entry_mut(folder.number) {
            Some(entry) if matches!(&entry.body, Body::Kept(tree) if **tree == folder.tree) => entry.body = Body::Folder(NONE),
            // Somebody else has done it meanwhile.
            _ => return Ok(()),
        }
        for node in nodes {
            let number = self.push(folder.number, &node.name, Some(&node.metadata), node.size, inherit(node))?;
            self.inherited.insert(number);
        }
        Ok(())
    }

    fn insert_entry(&mut self, path: &EntryPath, metadata: &EntryMetadata, size: u64, body: Body) -> Result<Inserted, Refused> {
        let mut components = path.components();
        let name = components.next_back().ok_or_else(|| WriteError::ReservedPath(path.clone()))?;
        let mut folder = ROOT;
        let mut depth = 0;
        for component in components {
            self.refuse_unless_folder(folder, path, depth)?;
            folder = match self.find(folder, component) {
                Some(existing) => existing,
                None => self.push(folder, component, None, 0, Body::Folder(NONE))?,
            };
            depth += 1;
        }
        self.refuse_unless_folder(folder, path, depth)?;
        let Some(existing) = self.find(folder, name) else {
            let number = self.push(folder, name, Some(metadata), size, body)?;
            return Ok(Inserted { number, replaced: None });
        };
        let replaced = self.replace(existing, metadata, size, body)?;
        Ok(replaced.ok_or_else(|| WriteError::DuplicateEntry(path.clone()))?)
    }

    /// `Ok` where something can be added to the entry that is the first `depth` components of `path`.
    fn refuse_unless_folder(&self, number: u32, path: &EntryPath, depth: usize) -> Result<(), Refused> {
        match self.entry(number).map(|entry| &entry.body) {
            Some(Body::Folder(_)) => Ok(()),
            Some(Body::Kept(tree)) => Err(Refused::Kept(KeptFolder { number, tree: **tree })),
            _ => {
                let parent = path.components().take(depth).collect::<Vec<_>>().join(&b'/');
                Err(Refused::Mistake(WriteError::NotAFolder {
                    path: path.clone(),
                    parent: EntryPath::new(parent).unwrap_or_default(),
                    reason: "is not a folder",
                }))
            }
        }
    }

    /// Replaces what may be replaced: a folder that was only named as a parent, and what came with a kept folder, as long as a folder stays one and
    /// anything else does not become one. `None` where it may not; otherwise its number, and the size of a file whose place was taken.
    fn replace(&mut self, number: u32, metadata: &EntryMetadata, size: u64, body: Body) -> Result<Option<Inserted>, WriteError> {
        let Some(existing) = self.entry(number) else { return Ok(None) };
        let is_folder = matches!(existing.body, Body::Folder(_) | Body::Kept(_));
        let may = match (&body, is_folder) {
            (Body::Folder(_), true) => self.records.is_implied(existing.record) || self.inherited.contains(&number),
            (Body::File(_) | Body::Nothing, false) => self.inherited.contains(&number),
            _ => false,
        };
        if !may {
            return Ok(None);
        }
        let name = self.records.name(existing.record).to_vec();
        let record = self.records.add(&name, Some(metadata)).ok_or_else(too_many)?;
        self.inherited.remove(&number);
        let Some(existing) = self.entry_mut(number) else { return Ok(None) };
        existing.record = record;
        if is_folder {
            return Ok(Some(Inserted { number, replaced: None }));
        }
        let replaced = matches!(existing.body, Body::File(_)).then_some(existing.size);
        existing.size = size;
        existing.body = body;
        Ok(Some(Inserted { number, replaced }))
    }

    fn len(&self) -> usize {
        let last = self.segments.last().map_or(0, Vec::len);
        self.segments.len().saturating_sub(1) * SEGMENT + last
    }

    fn entry(&self, number: u32) -> Option<&Entry> {
        self.segments.get(number as usize / SEGMENT)?.get(number as usize % SEGMENT)
    }

    fn entry_mut(&mut self, number: u32) -> Option<&mut Entry> {
        self.segments.get_mut(number as usize / SEGMENT)?.get_mut(number as usize % SEGMENT)
    }

    /// Adds an entry to a folder that has none of this name.
    fn push(&mut self, folder: u32, name: &[u8], metadata: Option<&EntryMetadata>, size: u64, body: Body) -> Result<u32, WriteError> {
        let number = u32::try_from(self.len())
            .ok()
            .filter(|number| *number != NONE)
            .ok_or_else(too_many)?;
        if (self.len() + 1) * 8 > self.slots.len() * 7 {
            self.grow();
        }
        let record = self.records.add(name, metadata).ok_or_else(too_many)?;
        let next = match self.entry_mut(folder).map(|entry| &mut entry.body) {
            Some(Body::Folder(last)) => std::mem::replace(last, number),
            _ => NONE,
        };
        if self.segments.last().is_none_or(|segment| segment.len() == SEGMENT) {
            self.segments.push(Vec::with_capacity(SEGMENT));
        }
        if let Some(segment) = self.segments.last_mut() {
            segment.push(Entry {
                record,
                parent: folder,
                next,
                size,
                body,
            });
        }
        let slot = self.slot(folder, name);
        self.slots[slot] = number;
        Ok(number)
    }

    fn find(&self, folder: u32, name: &[u8]) -> Option<u32> {
        Some(self.slots[self.slot(folder, name)]).filter(|number| *number != NONE)
    }

    /// The slot that holds the entry `name` of `folder`, or the free one where it would go.
    fn slot(&self, folder: u32, name: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one((folder, name)) as usize & mask;
        while let Some(entry) = self.entry(self.slots[slot]) {
            if entry.parent == folder && self.records.name(entry.record) == name {
                break;
            }
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        self.slots = vec![NONE; self.slots.len() * 2];
        for (number, entry) in (0..).zip(self.segments.iter().flatten()).skip(1) {
            let slot = self.slot(entry.parent, self.records.name(entry.record));
            self.slots[slot] = number;
        }
    }

    /// Sets a file's content.
    pub(crate) fn set_content(&mut self, number: u32, ids: Box<[ObjectId]>) {
        if let Some(entry) = self.entry_mut(number) {
            entry.body = Body::File(ids);
        }
    }

    /// Sets a file's size.
    pub(crate) fn set_size(&mut self, number: u32, size: u64) {
        if let Some(entry) = self.entry_mut(number) {
            entry.size = size;
        }
    }

    /// Makes and stores the trees of all folders; returns the root's. Blocks.
    pub(crate) fn store(mut self, run: &Arc<Run>, workshop: &mut Workshop) -> Result<ObjectId, WriteError> {
        self.slots = Vec::new();
        self.store_folder(ROOT, run, workshop).map(|(tree, _)| tree)
    }

    /// A folder's entries in the order of their names.
    fn children(&self, folder: u32) -> Vec<u32> {
        let mut children = Vec::new();
        let mut next = match self.entry(folder).map(|entry| &entry.body) {
            Some(Body::Folder(last)) => *last,
            _ => NONE,
        };
        while let Some(entry) = self.entry(next) {
            children.push(next);
            next = entry.next;
        }
        let name = |number: &u32| self.entry(*number).map(|entry| self.records.name(entry.record));
        children.sort_unstable_by(|left, right| name(left).cmp(&name(right)));
        children
    }

    /// Stores a folder's tree after those of the folders in it; returns it with the newest time in it. Recursion is bounded: a path has at most
    /// 2,048 components.
    fn store_folder(&mut self, folder: u32, run: &Arc<Run>, workshop: &mut Workshop) -> Result<(ObjectId, Option<Timestamp>), WriteError> {
        let mut json = Vec::new();
        let mut newest = None;
        node::begin_tree(&mut json);
        for number in self.children(folder) {
            run.poison.check()?;
            let subtree = match self.entry(number).map(|entry| &entry.body) {
                Some(Body::Folder(_)) => Some(self.store_folder(number, run, workshop)?),
                Some(Body::Kept(tree)) => Some((**tree, None)),
                _ => None,
            };
            let Some(entry) = self.entry_mut(number) else { continue };
            let (record, size) = (entry.record, entry.size);
            let content = match std::mem::replace(&mut entry.body, Body::Nothing) {
                Body::File(content) => content,
                _ => Box::default(),
            };
            if size > 0 && content.is_empty() {
                let name = String::from_utf8_lossy(self.records.name(record)).into_owned();
                return Err(WriteError::Internal(format!("the content of {name:?} is missing")));
            }
            let implied = || EntryMetadata {
                modified: subtree.and_then(|(_, newest)| newest),
                ..EntryMetadata::private(NodeType::Directory)
            };
            let name = self.records.name(record);
            let metadata = self.records.metadata(record).unwrap_or_else(implied);
            // Bulkhead's own folder is of this run's time: an unchanged parent must not change because of it.
            if name != RESERVED_FOLDER.as_bytes() {
                newest = newest.max(metadata.modified);
            }
            let parts = NodeParts {
                name,
                metadata: &metadata,
                default_time: self.time,
                size,
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

/// What an entry of the parent snapshot contains.
fn inherit(node: &Node) -> Body {
    match (&node.metadata.node_type, node.subtree) {
        (NodeType::Directory, Some(tree)) => Body::Kept(Box::new(tree)),
        (NodeType::File, _) => Body::File(node.content.clone()),
        _ => Body::Nothing,
    }
}

fn too_many() -> WriteError {
    WriteError::Internal("a snapshot can have 4,294,967,294 entries at most".to_owned())
}
