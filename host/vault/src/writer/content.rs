//! The content of one entry while its chunks are with the workers: they finish in any order.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use crate::{id::ObjectId, sync::lock};

/// Names of an entry's chunks, and how many are still to come.
pub(crate) struct Content {
    /// The entry in the run's list.
    pub(crate) entry: u32,
    ids: Mutex<Vec<ObjectId>>,
    /// Chunks that are not named yet, and one for the writer until it has finished.
    left: AtomicUsize,
}

impl Content {
    /// No chunks yet.
    pub(crate) fn new(entry: u32) -> Self {
        Self {
            entry,
            ids: Mutex::default(),
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

    /// One thing less to wait for. Returns the names in order when it was the last.
    pub(crate) fn release(&self) -> Option<Box<[ObjectId]>> {
        (self.left.fetch_sub(1, Ordering::AcqRel) == 1).then(|| std::mem::take(&mut *lock(&self.ids)).into_boxed_slice())
    }
}
