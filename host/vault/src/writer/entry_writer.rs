//! [`EntryWriter`]: the bytes of one entry, cut into chunks as they come.

use std::sync::{Arc, atomic::Ordering};

use bulkhead_model::EntryPath;
use bytes::Bytes;

use crate::{
    buffers::{self, STEP},
    chunker::MIN_CHUNK,
    error::{Cause, WriteError},
    id::ObjectId,
    sync::lock,
    writer::{content::Content, queue::Job, run::Run},
};

/// Bytes that each entry may hold without asking: so that 64 entries at once cannot bring each other to a halt.
const OWN_BYTES: usize = 128 << 10;
/// Bytes that a chunk on its way takes besides its content: so that many tiny ones are bounded as well.
const JOB_BYTES: usize = 512;
/// Chunks of one entry: 128 MiB of names in memory; 2 TiB of zeros, about 6 TiB of other content.
const MAX_CHUNKS: usize = 4 << 20;
/// Whole chunks of zeros between two turns of other tasks.
const ZEROS_PER_TURN: u64 = 64;
/// Room for the chunks of an entry that had one already: most fit, and need not be copied when they grow.
const NEXT_CHUNK: usize = 2 << 20;

/// A file being written. Dropping it before [`EntryWriter::finish`] fails the run.
pub struct EntryWriter {
    run: Arc<Run>,
    content: Arc<Content>,
    path: EntryPath,
    /// The chunk that is being collected.
    chunk: Vec<u8>,
    /// Bytes of it that have no end among them.
    scanned: usize,
    /// Bytes of it that are accounted for in the run's `partial`.
    accounted: usize,
    size: u64,
    /// Bytes of it that are in chunks which were handed on.
    submitted: u64,
    /// Set while a call is at work: one that was dropped leaves it set, and may have taken a chunk with it.
    broken: bool,
    finished: bool,
    /// The name of [`MIN_CHUNK`] zeros, once this entry has had one.
    zeros: Option<ObjectId>,
}

impl EntryWriter {
    pub(crate) fn new(run: Arc<Run>, path: EntryPath, entry: u32) -> Self {
        run.open_entries.fetch_add(1, Ordering::AcqRel);
        let content = Arc::new(Content::new(entry));
        Self {
            run,
            content,
            path,
            chunk: Vec::new(),
            scanned: 0,
            accounted: 0,
            size: 0,
            submitted: 0,
            broken: false,
            finished: false,
            zeros: None,
        }
    }

    /// Appends; waits while the vault is slower than the source. Dropping the future before it has ended fails the run on the next call.
    ///
    /// # Errors
    /// [`WriteError::Cancelled`] when the run has failed, here or elsewhere.
    pub async fn write(&mut self, data: Bytes) -> Result<(), WriteError> {
        self.enter()?;
        // Between two steps, other tasks and a failed run get their turn.
        for step in data.chunks(STEP) {
            self.run.poison.check()?;
            self.append(step).await?;
        }
        self.broken = false;
        Ok(())
    }

    /// Begins a call. Fails the run when the call before it was dropped midway.
    fn enter(&mut self) -> Result<(), WriteError> {
        if self.broken {
            self.run.fail(Cause::CallDropped(self.path.clone()));
        }
        self.run.poison.check()?;
        self.broken = true;
        Ok(())
    }

    /// Appends `length` zero bytes, in constant memory; whole chunks of zeros are hashed once.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn write_zeros(&mut self, length: u64) -> Result<(), WriteError> {
        self.enter()?;
        let mut left = length;
        let zeros = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(MIN_CHUNK)];
        while left > 0 {
            self.run.poison.check()?;
            // A begun chunk is filled up to the least that it may have: there it ends, and whole chunks of zeros follow.
            let most = match self.chunk.len() {
                0 => MIN_CHUNK,
                begun if begun < MIN_CHUNK => (MIN_CHUNK - begun).min(STEP),
                _ => STEP,
            };
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len()).min(most);
            if let Some(id) = self.zeros.filter(|_| self.chunk.is_empty() && step == MIN_CHUNK) {
                // Zeros are cut at the minimum: where the fingerprint is 0, so is every bit that is asked for.
                let ordinal = self.content.push(id);
                self.refuse_endless(ordinal)?;
                self.count(step);
                self.submitted += step as u64;
                if (ordinal as u64).is_multiple_of(ZEROS_PER_TURN) {
                    tokio::task::yield_now().await;
                }
            } else {
                let whole = self.chunk.is_empty() && step == MIN_CHUNK;
                self.append(&zeros[..step]).await?;
                self.zeros = self.zeros.or_else(|| whole.then(|| ObjectId::of(&zeros)));
            }
            left -= step as u64;
        }
        self.broken = false;
        Ok(())
    }

    /// Ends the entry; returns its bytes. Its content may still be on its way: commit waits for it.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn finish(mut self) -> Result<u64, WriteError> {
        self.enter()?;
        if !self.chunk.is_empty() {
            let chunk = std::mem::take(&mut self.chunk);
            self.submit(chunk).await?;
        }
        if self.submitted != self.size {
            let reason = format!("{:?} has {} bytes, but its chunks have {}", self.path, self.size, self.submitted);
            let error = WriteError::Internal(reason);
            self.run.fail_with(error.clone());
            return Err(error);
        }
        self.finished = true;
        if let Some((size, ids)) = self.content.finish(self.size) {
            lock(&self.run.entries).set_content(self.content.entry, size, &ids)?;
        }
        self.run.progress.entries.fetch_add(1, Ordering::Relaxed);
        self.run.open_entries.fetch_sub(1, Ordering::AcqRel);
        Ok(self.size)
    }

    /// Bytes written so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fails the run when an entry has more chunks than it may.
    fn refuse_endless(&self, ordinal: usize) -> Result<(), WriteError> {
        if ordinal < MAX_CHUNKS {
            return Ok(());
        }
        let error = WriteError::TooManyChunks {
            path: self.path.clone(),
            size: self.size,
            limit: MAX_CHUNKS,
        };
        self.run.fail_with(error.clone());
        Err(error)
    }

    fn count(&mut self, bytes: usize) {
        self.size += bytes as u64;
        self.run.progress.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Adds to the chunk, and hands on every chunk that this ends.
    async fn append(&mut self, data: &[u8]) -> Result<(), WriteError> {
        self.count(data.len());
        if !self.account(data.len()) && !self.chunk.is_empty() {
            let chunk = std::mem::take(&mut self.chunk);
            self.submit(chunk).await?;
        }
        self.reserve(data.len());
        self.chunk.extend_from_slice(data);
        while let Some(end) = self.run.core.chunker.find_end(&self.chunk, self.scanned) {
            let rest = &self.chunk[end..];
            let mut next = self.run.chunk_buffers.take(rest.len());
            next.extend_from_slice(rest);
            let mut chunk = std::mem::replace(&mut self.chunk, next);
            chunk.truncate(end);
            self.submit(chunk).await?;
            self.account(0);
        }
        self.scanned = self.chunk.len();
        Ok(())
    }

    /// Makes room: exactly what a small entry needs, a buffer of the pool for others.
    fn reserve(&mut self, more: usize) {
        let needed = self.chunk.len() + more;
        if needed <= self.chunk.capacity() || needed <= OWN_BYTES {
            self.chunk.reserve(more);
            return;
        }
        let least = if self.submitted > 0 { NEXT_CHUNK } else { 0 };
        let mut larger = self.run.chunk_buffers.take(needed.max(least));
        larger.extend_from_slice(&self.chunk);
        self.run.chunk_buffers.put(std::mem::replace(&mut self.chunk, larger));
    }

    /// Brings the run's account of buffered bytes up to date with `more` to come. Says whether there is memory for it.
    fn account(&mut self, more: usize) -> bool {
        let needed = buffers::size_for(self.chunk.len() + more).saturating_sub(OWN_BYTES);
        let before = self.run.partial.fetch_add(needed, Ordering::Relaxed);
        self.run.partial.fetch_sub(self.accounted, Ordering::Relaxed);
        let fits = before + needed <= self.run.options.partial_memory + self.accounted;
        self.accounted = needed;
        fits
    }

    /// Hands a chunk to the workers, once there is memory for it.
    async fn submit(&mut self, data: Vec<u8>) -> Result<(), WriteError> {
        self.scanned = 0;
        let bytes = (data.capacity() + JOB_BYTES).min(self.run.options.content_memory);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let memory = Arc::clone(&self.run.memory)
            .acquire_many_owned(bytes)
            .await
            .map_err(|_| self.run.poison.error())?;
        self.submitted += data.len() as u64;
        let ordinal = self.content.reserve();
        self.refuse_endless(ordinal)?;
        let job = Job {
            data,
            content: Arc::clone(&self.content),
            ordinal,
            memory,
        };
        self.run.queue.push(job).map_err(|_| self.run.poison.error())
    }
}

impl Drop for EntryWriter {
    fn drop(&mut self) {
        self.run.partial.fetch_sub(self.accounted, Ordering::Relaxed);
        if !self.finished {
            self.run.fail(Cause::EntryDropped(self.path.clone()));
        }
    }
}
