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
            let wanted: Vec<_> = std::mem::take(&mut self.wanted).into_iter().collect();
            let ids: Vec<ObjectId> = wanted.iter().map(|(id, _)| *id).collect();
            // What can't be read of a group is told by the file that has it, which is then read by itself.
            let contents = fetch(Arc::clone(core), Arc::clone(buffers), Window::scattered(wanted))
                .await
                .unwrap_or_default();
            self.contents = ids.into_iter().zip(contents).collect();
        }
        self.contents.get(id).cloned()
    }
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
                    if let (true, [id]) = (entry.size <= SMALL, &*chunks)
                        && let Ok(location) = self.walk.core().locate(BlobKind::Data, id, String::new)
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
