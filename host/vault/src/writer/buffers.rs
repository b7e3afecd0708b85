//! Memory of packs: segments of one size, which are used again and of which there is a fixed number. A pack takes what it has, not what the largest
//! could have, and gives it back as a whole when it is stored.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use bytes::Bytes;

use crate::sync::lock;

/// Bytes of a segment.
pub(crate) const SEGMENT: usize = 1 << 20;

/// A fixed number of segments: the bound on packs that are filled and stored at once.
pub(crate) struct PackMemory {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    free: Vec<Vec<u8>>,
    /// Segments that may still be made.
    unmade: usize,
    closed: bool,
}

impl PackMemory {
    /// `bytes`, rounded up to whole segments.
    pub(crate) fn new(bytes: usize) -> Arc<Self> {
        let state = State {
            free: Vec::new(),
            unmade: bytes.div_ceil(SEGMENT),
            closed: false,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    /// Waits for a segment; `None` when the run has failed.
    fn take(self: &Arc<Self>) -> Option<Segment> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            let buffer = state.free.pop().or_else(|| {
                state.unmade = state.unmade.checked_sub(1)?;
                Some(Vec::with_capacity(SEGMENT))
            });
            if let Some(bytes) = buffer {
                return Some(Segment {
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

/// A piece of a pack; goes home when the last reference to its bytes is dropped.
struct Segment {
    bytes: Vec<u8>,
    home: Arc<PackMemory>,
}

impl AsRef<[u8]> for Segment {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        lock(&self.home.state).free.push(bytes);
        self.home.changed.notify_one();
    }
}

/// The bytes of a pack being filled.
pub(crate) struct PackBuffer {
    segments: Vec<Segment>,
    length: usize,
    memory: Arc<PackMemory>,
}

impl PackBuffer {
    /// Nothing yet.
    pub(crate) fn new(memory: &Arc<PackMemory>) -> Self {
        Self {
            segments: Vec::new(),
            length: 0,
            memory: Arc::clone(memory),
        }
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Appends; waits for memory. `None` when the run has failed.
    pub(crate) fn append(&mut self, mut data: &[u8]) -> Option<()> {
        while !data.is_empty() {
            if self.segments.last().is_none_or(|segment| segment.bytes.len() == SEGMENT) {
                self.segments.push(self.memory.take()?);
            }
            let bytes = &mut self.segments.last_mut()?.bytes;
            let (now, later) = data.split_at(data.len().min(SEGMENT - bytes.len()));
            bytes.extend_from_slice(now);
            self.length += now.len();
            data = later;
        }
        Some(())
    }

    /// What was appended, in pieces.
    pub(crate) fn into_parts(self) -> Vec<Bytes> {
        self.segments.into_iter().map(Bytes::from_owner).collect()
    }
}
