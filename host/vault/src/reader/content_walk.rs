//! [`ContentWalk`]: the entries of a snapshot in order, each file with its content: what a restore needs.
//!
//! Small files are what makes this more than a [`Walk`] and an [`EntryReader`](crate::EntryReader) for each: the contents of neighbouring files stand
//! next to each other in a pack, and are fetched, ahead of their consumer, as one.

use std::collections::VecDeque;

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
    wanted: Box<dyn FnMut(&SnapshotEntry) -> bool + Send>,
    ahead: Ahead,
    /// Entries whose content was asked for at least in part, each with the number of its chunks.
    entries: VecDeque<(SnapshotEntry, usize)>,
    /// The content of the last of them, and how many of its chunks were asked for.
    last: (Box<[ObjectId]>, usize),
    /// Chunks of the entry that was told last which are still to come.
    left: usize,
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
}

impl ContentWalk {
    pub(crate) fn new(walk: Walk, ahead: Ahead, wanted: impl FnMut(&SnapshotEntry) -> bool + Send + 'static) -> Self {
        Self {
            walk,
            wanted: Box::new(wanted),
            ahead,
            entries: VecDeque::new(),
            last: (Box::default(), 0),
            left: 0,
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
            if self.left > 0 {
                let missing = || ReadError::Internal("content was not asked for".to_owned());
                let content = self.ahead.next().await?.ok_or_else(missing)?;
                self.left -= 1;
                if content.is_empty() {
                    continue;
                }
                return Ok(Some(Piece::Content(content)));
            }
            if let Some((entry, chunks)) = self.entries.pop_front() {
                self.left = chunks;
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
        let content = if (self.wanted)(&entry) { content } else { Box::default() };
        if !content.is_empty() {
            check_size(self.walk.core(), &entry, &content)?;
        }
        self.entries.push_back((entry, content.len()));
        self.last = (content, 0);
        Ok(())
    }
}

/// Looks all chunks of a file up before the first one is read: a file of which something is missing is not begun.
fn check_size(core: &Core, entry: &SnapshotEntry, content: &[ObjectId]) -> Result<(), ReadError> {
    let mut found = 0;
    for id in content {
        found += core
            .locate(BlobKind::Data, id, || format!("entry {:?}", entry.path))?
            .content_length();
    }
    entry_reader::check_size(&entry.path, found, entry.size)
}
