//! Buffers of packs, which are used again and of which there is a fixed number.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::sync::lock;

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
