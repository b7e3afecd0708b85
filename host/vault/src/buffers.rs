//! Buffers for chunks, used again: fresh memory costs a page fault per 4 KiB, which is a tenth of the whole data path's time, and memory that one
//! thread allocates and another frees stays with the allocator for a while (a restore of 1 GiB of PostgreSQL's files had 394 MiB of it).
//!
//! They come in a few sizes. What a chunk takes is the size of its buffer, not its own length: when any large enough buffer would do, a chunk of
//! 600 KiB sits in 9 MiB that another one has touched, and a bound on chunks' bytes bounds nothing.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use crate::{chunker::MAX_CHUNK, sync::lock};

/// Bytes that can be appended to an unfinished chunk at once.
pub(crate) const STEP: usize = 256 << 10;
/// Bytes of buffers that are kept while nobody uses them, at most.
const KEPT_BYTES: usize = 8 << 20;
/// Sizes of buffers. The last one is that of the largest chunk, with what was appended to it beyond its end.
const SIZES: [usize; 5] = [512 << 10, 1 << 20, 2 << 20, 4 << 20, MAX_CHUNK + STEP];
/// Content up to this size gets a buffer of its own, which is not kept.
const SMALL: usize = 128 << 10;

/// Bytes of the buffer for so much content.
pub(crate) fn size_for(content: usize) -> usize {
    let sizes = SIZES.iter().filter(|_| content > SMALL);
    sizes.copied().find(|size| *size >= content).unwrap_or(content)
}

/// Buffers for chunks; whoever needs one when none is left makes one.
#[derive(Default)]
pub(crate) struct ChunkBuffers(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// Last used last.
    buffers: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl ChunkBuffers {
    /// An empty buffer with room for at least `content` bytes: of the size that [`size_for`] says.
    pub(crate) fn take(&self, content: usize) -> Vec<u8> {
        let size = size_for(content);
        let mut kept = lock(&self.0);
        let fitting = kept.buffers.iter().rposition(|buffer| buffer.capacity() == size);
        let Some(buffer) = fitting.and_then(|position| kept.buffers.remove(position)) else {
            drop(kept);
            return Vec::with_capacity(size);
        };
        kept.bytes -= size;
        buffer
    }

    /// Gives a buffer back. Those that nobody wanted for longest make room for it.
    pub(crate) fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        if !SIZES.contains(&buffer.capacity()) {
            return;
        }
        let mut dropped = Vec::new();
        let mut kept = lock(&self.0);
        kept.bytes += buffer.capacity();
        kept.buffers.push_back(buffer);
        while kept.bytes > KEPT_BYTES {
            let Some(oldest) = kept.buffers.pop_front() else { break };
            kept.bytes -= oldest.capacity();
            dropped.push(oldest);
        }
        // Memory goes back to the system without the lock.
        drop(kept);
        drop(dropped);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_of_the_size_that_is_accounted_for() {
        let buffers = ChunkBuffers::default();
        buffers.put(buffers.take(4 << 20));
        for content in [1, SMALL, SMALL + 1, 600 << 10, 1 << 20, (1 << 20) + 1, MAX_CHUNK + STEP] {
            let buffer = buffers.take(content);
            assert_eq!(buffer.capacity(), size_for(content), "{content}");
            assert!(buffer.capacity() >= content);
            buffers.put(buffer);
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_latest() {
        let buffers = ChunkBuffers::default();
        let many: Vec<_> = (0..10).map(|_| buffers.take(2 << 20)).collect();
        many.into_iter().for_each(|buffer| buffers.put(buffer));
        assert_eq!(lock(&buffers.0).bytes, KEPT_BYTES);
        buffers.put(buffers.take(1 << 20));
        let kept = lock(&buffers.0);
        assert_eq!(
            kept.buffers.iter().map(Vec::capacity).collect::<Vec<_>>(),
            [2 << 20, 2 << 20, 2 << 20, 1 << 20]
        );
    }
}
