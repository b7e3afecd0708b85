//! Buffers for chunks, used again: fresh memory costs a page fault per 4 KiB, which is a tenth of the whole data path's time, and memory that one
//! thread allocates and another frees stays with the allocator (a restore of 1 GiB of PostgreSQL's files had 394 MiB of it).

use std::sync::{Arc, Mutex};

use crate::sync::lock;

/// Bytes of buffers that are kept while nobody uses them, at most.
const KEPT_BYTES: usize = 12 << 20;

/// Buffers for chunks; whoever needs one when none is left makes one.
#[derive(Default)]
pub(crate) struct ChunkBuffers(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl ChunkBuffers {
    /// An empty buffer with room for at least `capacity` bytes.
    pub(crate) fn take(&self, capacity: usize) -> Vec<u8> {
        let mut kept = lock(&self.0);
        let fitting = kept.buffers.iter().position(|buffer| buffer.capacity() >= capacity);
        let Some(position) = fitting else {
            drop(kept);
            return Vec::with_capacity(capacity);
        };
        let buffer = kept.buffers.swap_remove(position);
        kept.bytes -= buffer.capacity();
        buffer
    }

    /// Gives a buffer back.
    pub(crate) fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut kept = lock(&self.0);
        if kept.bytes + buffer.capacity() <= KEPT_BYTES {
            kept.bytes += buffer.capacity();
            kept.buffers.push(buffer);
        }
    }
}

/// Content in a buffer that goes home when the last reference to its bytes is dropped.
pub(crate) struct Borrowed {
    /// The content.
    pub(crate) bytes: Vec<u8>,
    /// Where the buffer is from.
    pub(crate) home: Arc<ChunkBuffers>,
}

impl AsRef<[u8]> for Borrowed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        self.home.put(std::mem::take(&mut self.bytes));
    }
}
