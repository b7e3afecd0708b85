//! The content of one entry while its chunks are with the workers: they finish in any order.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::{id::ObjectId, sync::lock};

/// Names of an entry's chunks, and how many are still to come.
pub(crate) struct Content {
    /// The entry in the run's list.
    pub(crate) entry: u32,
    ids: Mutex<Vec<ObjectId>>,
    /// Bytes of all chunks, once the writer has finished.
    size: AtomicU64,
    /// Chunks that are not named yet, and one for the writer until it has finished.
    left: AtomicUsize,
}

impl Content {
    /// No chunks yet.
    pub(crate) fn new(entry: u32) -> Self {
        Self {
            entry,
            ids: Mutex::default(),
            size: AtomicU64::new(0),
            left: AtomicUsize::new(1),
        }
    }

    /// Announces a chunk; returns its place.
    pub(crate) fn reserve(&self) -> usize {
        self.left.fetch_add(1, Ordering::Relaxed);
        let mut ids = lock(&self.ids);
        ids.push(ObjectId::from([0; 32]));
        ids.len() - 1
    }

    /// Appends a chunk whose name is known; returns its place.
    pub(crate) fn push(&self, id: ObjectId) -> usize {
        let mut ids = lock(&self.ids);
        ids.push(id);
        ids.len() - 1
    }

    /// Names a chunk.
    pub(crate) fn set(&self, ordinal: usize, id: ObjectId) {
        if let Some(place) = lock(&self.ids).get_mut(ordinal) {
            *place = id;
        }
    }

    /// The writer has finished, after so many bytes. As [`Self::release`].
    pub(crate) fn finish(&self, size: u64) -> Option<(u64, Box<[ObjectId]>)> {
        self.size.store(size, Ordering::Relaxed);
        self.release()
    }

    /// One thing less to wait for. Returns the bytes, and the names in order, when it was the last.
    pub(crate) fn release(&self) -> Option<(u64, Box<[ObjectId]>)> {
        (self.left.fetch_sub(1, Ordering::AcqRel) == 1).then(|| {
            let ids = std::mem::take(&mut *lock(&self.ids));
            (self.size.load(Ordering::Relaxed), ids.into_boxed_slice())
        })
    }
}
