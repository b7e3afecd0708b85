//! [`EntryReader`]: the content of one file, in sequence with read-ahead, or anywhere.

use std::sync::{Arc, Mutex};

use bulkhead_model::EntryPath;
use bytes::{Bytes, BytesMut};

use crate::{
    buffers::ChunkBuffers,
    error::{Corruption, ReadError},
    format::node::Node,
    id::ObjectId,
    index::{BlobKind, Location},
    reader::{
        ahead::Ahead,
        fetch::{Window, fetch},
        recent::Recent,
        together::Together,
    },
    sync::lock,
    vault::Core,
};

/// A file open for reading. Every blob is compared with its hash before a byte of it is handed out.
pub struct EntryReader {
    core: Arc<Core>,
    buffers: Arc<ChunkBuffers>,
    chunks: Arc<[Chunk]>,
    size: u64,
    /// Chunks that the sequential reader has asked for.
    planned: usize,
    ahead: Ahead,
    /// What of a chunk was not read yet.
    rest: Bytes,
    /// The chunks that `read_at` needed last, of all files of the snapshot.
    recent: Arc<Mutex<Recent>>,
    /// What was fetched with other small files.
    together: Arc<tokio::sync::Mutex<Together>>,
}

/// A chunk of a file: where in the content it begins, and where it is stored.
#[derive(Clone, Copy)]
struct Chunk {
    begin: u64,
    id: ObjectId,
    location: Location,
}

impl EntryReader {
    /// Looks up all chunks of a file.
    pub(crate) fn new(
        core: Arc<Core>,
        buffers: Arc<ChunkBuffers>,
        recent: Arc<Mutex<Recent>>,
        together: Arc<tokio::sync::Mutex<Together>>,
        path: &EntryPath,
        node: &Node,
        read_ahead: usize,
    ) -> Result<Self, ReadError> {
        let mut chunks = Vec::with_capacity(node.content.len());
        let mut begin = 0;
        for id in &node.content {
            let location = core.locate(BlobKind::Data, id, || format!("entry {path:?}"))?;
            chunks.push(Chunk { begin, id: *id, location });
            begin += location.content_length();
        }
        check_size(path, begin, node.size)?;
        Ok(Self {
            ahead: Ahead::new(Arc::clone(&core), Arc::clone(&buffers), read_ahead),
            core,
            buffers,
            chunks: chunks.into(),
            size: begin,
            planned: 0,
            rest: Bytes::new(),
            recent,
            together,
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
        if let (0, [only]) = (self.planned, &*self.chunks)
            && let Some(content) = self.together.lock().await.content(&self.core, &self.buffers, &only.id).await
        {
            self.planned = 1;
            self.rest = content;
        }
        while self.rest.is_empty() {
            while let Some(chunk) = self.chunks.get(self.planned).filter(|_| self.ahead.has_room()) {
                self.ahead.add(chunk.id, chunk.location);
                self.planned += 1;
            }
            if self.planned == self.chunks.len() {
                self.ahead.send();
            }
            match self.ahead.next().await? {
                Some(content) => self.rest = content,
                None => return Ok(None),
            }
        }
        Ok(Some(self.rest.split_to(max.max(1).min(self.rest.len()))))
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

    /// One chunk, fetched unless it was asked for lately.
    async fn chunk(&self, number: usize) -> Result<Bytes, ReadError> {
        let chunk = self.chunks[number];
        if let Some(content) = lock(&self.recent).get(chunk.id) {
            return Ok(content);
        }
        let mut window = Window::default();
        window.add(chunk.id, chunk.location);
        let fetched = fetch(Arc::clone(&self.core), Arc::clone(&self.buffers), window).await?;
        let content = fetched.into_iter().next();
        let content = content.ok_or_else(|| ReadError::Internal(format!("the blob {} was asked for and did not come", chunk.id)))?;
        lock(&self.recent).put(chunk.id, content.clone());
        Ok(content)
    }
}

/// The chunks of a file must be as long as it says it is.
pub(crate) fn check_size(path: &EntryPath, found: u64, size: u64) -> Result<(), ReadError> {
    if found == size {
        return Ok(());
    }
    Err(Corruption {
        object: format!("the entry {path:?}"),
        blob: None,
        reason: format!("its content has {found} bytes, but it says {size}"),
    }
    .into())
}
