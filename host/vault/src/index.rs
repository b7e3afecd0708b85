//! The index in memory: where each blob of the vault is.
//!
//! Millions of blobs make a vault of a few terabytes, so entries are packed: 48 bytes each in segments that never move, found through an open-addressed
//! table of 4-byte positions. With the table between 44 % and 88 % full and 40 bytes per pack, a blob takes 53 to 60 bytes; at restic's average of
//! 1.5 MiB per blob that is about 40 MB for each terabyte.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::{
    crypto::OVERHEAD,
    format::index_file::{IndexFile, IndexPack},
    id::ObjectId,
};

/// Entries in one segment.
const SEGMENT: usize = 4096;
/// The top bit of `Entry::content`: the blob is a tree.
const TREE: u32 = 1 << 31;
/// A slot of the table that is free.
const FREE: u32 = u32::MAX;
/// Slots of the smallest table; a power of two.
const FIRST_SLOTS: usize = 1024;

/// What a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobKind {
    /// Content of a file.
    Data,
    /// A folder.
    Tree,
}

/// Where a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location {
    /// The pack.
    pub(crate) pack: ObjectId,
    /// Where in it the blob begins.
    pub(crate) offset: u32,
    /// Bytes there, encryption included.
    pub(crate) length: u32,
    /// Bytes of content, where it is compressed.
    pub(crate) uncompressed: Option<u32>,
}

impl Location {
    /// Bytes of content.
    pub(crate) fn content_length(&self) -> u64 {
        u64::from(self.uncompressed.unwrap_or_else(|| self.length.saturating_sub(OVERHEAD as u32)))
    }
}

/// One blob. `content` is its uncompressed length (0 where it is not compressed) and, in the top bit, its kind.
#[derive(Clone, Copy)]
struct Entry {
    id: ObjectId,
    pack: u32,
    offset: u32,
    length: u32,
    content: u32,
}

impl Entry {
    fn kind(&self) -> BlobKind {
        if self.content & TREE == 0 { BlobKind::Data } else { BlobKind::Tree }
    }
}

/// A pack's name, where its last blob ends, and whether `rustic prune` has marked it for deletion.
struct Pack {
    id: ObjectId,
    end: u32,
    doomed: bool,
}

/// All blobs of all index files that were read.
#[derive(Default)]
pub(crate) struct Index {
    files: HashSet<ObjectId>,
    packs: Vec<Pack>,
    segments: Vec<Vec<Entry>>,
    slots: Vec<u32>,
    entries: usize,
}

impl Index {
    /// The index files that are in here.
    pub(crate) fn files(&self) -> &HashSet<ObjectId> {
        &self.files
    }

    /// The packs that index files name, marked ones too; some more than once.
    pub(crate) fn packs(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.packs.iter().map(|pack| pack.id)
    }

    /// Those that are not marked; some more than once.
    pub(crate) fn needed_packs(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.packs.iter().filter(|pack| !pack.doomed).map(|pack| pack.id)
    }

    /// Blobs in here.
    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    /// Adds an index file. Blobs that are here already stay where they are, unless their pack is doomed.
    pub(crate) fn add(&mut self, name: ObjectId, file: &IndexFile) {
        if self.files.insert(name) {
            file.packs.iter().for_each(|pack| self.add_pack(pack, false));
            file.packs_to_delete.iter().for_each(|pack| self.add_pack(pack, true));
        }
    }

    /// Adds a pack that is to be deleted.
    pub(crate) fn add_doomed(&mut self, pack: &IndexPack) {
        self.add_pack(pack, true);
    }

    fn add_pack(&mut self, pack: &IndexPack, doomed: bool) {
        let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        let ends = pack.blobs.iter().map(|blob| blob.offset.saturating_add(blob.length));
        self.packs.push(Pack {
            id: pack.id,
            end: ends.max().unwrap_or(0),
            doomed,
        });
        for blob in &pack.blobs {
            let kind = if blob.kind == BlobKind::Tree { TREE } else { 0 };
            let content = blob.uncompressed_length.unwrap_or(0) & !TREE | kind;
            self.insert(Entry {
                id: blob.id,
                pack: number,
                offset: blob.offset,
                length: blob.length,
                content,
            });
        }
    }

    fn insert(&mut self, entry: Entry) {
        if (self.entries + 1) * 8 > self.slots.len() * 7 {
            self.grow();
        }
        let slot = self.slot(entry.kind(), &entry.id);
        let position = self.slots[slot];
        if position == FREE {
            self.slots[slot] = u32::try_from(self.entries).unwrap_or(FREE);
            match self.segments.last_mut() {
                Some(segment) if segment.len() < SEGMENT => segment.push(entry),
                _ => {
                    let mut segment = Vec::with_capacity(SEGMENT);
                    segment.push(entry);
                    self.segments.push(segment);
                }
            }
            self.entries += 1;
        } else if self.is_doomed(position) && !self.packs[entry.pack as usize].doomed {
            let position = position as usize;
            self.segments[position / SEGMENT][position % SEGMENT] = entry;
        }
    }

    fn entry(&self, position: u32) -> &Entry {
        &self.segments[position as usize / SEGMENT][position as usize % SEGMENT]
    }

    fn is_doomed(&self, position: u32) -> bool {
        self.packs[self.entry(position).pack as usize].doomed
    }

    /// The slot that holds this blob, or the free one where it would go.
    fn slot(&self, kind: BlobKind, id: &ObjectId) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash(id) & mask;
        loop {
            let position = self.slots[slot];
            if position == FREE {
                return slot;
            }
            let entry = self.entry(position);
            if entry.id == *id && entry.kind() == kind {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let slots = (self.slots.len() * 2).max(FIRST_SLOTS);
        self.slots = vec![FREE; slots];
        for position in 0..self.entries {
            let position = u32::try_from(position).unwrap_or(FREE);
            let Entry { id, .. } = *self.entry(position);
            let kind = self.entry(position).kind();
            let slot = self.slot(kind, &id);
            self.slots[slot] = position;
        }
    }

    fn find(&self, kind: BlobKind, id: &ObjectId) -> Option<u32> {
        let slot = (!self.slots.is_empty()).then(|| self.slot(kind, id))?;
        Some(self.slots[slot]).filter(|position| *position != FREE)
    }

    /// Where a blob is, doomed or not: what a reader asks.
    pub(crate) fn locate(&self, kind: BlobKind, id: &ObjectId) -> Option<Location> {
        Some(self.location(self.entry(self.find(kind, id)?)))
    }

    /// Where the last blob ends of the pack that a blob is in.
    pub(crate) fn end_of_pack(&self, kind: BlobKind, id: &ObjectId) -> Option<u64> {
        let entry = self.entry(self.find(kind, id)?);
        Some(self.packs[entry.pack as usize].end.into())
    }

    fn location(&self, entry: &Entry) -> Location {
        let uncompressed = entry.content & !TREE;
        Location {
            pack: self.packs[entry.pack as usize].id,
            offset: entry.offset,
            length: entry.length,
            uncompressed: (uncompressed != 0).then_some(uncompressed),
        }
    }

    /// The number of a blob, below [`Self::len`]. It stays the same until the index is built anew.
    pub(crate) fn number(&self, kind: BlobKind, id: &ObjectId) -> Option<usize> {
        self.find(kind, id).map(|position| position as usize)
    }

    /// All blobs, in the order of their numbers.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = (BlobKind, ObjectId, Location)> {
        let entries = self.segments.iter().flatten();
        entries.map(|entry| (entry.kind(), entry.id, self.location(entry)))
    }

    /// Whether a new snapshot may rely on this blob: it is there to stay.
    pub(crate) fn has(&self, kind: BlobKind, id: &ObjectId) -> bool {
        self.find(kind, id).is_some_and(|position| !self.is_doomed(position))
    }
}

/// Blob names are hashes already; any eight of their bytes do.
fn hash(id: &ObjectId) -> usize {
    let bytes = id.as_bytes();
    u64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::index_file::IndexBlob;

    fn blob(number: u32, kind: BlobKind) -> IndexBlob {
        IndexBlob {
            id: ObjectId::of(&number.to_le_bytes()),
            kind,
            offset: number,
            length: 100,
            uncompressed_length: number.is_multiple_of(2).then_some(300),
        }
    }

    fn file(pack: &str, blobs: Vec<IndexBlob>) -> IndexFile {
        IndexFile {
            packs: vec![IndexPack {
                id: ObjectId::of(pack.as_bytes()),
                time: None,
                size: None,
                blobs,
            }],
            packs_to_delete: Vec::new(),
        }
    }

    #[test]
    fn every_blob_is_found_and_no_other() {
        let mut index = Index::default();
        assert_eq!(index.locate(BlobKind::Data, &ObjectId::of(b"x")), None);
        index.add(
            ObjectId::of(b"1"),
            &file("a", (0..20_000).map(|number| blob(number, BlobKind::Data)).collect()),
        );
        index.add(ObjectId::of(b"1"), &file("b", vec![blob(30_000, BlobKind::Data)]));
        assert_eq!(index.len(), 20_000);
        for number in 0..20_000 {
            let expected = blob(number, BlobKind::Data);
            let found = index.locate(BlobKind::Data, &expected.id);
            assert_eq!(
                found.map(|found| (found.offset, found.uncompressed)),
                Some((number, expected.uncompressed_length))
            );
            assert_eq!(index.locate(BlobKind::Tree, &expected.id), None);
        }
        assert!(!index.has(BlobKind::Data, &blob(30_000, BlobKind::Data).id));
    }

    #[test]
    fn a_doomed_pack_is_read_but_not_relied_on() {
        let mut index = Index::default();
        let tree = blob(1, BlobKind::Tree);
        let doomed = IndexFile {
            packs: Vec::new(),
            packs_to_delete: file("old", vec![tree]).packs,
        };
        index.add(ObjectId::of(b"1"), &doomed);
        assert!(index.locate(BlobKind::Tree, &tree.id).is_some());
        assert!(!index.has(BlobKind::Tree, &tree.id));
        index.add(ObjectId::of(b"2"), &file("new", vec![tree]));
        assert!(index.has(BlobKind::Tree, &tree.id));
        index.add(ObjectId::of(b"3"), &doomed);
        assert_eq!(
            index.locate(BlobKind::Tree, &tree.id).map(|found| found.pack),
            Some(ObjectId::of(b"new"))
        );
    }

    #[test]
    fn an_entry_is_as_small_as_documented() {
        assert_eq!(size_of::<Entry>(), 48);
    }
}
