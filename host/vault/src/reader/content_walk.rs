//! [`ContentWalk`]: the entries of a snapshot in order, each file with its content: what a restore needs.
//!
//! Small files are what makes this more than a [`Walk`] and an [`EntryReader`](crate::EntryReader) for each: the contents of neighbouring files stand
//! next to each other in a pack, and are fetched, ahead of their consumer, as one.

use std::collections::VecDeque;

use async_trait::async_trait;
use bulkhead_model::NodeType;
use bytes::Bytes;

use crate::{
    error::ReadError,
    id::ObjectId,
    index::BlobKind,
    reader::{ahead::Ahead, entry_reader, snapshot_reader::SnapshotEntry, walk::Walk},
    vault::Core,
};

/// Entries that a walk may be ahead of its consumer.
const ENTRIES_AHEAD: usize = 4096;

/// A walk with content in progress. Holds one folder for each level that it is deep, and the read-ahead of [`VaultOptions`](crate::VaultOptions).
pub struct ContentWalk {
    walk: Walk,
    filter: Box<dyn ContentFilter>,
    ahead: Ahead,
    /// Entries whose content was asked for at least in part, each with what of it is to come.
    entries: VecDeque<(SnapshotEntry, VecDeque<Run>)>,
    /// What is wanted of the content of the last of them, and how many of these chunks were asked for.
    last: (Box<[ObjectId]>, usize),
    /// What of the entry that was told last is still to come.
    left: VecDeque<Run>,
    ended: bool,
    /// Why there is nothing behind `entries`.
    failed: Option<ReadError>,
}

/// What comes next in a [`ContentWalk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// An entry. If it is a file whose content was wanted, that follows, and is complete when the next entry (or the end) comes.
    Entry(Box<SnapshotEntry>),
    /// More of that file's content; never empty.
    Content(Bytes),
    /// So many bytes of that file's content were not wanted.
    Gap(u64),
}

/// Chunks of a file that belong together.
enum Run {
    /// So many are wanted.
    Chunks(usize),
    /// So many bytes are not.
    Gap(u64),
}

/// What a [`ContentWalk`] is to bring of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Neither the entry nor anything below it.
    Nothing,
    /// The entry itself.
    Entry,
    /// With its content.
    Content,
    /// With those of its chunks that are `true`; one for each of [`StoredContent::chunks`].
    Chunks(Box<[bool]>),
}

/// A chunk of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// SHA-256 of its bytes.
    pub id: ObjectId,
    /// How many they are.
    pub length: u64,
}

/// The content of an entry as it is stored.
pub struct StoredContent<'w> {
    core: &'w Core,
    entry: &'w SnapshotEntry,
    ids: &'w [ObjectId],
}

impl StoredContent<'_> {
    /// The chunks in order; none for others than files.
    ///
    /// # Errors
    /// [`ReadError::BlobMissing`] for one that the vault does not have, [`ReadError::Corrupt`] where they are not as long as the file says it is.
    pub fn chunks(&self) -> Result<Vec<Chunk>, ReadError> {
        let chunk = |id: &ObjectId| {
            let location = self.core.locate(BlobKind::Data, id, || format!("entry {:?}", self.entry.path))?;
            Ok(Chunk {
                id: *id,
                length: location.content_length(),
            })
        };
        let chunks = self.ids.iter().map(chunk).collect::<Result<Vec<_>, ReadError>>()?;
        entry_reader::check_size(&self.entry.path, chunks.iter().map(|chunk| chunk.length).sum(), self.entry.size)?;
        Ok(chunks)
    }
}

/// Decides what a [`ContentWalk`] brings. A closure that says for which entries content is wanted is one.
#[async_trait]
pub trait ContentFilter: Send {
    /// Asked once for each entry, in order, ahead of the consumer: what is wanted of it.
    ///
    /// # Errors
    /// Those of [`StoredContent`]; they end the walk.
    async fn wanted(&mut self, entry: &SnapshotEntry, content: StoredContent<'_>) -> Result<Wanted, ReadError>;
}

#[async_trait]
impl<F: FnMut(&SnapshotEntry) -> bool + Send> ContentFilter for F {
    async fn wanted(&mut self, entry: &SnapshotEntry, _: StoredContent<'_>) -> Result<Wanted, ReadError> {
        Ok(if self(entry) { Wanted::Content } else { Wanted::Entry })
    }
}

impl ContentWalk {
    pub(crate) fn new(walk: Walk, ahead: Ahead, filter: impl ContentFilter + 'static) -> Self {
        Self {
            walk,
            filter: Box::new(filter),
            ahead,
            entries: VecDeque::new(),
            last: (Box::default(), 0),
            left: VecDeque::new(),
            ended: false,
            failed: None,
        }
    }

    /// The next piece; `None` at the end. Content comes in pieces of at most 8 MiB.
    ///
    /// # Errors
    /// What can happen to a folder or to content; a further call returns the same, never what is behind the damage.
    pub async fn next(&mut self) -> Result<Option<Piece>, ReadError> {
        loop {
            self.plan().await;
            match self.left.pop_front() {
                Some(Run::Gap(bytes)) => return Ok(Some(Piece::Gap(bytes))),
                Some(Run::Chunks(count)) => {
                    let missing = || ReadError::Internal("content was not asked for".to_owned());
                    // Put back first, so that a failure here is met again by the next call.
                    self.left.push_front(Run::Chunks(count));
                    let content = self.ahead.next().await?.ok_or_else(missing)?;
                    self.left.pop_front();
                    if count > 1 {
                        self.left.push_front(Run::Chunks(count - 1));
                    }
                    if content.is_empty() {
                        continue;
                    }
                    return Ok(Some(Piece::Content(content)));
                }
                None => {}
            }
            if let Some((entry, runs)) = self.entries.pop_front() {
                self.left = runs;
                return Ok(Some(Piece::Entry(Box::new(entry))));
            }
            return self.failed.clone().map_or(Ok(None), Err);
        }
    }

    /// Walks on and asks for content, as far as the bounds allow.
    async fn plan(&mut self) {
        while self.failed.is_none() && self.ahead.has_room() {
            if let Err(error) = self.plan_chunk() {
                self.failed = Some(error);
            } else if self.last.1 < self.last.0.len() {
                continue;
            } else if self.ended || self.entries.len() >= ENTRIES_AHEAD {
                // What there is will not become more before it is needed.
                self.ahead.send();
                return;
            } else if let Err(error) = self.plan_entry().await {
                self.failed = Some(error);
            }
        }
    }

    /// Asks for the next chunk of the last entry, if there is one.
    fn plan_chunk(&mut self) -> Result<(), ReadError> {
        let (content, planned) = &mut self.last;
        if let Some(id) = content.get(*planned) {
            let location = self.walk.core().locate(BlobKind::Data, id, || "an entry".to_owned())?;
            self.ahead.add(*id, location);
            *planned += 1;
        }
        Ok(())
    }

    async fn plan_entry(&mut self) -> Result<(), ReadError> {
        let Some((entry, content)) = self.walk.advance().await? else {
            self.ended = true;
            return Ok(());
        };
        let stored = StoredContent {
            core: self.walk.core(),
            entry: &entry,
            ids: &content,
        };
        let (content, runs) = match self.filter.wanted(&entry, stored).await? {
            Wanted::Nothing => {
                self.walk.skip_below();
                return Ok(());
            }
            Wanted::Entry => (Box::default(), VecDeque::new()),
            // All chunks are looked up before the first one is read: a file of which something is missing is not begun.
            Wanted::Content if entry.metadata.node_type == NodeType::File => select(&self.chunks(&entry, &content)?, &[]),
            Wanted::Content => (Box::default(), VecDeque::new()),
            Wanted::Chunks(wanted) => select(&self.chunks(&entry, &content)?, &wanted),
        };
        self.entries.push_back((entry, runs));
        self.last = (content, 0);
        Ok(())
    }

    fn chunks(&self, entry: &SnapshotEntry, ids: &[ObjectId]) -> Result<Vec<Chunk>, ReadError> {
        let core = self.walk.core();
        StoredContent { core, entry, ids }.chunks()
    }
}

/// The chunks that are wanted (all that `wanted` says nothing of), and how they and those that are not follow each other.
fn select(chunks: &[Chunk], wanted: &[bool]) -> (Box<[ObjectId]>, VecDeque<Run>) {
    let mut runs: VecDeque<Run> = VecDeque::new();
    let mut ids = Vec::new();
    for (position, chunk) in chunks.iter().enumerate() {
        let is_wanted = wanted.get(position).copied().unwrap_or(true);
        match (runs.back_mut(), is_wanted) {
            (Some(Run::Chunks(count)), true) => *count += 1,
            (Some(Run::Gap(bytes)), false) => *bytes += chunk.length,
            (_, true) => runs.push_back(Run::Chunks(1)),
            (_, false) => runs.push_back(Run::Gap(chunk.length)),
        }
        if is_wanted {
            ids.push(chunk.id);
        }
    }
    (ids.into(), runs)
}
