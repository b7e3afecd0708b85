//! [`Ahead`]: content that is fetched before it is asked for, within a bound on memory.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use crate::{
    buffers::ChunkBuffers,
    error::ReadError,
    id::ObjectId,
    index::Location,
    reader::fetch::{Window, fetch},
    task::Task,
    vault::Core,
};

/// Blobs in order: added by whoever knows what comes next, returned when their content is there.
pub(crate) struct Ahead {
    core: Arc<Core>,
    buffers: Arc<ChunkBuffers>,
    /// Blobs that will be fetched together.
    window: Window,
    /// Windows on their way, each with the memory that it takes.
    fetching: VecDeque<(u64, Task<Vec<Bytes>>)>,
    /// Memory that they take, and the bound on it.
    bytes: u64,
    limit: u64,
    /// Content that has arrived and was not returned yet.
    ready: VecDeque<Bytes>,
    /// Why nothing comes any more.
    failed: Option<ReadError>,
}

impl Ahead {
    /// At most `limit` bytes ahead, beside the window that is being returned.
    pub(crate) fn new(core: Arc<Core>, buffers: Arc<ChunkBuffers>, limit: usize) -> Self {
        Self {
            core,
            buffers,
            window: Window::default(),
            fetching: VecDeque::new(),
            bytes: 0,
            limit: limit as u64,
            ready: VecDeque::new(),
            failed: None,
        }
    }

    /// Whether a further blob is within the bounds: there is always room for a first window.
    pub(crate) fn has_room(&self) -> bool {
        self.fetching.is_empty() || self.bytes + self.window.bytes() < self.limit && self.fetching.len() < self.core.concurrency()
    }

    /// Adds the blob that comes next.
    pub(crate) fn add(&mut self, id: ObjectId, location: Location) {
        if !self.window.add(id, location) {
            self.send();
            self.window.add(id, location);
        }
    }

    /// Has what was added fetched, though there would be room for more in its window.
    pub(crate) fn send(&mut self) {
        let window = std::mem::take(&mut self.window);
        if window.is_empty() {
            return;
        }
        let bytes = window.bytes();
        self.bytes += bytes;
        let fetched = fetch(Arc::clone(&self.core), Arc::clone(&self.buffers), window);
        self.fetching.push_back((bytes, Task::start(fetched)));
    }

    /// The content of the first blob that was not returned yet; `None` when there is none. Once it has failed, it fails always.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            if let Some(content) = self.ready.pop_front() {
                return Ok(Some(content));
            }
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            if self.fetching.is_empty() {
                self.send();
            }
            let Some((bytes, fetching)) = self.fetching.front_mut() else {
                return Ok(None);
            };
            let fetched = fetching.join().await;
            self.bytes -= *bytes;
            self.fetching.pop_front();
            match fetched {
                Ok(contents) => self.ready.extend(contents),
                Err(error) => {
                    self.fetching.clear();
                    self.failed = Some(error);
                }
            }
        }
    }
}
