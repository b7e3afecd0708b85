//! [`EntryReader`]: the content of one file, in sequence with read-ahead, or anywhere.

use std::{collections::VecDeque, sync::Arc};

use bulkhead_model::EntryPath;
use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;

use crate::{
    buffers::ChunkBuffers,
    error::{Corruption, ReadError},
    format::node::Node,
    id::ObjectId,
    index::{BlobKind, Location},
    reader::fetch::{Group, fetch},
    vault::Core,
};

/// Bytes of content, and of pack, that one request of the read-ahead fetches at most (a single blob may be larger).
const REQUEST: u64 = 4 << 20;

/// A file open for reading. Every blob is compared with its hash before a byte of it is handed out.
pub struct EntryReader {
    core: Arc<Core>,
    buffers: Arc<ChunkBuffers>,
    chunks: Arc<[Chunk]>,
    size: u64,
    /// Chunks that the sequential reader has asked for.
    planned: usize,
    /// Requests in order, each with the bytes of content that it will yield.
    ahead: VecDeque<(u64, Fetching)>,
    /// Bytes of content in `ahead`, and the bound on them.
    ahead_bytes: u64,
    ahead_limit: u64,
    /// Content that has arrived and was not read yet.
    ready: VecDeque<Bytes>,
    /// Why the sequential reader cannot go on.
    failed: Option<ReadError>,
    /// The chunk that `read_at` needed last.
    cached: tokio::sync::Mutex<Option<(usize, Bytes)>>,
}

/// A chunk of a file: where in the content it begins, and where it is stored.
#[derive(Clone, Copy)]
struct Chunk {
    begin: u64,
    id: ObjectId,
    location: Location,
}

/// A request that is cancelled when nobody waits for it any more.
struct Fetching(JoinHandle<Result<Vec<Bytes>, ReadError>>);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl EntryReader {
    /// Looks up all chunks of a file.
    pub(crate) fn new(core: Arc<Core>, path: &EntryPath, node: &Node, read_ahead: usize) -> Result<Self, ReadError> {
        let mut chunks = Vec::with_capacity(node.content.len());
        let mut begin = 0;
        for id in &node.content {
            let location = core.locate(BlobKind::Data, id, || format!("entry {path:?}"))?;
            chunks.push(Chunk { begin, id: *id, location });
            begin += location.content_length();
        }
        if begin != node.size {
            let reason = format!("its content has {begin} bytes, but it says {}", node.size);
            return Err(Corruption {
                object: format!("the entry {path:?}"),
                blob: None,
                reason,
            }
            .into());
        }
        Ok(Self {
            core,
            buffers: Arc::default(),
            chunks: chunks.into(),
            size: begin,
            planned: 0,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            ahead_limit: read_ahead as u64,
            ready: VecDeque::new(),
            failed: None,
            cached: tokio::sync::Mutex::default(),
        })
    }

    /// Bytes of content.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes in sequence, at least one and at most `max`; `None` at the end.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] and failures of the store; a further call returns the same, never what is behind the damage.
    pub async fn read_next(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
        loop {
            if let Some(first) = self.ready.front_mut() {
                let part = first.split_to(max.max(1).min(first.len()));
                if first.is_empty() {
                    self.ready.pop_front();
                }
                if part.is_empty() {
                    continue;
                }
                return Ok(Some(part));
            }
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            self.plan();
            let Some((bytes, fetching)) = self.ahead.front_mut() else {
                return Ok(None);
            };
            let fetched = (&mut fetching.0)
                .await
                .unwrap_or_else(|error| Err(ReadError::Internal(error.to_string())));
            self.ahead_bytes -= *bytes;
            self.ahead.pop_front();
            match fetched {
                Ok(contents) => self.ready.extend(contents),
                Err(error) => {
                    self.ahead.clear();
                    self.failed = Some(error);
                }
            }
        }
    }

    /// Asks for what comes next, as far as memory and the store's concurrency allow; always for one request.
    fn plan(&mut self) {
        while self.planned < self.chunks.len() && self.ahead.len() < self.core.concurrency() {
            let first = self.chunks[self.planned];
            let mut group = Group::new(first.id, first.location);
            let rest = self.chunks[self.planned + 1..].iter();
            let more = rest.take_while(|chunk| group.extend(chunk.id, chunk.location, REQUEST)).count();
            if !self.ahead.is_empty() && self.ahead_bytes + group.content > self.ahead_limit {
                return;
            }
            self.planned += 1 + more;
            self.ahead_bytes += group.content;
            let bytes = group.content;
            self.ahead.push_back((
                bytes,
                Fetching(tokio::spawn(fetch(Arc::clone(&self.core), Arc::clone(&self.buffers), group))),
            ));
        }
    }

    /// Bytes at `offset`; fewer than `max` only at the end, `None` beyond it.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] and failures of the store.
    pub async fn read_at(&self, offset: u64, max: usize) -> Result<Option<Bytes>, ReadError> {
        if offset >= self.size {
            return Ok(None);
        }
        let wanted = (self.size - offset).min(max as u64) as usize;
        let mut chunk = self.chunks.partition_point(|chunk| chunk.begin <= offset).saturating_sub(1);
        let mut found = BytesMut::new();
        while found.len() < wanted {
            let content = self.chunk(chunk).await?;
            let skip = (offset + found.len() as u64 - self.chunks[chunk].begin) as usize;
            let part = content.slice(skip.min(content.len())..(skip + wanted - found.len()).min(content.len()));
            if part.len() == wanted {
                return Ok(Some(part));
            }
            found.extend_from_slice(&part);
            chunk += 1;
        }
        Ok(Some(found.freeze()))
    }

    /// One chunk, fetched unless it was the last one asked for.
    async fn chunk(&self, number: usize) -> Result<Bytes, ReadError> {
        let mut cached = self.cached.lock().await;
        if let Some((_, content)) = cached.as_ref().filter(|(cached, _)| *cached == number) {
            return Ok(content.clone());
        }
        let chunk = self.chunks[number];
        let fetched = fetch(
            Arc::clone(&self.core),
            Arc::clone(&self.buffers),
            Group::new(chunk.id, chunk.location),
        )
        .await?;
        let content = fetched.into_iter().next().unwrap_or_default();
        *cached = Some((number, content.clone()));
        Ok(content)
    }
}
