//! Small files that are read one after the other are fetched together: [`GroupedWalk`] looks ahead, and [`Together`] brings the contents of a whole group when
//! the first of them is read.
//!
//! Neighbours by their paths need not be neighbours in a pack: documents that a hash spreads over folders stand as far apart as can be, in the order in which their server
//! told of them. A request for each of a million of them takes longer than to read what stands between. So groups are large: in whatever order their
//! contents were stored, most stand close to another one.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::{
    buffers::ChunkBuffers,
    error::ReadError,
    id::ObjectId,
    index::{BlobKind, Location},
    reader::{
        fetch::{Window, fetch},
        request::SCATTERED_GAP,
        snapshot_reader::SnapshotEntry,
        walk::Walk,
    },
    vault::Core,
};

/// Bytes of the contents of a group.
const GROUP: u64 = 32 << 20;
/// Entries of a first group, and of the largest: who looks at a few entries only does not wait for many.
const FIRST_GROUP: usize = 1 << 10;
const LARGEST_GROUP: usize = 32 << 10;
/// Bytes that are read at once, what stands between contents included.
const BATCH: u64 = 16 << 20;
/// Bytes of a file up to which it is small: a request for it costs more than its content.
const SMALL: u64 = 64 << 10;

/// The contents of a group's small files, fetched when the first one is needed, and kept until the next group comes.
#[derive(Default)]
pub(crate) struct Together {
    wanted: HashMap<ObjectId, Location>,
    contents: HashMap<ObjectId, Bytes>,
}

impl Together {
    /// The content of a chunk, if it belongs to the group.
    pub(crate) async fn content(&mut self, core: &Arc<Core>, buffers: &Arc<ChunkBuffers>, id: &ObjectId) -> Option<Bytes> {
        if self.wanted.len() > 1 && self.wanted.contains_key(id) {
            self.contents = HashMap::with_capacity(self.wanted.len());
            for batch in batches(std::mem::take(&mut self.wanted)) {
                let ids: Vec<ObjectId> = batch.iter().map(|(id, _)| *id).collect();
                // What can't be read of a batch is told by the file that has it, which is then read by itself.
                let contents = fetch(Arc::clone(core), Arc::clone(buffers), Window::scattered(batch))
                    .await
                    .unwrap_or_default();
                // Copied: as it came, a content may hold on to all that was read with it.
                let copies = ids
                    .into_iter()
                    .zip(contents)
                    .map(|(id, content)| (id, Bytes::copy_from_slice(&content)));
                self.contents.extend(copies);
            }
        }
        self.contents.get(id).cloned()
    }
}

/// Blobs in the order of the packs, in batches: each takes at most 16 MiB to read, what stands between included.
fn batches(wanted: HashMap<ObjectId, Location>) -> Vec<Vec<(ObjectId, Location)>> {
    let mut sorted: Vec<_> = wanted.into_iter().collect();
    sorted.sort_unstable_by_key(|(id, location)| (location.pack, location.offset, *id));
    let mut batches: Vec<Vec<(ObjectId, Location)>> = Vec::new();
    let mut span = 0;
    for (id, location) in sorted {
        let cost = match batches.last().and_then(|batch| batch.last()) {
            Some((_, last)) if last.pack == location.pack => {
                let gap = u64::from(location.offset).saturating_sub(u64::from(last.offset) + u64::from(last.length));
                if gap <= SCATTERED_GAP { gap } else { 0 }
            }
            _ => 0,
        } + u64::from(location.length);
        span += cost;
        match batches.last_mut() {
            Some(batch) if span <= BATCH => batch.push((id, location)),
            _ => {
                span = u64::from(location.length);
                batches.push(vec![(id, location)]);
            }
        }
    }
    batches
}

/// A walk whose small files are read in its order, or nearly. It is up to 32,768 entries ahead of its consumer.
pub struct GroupedWalk {
    walk: Walk,
    together: Arc<Mutex<Together>>,
    entries: VecDeque<SnapshotEntry>,
    /// Entries of the next group at most.
    limit: usize,
    /// Why there is nothing behind `entries`.
    failed: Option<ReadError>,
}

impl GroupedWalk {
    pub(crate) fn new(walk: Walk, together: Arc<Mutex<Together>>) -> Self {
        Self {
            walk,
            together,
            entries: VecDeque::new(),
            limit: FIRST_GROUP,
            failed: None,
        }
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// What can happen to a folder; a further call returns the same.
    pub async fn next(&mut self) -> Result<Option<SnapshotEntry>, ReadError> {
        if self.entries.is_empty() && self.failed.is_none() {
            self.look_ahead().await;
        }
        match self.entries.pop_front() {
            Some(entry) => Ok(Some(entry)),
            None => self.failed.clone().map_or(Ok(None), Err),
        }
    }

    /// Finds the next group.
    async fn look_ahead(&mut self) {
        let mut bytes = 0;
        let mut group = Together::default();
        while self.entries.len() < self.limit && bytes < GROUP {
            match self.walk.advance().await {
                Ok(Some((entry, chunks))) => {
                    // The index tells how long a content is; what a folder says of it may be wrong.
                    if let (true, [id]) = (entry.size <= SMALL, &*chunks)
                        && let Ok(location) = self.walk.core().locate(BlobKind::Data, id, String::new)
                        && location.content_length() == entry.size
                    {
                        bytes += entry.size;
                        group.wanted.insert(*id, location);
                    }
                    self.entries.push_back(entry);
                }
                Ok(None) => break,
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        self.limit = (self.limit * 2).min(LARGEST_GROUP);
        *self.together.lock().await = group;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_read_in_batches_that_have_a_bound_with_all_that_stands_between() {
        let apart = 60 << 10;
        let blob = |number: u32| {
            let location = Location {
                pack: ObjectId::of(&[u8::try_from(number % 3).unwrap_or_default()]),
                offset: number / 3 * apart,
                length: 1000,
                uncompressed: None,
            };
            (ObjectId::of(&number.to_le_bytes()), location)
        };
        let wanted: HashMap<_, _> = (0..3000).map(blob).collect();
        let batches = batches(wanted);
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 3000);
        // 3,000 times 60 KiB are 176 MiB.
        assert!((11..=13).contains(&batches.len()), "{}", batches.len());
        for batch in &batches {
            let span: u32 = batch
                .chunk_by(|(_, one), (_, next)| one.pack == next.pack)
                .map(|run| run[run.len() - 1].1.offset + 1000 - run[0].1.offset)
                .sum();
            assert!(u64::from(span) <= BATCH);
        }
    }
}
