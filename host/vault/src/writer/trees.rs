//! The entries of a run, and the trees made of them at commit.
//!
//! Entries come in any order, millions of them, and stay until the commit: so each takes as little memory as it can. A fixed part of 32 bytes stands in segments that never
//! move, and a folder's children are a chain, sorted when its tree is made. They are found by an open-addressed table of 4-byte numbers. The rest is in compact records
//! (`records.rs`), those of files beyond the first few MiB on disk (`spool.rs`); what is looked up for each path, the folders, is in memory. Together 36 to 42 bytes for a file;
//! without a disk 110 more, with a name of 40 and one chunk, and 32 for each further one. At the commit, the table makes place for the names of a folder whose tree is made, and
//! of those above it: 32 bytes each, and their letters where they come from the disk.

use std::{
    borrow::Cow,
    collections::{HashSet, hash_map::RandomState},
    hash::BuildHasher,
    iter,
    path::PathBuf,
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
        records::{Record, Records},
        run::Run,
        spool::{Position, Spool},
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
    /// Of folders, and of everything else.
    folders: Records,
    files: Records,
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
    /// Of its folder and name.
    hash: u32,
    body: Body,
}

/// What an entry contains.
#[derive(Clone, Copy)]
enum Body {
    /// The entry that was added last.
    Folder(u32),
    /// A folder of the parent snapshot: its tree is the one chunk of this content.
    Kept(Position),
    /// A file that is being written.
    Open,
    File(Position),
    Nothing,
}

impl Body {
    fn is_folder(self) -> bool {
        matches!(self, Self::Folder(_) | Self::Kept(_))
    }
}

/// What a new entry contains.
#[derive(Clone, Copy)]
enum Inside<'n> {
    Folder,
    Kept(ObjectId),
    Open,
    File(u64, &'n [ObjectId]),
    Nothing,
}

impl Inside<'_> {
    fn is_folder(self) -> bool {
        matches!(self, Self::Folder | Self::Kept(_))
    }
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
    /// Just the root. What takes much memory is set aside in the folder `scratch`.
    pub(crate) fn new(time: Timestamp, scratch: Option<PathBuf>) -> Self {
        let mut folders = Records::new(Spool::new(None));
        // The first record: there is room for it.
        let root = folders.add(b"", None).map(|record| Entry {
            record,
            parent: NONE,
            next: NONE,
            hash: 0,
            body: Body::Folder(NONE),
        });
        Self {
            segments: vec![root.into_iter().collect()],
            folders,
            files: Records::new(Spool::new(scratch)),
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
            ..Self::new(self.time, None)
        };
        std::mem::replace(self, empty)
    }

    /// Adds an entry; missing parents appear. It takes the place of one that came with a kept folder.
    pub(crate) fn insert(&mut self, path: &EntryPath, metadata: &EntryMetadata) -> Result<Inserted, Refused> {
        self.refuse_late(path)?;
        let inside = match metadata.node_type {
            NodeType::Directory => Inside::Folder,
            NodeType::File => Inside::Open,
            _ => Inside::Nothing,
        };
        self.insert_entry(path, metadata, inside)
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
        match self.insert_entry(path, &metadata, Inside::Open) {
            Ok(inserted) => Ok(inserted.number),
            Err(Refused::Mistake(error)) => Err(error),
            Err(Refused::Kept(_)) => Err(WriteError::ReservedPath(path.clone())),
        }
    }

    /// Adds what the parent snapshot has at `path`.
    pub(crate) fn insert_kept(&mut self, path: &EntryPath, node: &Node) -> Result<Inserted, Refused> {
        self.refuse_late(path)?;
        self.insert_entry(path, &node.metadata, inherit(node))
    }

    /// Adds the entries of a folder that was kept whole; `nodes` is its tree.
    pub(crate) fn unfold(&mut self, folder: &KeptFolder, nodes: &[Node]) -> Result<(), WriteError> {
        match self.entry(folder.number).map(|entry| entry.body) {
            Some(Body::Kept(tree)) if self.tree(tree)? == folder.tree => {}
            // Somebody else has done it meanwhile.
            _ => return Ok(()),
        }
        if let Some(entry) = self.entry_mut(folder.number) {
            entry.body = Body::Folder(NONE);
        }
        for node in nodes {
            let number = self.push(folder.number, &node.name, Some(&node.metadata), inherit(node))?;
            self.inherited.insert(number);
        }
        Ok(())
    }

    fn insert_entry(&mut self, path: &EntryPath, metadata: &EntryMetadata, inside: Inside<'_>) -> Result<Inserted, Refused> {
        let mut components = path.components();
        let name = components.next_back().ok_or_else(|| WriteError::ReservedPath(path.clone()))?;
        let mut folder = ROOT;
        let mut depth = 0;
        for component in components {
            self.refuse_unless_folder(folder, path, depth)?;
            folder = match self.find(folder, component)? {
                Some(existing) => existing,
                None => self.push(folder, component, None, Inside::Folder)?,
            };
            depth += 1;
        }
        self.refuse_unless_folder(folder, path, depth)?;
        let Some(existing) = self.find(folder, name)? else {
            let number = self.push(folder, name, Some(metadata), inside)?;
            return Ok(Inserted { number, replaced: None });
        };
        let replaced = self.replace(existing, name, metadata, inside)?;
        Ok(replaced.ok_or_else(|| WriteError::DuplicateEntry(path.clone()))?)
    }

    /// `Ok` where something can be added to the entry that is the first `depth` components of `path`.
    fn refuse_unless_folder(&self, number: u32, path: &EntryPath, depth: usize) -> Result<(), Refused> {
        match self.entry(number).map(|entry| entry.body) {
            Some(Body::Folder(_)) => Ok(()),
            Some(Body::Kept(tree)) => Err(Refused::Kept(KeptFolder {
                number,
                tree: self.tree(tree)?,
            })),
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
    fn replace(&mut self, number: u32, name: &[u8], metadata: &EntryMetadata, inside: Inside<'_>) -> Result<Option<Inserted>, WriteError> {
        let Some(&Entry { record, body, .. }) = self.entry(number) else {
            return Ok(None);
        };
        let may = match (inside, body.is_folder()) {
            (Inside::Folder, true) => self.inherited.contains(&number) || self.folders.read(record)?.is_implied(),
            (Inside::Open | Inside::File(..) | Inside::Nothing, false) => self.inherited.contains(&number),
            _ => false,
        };
        if !may {
            return Ok(None);
        }
        let replaced = match body {
            Body::File(content) => Some(self.files.content(content)?.0),
            _ => None,
        };
        let body = if body.is_folder() { body } else { self.body(inside)? };
        let record = self.records(body.is_folder()).add(name, Some(metadata)).ok_or_else(too_many)?;
        self.inherited.remove(&number);
        if let Some(existing) = self.entry_mut(number) {
            (existing.record, existing.body) = (record, body);
        }
        Ok(Some(Inserted { number, replaced }))
    }

    fn body(&mut self, inside: Inside<'_>) -> Result<Body, WriteError> {
        Ok(match inside {
            Inside::Folder => Body::Folder(NONE),
            Inside::Kept(tree) => Body::Kept(self.folders.add_content(0, &[tree]).ok_or_else(too_many)?),
            Inside::Open => Body::Open,
            Inside::File(size, content) => Body::File(self.files.add_content(size, content).ok_or_else(too_many)?),
            Inside::Nothing => Body::Nothing,
        })
    }

    /// The tree of a kept folder.
    fn tree(&self, content: Position) -> Result<ObjectId, WriteError> {
        let (_, trees) = self.folders.content(content)?;
        trees
            .first()
            .copied()
            .ok_or_else(|| WriteError::Internal("a kept folder has lost its tree".to_owned()))
    }

    fn records(&mut self, of_folders: bool) -> &mut Records {
        if of_folders { &mut self.folders } else { &mut self.files }
    }

    fn record(&self, entry: &Entry) -> Result<Record<'_>, WriteError> {
        let records = if entry.body.is_folder() { &self.folders } else { &self.files };
        records.read(entry.record)
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
    fn push(&mut self, folder: u32, name: &[u8], metadata: Option<&EntryMetadata>, inside: Inside<'_>) -> Result<u32, WriteError> {
        let number = u32::try_from(self.len())
            .ok()
            .filter(|number| *number != NONE)
            .ok_or_else(too_many)?;
        if (self.len() + 1) * 8 > self.slots.len() * 7 {
            self.grow();
        }
        let body = self.body(inside)?;
        let record = self.records(inside.is_folder()).add(name, metadata).ok_or_else(too_many)?;
        let next = match self.entry_mut(folder).map(|entry| &mut entry.body) {
            Some(Body::Folder(last)) => std::mem::replace(last, number),
            _ => NONE,
        };
        if self.segments.last().is_none_or(|segment| segment.len() == SEGMENT) {
            self.segments.push(Vec::with_capacity(SEGMENT));
        }
        let hash = self.hash(folder, name);
        if let Some(segment) = self.segments.last_mut() {
            segment.push(Entry {
                record,
                parent: folder,
                next,
                hash,
                body,
            });
        }
        self.occupy(hash, number);
        Ok(number)
    }

    fn hash(&self, folder: u32, name: &[u8]) -> u32 {
        self.hasher.hash_one((folder, name)) as u32
    }

    fn find(&self, folder: u32, name: &[u8]) -> Result<Option<u32>, WriteError> {
        let (hash, mask) = (self.hash(folder, name), self.slots.len() - 1);
        let mut slot = hash as usize & mask;
        while let Some(entry) = self.entry(self.slots[slot]) {
            if entry.hash == hash && entry.parent == folder && self.record(entry)?.name() == name {
                return Ok(Some(self.slots[slot]));
            }
            slot = (slot + 1) & mask;
        }
        Ok(None)
    }

    /// Puts an entry into the first slot that is free for its hash.
    fn occupy(&mut self, hash: u32, number: u32) {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots[slot] != NONE {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = number;
    }

    fn grow(&mut self) {
        let slots = self.slots.len() * 2;
        self.slots = Vec::new();
        self.slots.resize(slots, NONE);
        for number in 1..self.len() as u32 {
            if let Some(hash) = self.entry(number).map(|entry| entry.hash) {
                self.occupy(hash, number);
            }
        }
    }

    /// Sets what a file contains that was written.
    pub(crate) fn set_content(&mut self, number: u32, size: u64, ids: &[ObjectId]) -> Result<(), WriteError> {
        let body = self.body(Inside::File(size, ids))?;
        if let Some(entry) = self.entry_mut(number) {
            entry.body = body;
        }
        Ok(())
    }

    /// Makes and stores the trees of all folders; returns the root's. Blocks.
    pub(crate) fn store(mut self, run: &Arc<Run>, workshop: &mut Workshop) -> Result<ObjectId, WriteError> {
        self.slots = Vec::new();
        self.store_folder(ROOT, run, workshop).map(|(tree, _)| tree)
    }

    /// A folder's entries in the order of their names.
    fn children(&self, folder: u32) -> Result<Vec<Child<'_>>, WriteError> {
        let mut children = Vec::with_capacity(self.chain(folder).count());
        for (number, entry) in self.chain(folder) {
            let name = self.record(entry)?.into_name();
            children.push(Child { number, name });
        }
        children.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        Ok(children)
    }

    /// A folder's entries, the last one first.
    fn chain(&self, folder: u32) -> impl Iterator<Item = (u32, &Entry)> {
        let last = match self.entry(folder).map(|entry| entry.body) {
            Some(Body::Folder(last)) => last,
            _ => NONE,
        };
        let numbered = |number| self.entry(number).map(|entry| (number, entry));
        iter::successors(numbered(last), move |(_, entry)| numbered(entry.next))
    }

    /// Stores a folder's tree after those of the folders in it; returns it with the newest time in it. Recursion is bounded: a path has at most
    /// 2,048 components.
    fn store_folder(&self, folder: u32, run: &Arc<Run>, workshop: &mut Workshop) -> Result<(ObjectId, Option<Timestamp>), WriteError> {
        let mut json = Vec::new();
        let mut newest = None;
        node::begin_tree(&mut json);
        for Child { number, name } in self.children(folder)? {
            run.poison.check()?;
            let entry = self.entry(number).ok_or_else(|| incomplete(&name))?;
            let (record, body, name) = (self.record(entry)?, entry.body, &name[..]);
            let subtree = match body {
                Body::Folder(_) => Some(self.store_folder(number, run, workshop)?),
                Body::Kept(tree) => Some((self.tree(tree)?, None)),
                _ => None,
            };
            let (size, content) = match body {
                Body::File(content) => self.files.content(content)?,
                Body::Open => return Err(incomplete(name)),
                _ => (0, Vec::new()),
            };
            if size > 0 && content.is_empty() {
                return Err(incomplete(name));
            }
            let implied = || EntryMetadata {
                modified: subtree.and_then(|(_, newest)| newest),
                ..EntryMetadata::private(NodeType::Directory)
            };
            let metadata = record.metadata().unwrap_or_else(implied);
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

/// An entry of a folder. A folder may have millions, so that all else is read when its turn comes.
struct Child<'e> {
    number: u32,
    name: Cow<'e, [u8]>,
}

/// What an entry of the parent snapshot contains.
fn inherit(node: &Node) -> Inside<'_> {
    match (&node.metadata.node_type, node.subtree) {
        (NodeType::Directory, Some(tree)) => Inside::Kept(tree),
        (NodeType::File, _) => Inside::File(node.size, &node.content),
        _ => Inside::Nothing,
    }
}

fn incomplete(name: &[u8]) -> WriteError {
    let name = String::from_utf8_lossy(name);
    WriteError::Internal(format!("the content of {name:?} is missing"))
}

fn too_many() -> WriteError {
    WriteError::Internal("a snapshot can have 4,294,967,294 entries at most".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_as_small_as_documented() {
        assert_eq!(size_of::<Entry>(), 32);
    }
}
