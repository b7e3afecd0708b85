//! Buffers that are used again: fresh memory costs a page fault per 4 KiB, which is a tenth of the whole data path's time.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::sync::lock;

/// Chunk buffers that are kept, at most.
const KEPT_CHUNKS: usize = 16;
/// Buffers larger than this are not kept: they were made for an unusually long chunk.
const KEPT_CAPACITY: usize = 4 << 20;

/// Buffers for chunks; whoever needs one when none is left makes one.
#[derive(Default)]
pub(crate) struct ChunkBuffers(Mutex<Vec<Vec<u8>>>);

impl ChunkBuffers {
    /// An empty buffer with room for at least `capacity` bytes.
    pub(crate) fn take(&self, capacity: usize) -> Vec<u8> {
        let mut buffer = lock(&self.0).pop().unwrap_or_default();
        buffer.reserve(capacity);
        buffer
    }

    /// Gives a buffer back.
    pub(crate) fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut kept = lock(&self.0);
        if kept.len() < KEPT_CHUNKS && buffer.capacity() <= KEPT_CAPACITY {
            kept.push(buffer);
        }
    }
}

/// A fixed number of pack buffers: the bound on packs that are filled and stored at once.
pub(crate) struct PackBuffers {
    state: Mutex<State>,
    changed: Condvar,
    capacity: usize,
}

struct State {
    free: Vec<Vec<u8>>,
    /// Buffers that may still be made.
    unmade: usize,
    closed: bool,
}

impl PackBuffers {
    /// At most `count` buffers of `capacity` bytes.
    pub(crate) fn new(count: usize, capacity: usize) -> Arc<Self> {
        let state = State {
            free: Vec::new(),
            unmade: count,
            closed: false,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            capacity,
        })
    }

    /// Waits for a buffer; `None` when the run has failed.
    pub(crate) fn take(self: &Arc<Self>) -> Option<PackBuffer> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            let buffer = state.free.pop().or_else(|| {
                state.unmade = state.unmade.checked_sub(1)?;
                Some(Vec::with_capacity(self.capacity))
            });
            if let Some(bytes) = buffer {
                return Some(PackBuffer {
                    bytes,
                    home: Arc::clone(self),
                });
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets everyone go who waits.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}

/// A pack's buffer; goes home when the last reference to its bytes is dropped.
pub(crate) struct PackBuffer {
    /// The pack so far.
    pub(crate) bytes: Vec<u8>,
    home: Arc<PackBuffers>,
}

impl AsRef<[u8]> for PackBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for PackBuffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        lock(&self.home.state).free.push(bytes);
        self.home.changed.notify_one();
    }
}
