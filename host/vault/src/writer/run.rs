//! [`Run`]: what the writers, threads and tasks of one run share.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use tokio::{runtime::Handle, sync::Semaphore};

use crate::{
    buffers::ChunkBuffers,
    chunker::MAX_CHUNK,
    error::{Cause, WriteError},
    id::ObjectId,
    index::BlobKind,
    options::VaultOptions,
    sync::{lock, read},
    vault::Core,
    writer::{
        buffers::PackMemory,
        packer::Packer,
        poison::Poison,
        queue::{Job, Queue},
        snapshot_writer::BeginSnapshot,
        trees::Entries,
        uploads::Uploads,
        workshop::Workshop,
    },
};

/// The shared state of a run.
pub(crate) struct Run {
    pub(crate) core: Arc<Core>,
    pub(crate) options: VaultOptions,
    pub(crate) begin: BeginSnapshot,
    pub(crate) poison: Poison,
    pub(crate) queue: Queue,
    /// Bytes of chunks in the queue and with the workers. All of it is free when no chunk is on its way.
    pub(crate) memory: Arc<Semaphore>,
    /// Bytes in buffers of entries, beyond what each may have anyway.
    pub(crate) partial: AtomicUsize,
    pub(crate) chunk_buffers: ChunkBuffers,
    /// Blobs that this run has taken on itself to store, and that no index file names yet.
    pub(crate) claims: Mutex<HashSet<(BlobKind, ObjectId)>>,
    pub(crate) packer: Packer,
    pub(crate) uploads: Uploads,
    pub(crate) entries: Mutex<Entries>,
    /// Entries that were begun and not finished.
    pub(crate) open_entries: AtomicU64,
    /// Whether the snapshot itself may be in the store.
    pub(crate) may_be_committed: AtomicBool,
    pub(crate) progress: Progress,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Counters of a run.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) entries: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) added_bytes: AtomicU64,
    pub(crate) stored_bytes: AtomicU64,
}

impl Run {
    /// Begins: memory, counters and worker threads.
    pub(crate) fn start(core: Arc<Core>, options: VaultOptions, begin: BeginSnapshot) -> Result<Arc<Self>, WriteError> {
        let limit = core.traits.max_object_size;
        let target = usize::try_from(limit / 2).unwrap_or(usize::MAX).min(options.pack_size);
        let memory = PackMemory::new(options.pack_memory);
        let concurrency = usize::try_from(core.traits.concurrency)
            .unwrap_or(usize::MAX)
            .min(Semaphore::MAX_PERMITS);
        let run = Arc::new(Self {
            poison: Poison::default(),
            queue: Queue::default(),
            memory: Arc::new(Semaphore::new(options.content_memory)),
            partial: AtomicUsize::new(0),
            chunk_buffers: ChunkBuffers::default(),
            claims: Mutex::default(),
            packer: Packer::new(memory, target, limit),
            uploads: Uploads::new(concurrency, Handle::current()),
            entries: Mutex::new(Entries::new(begin.time, options.scratch.clone())),
            open_entries: AtomicU64::new(0),
            may_be_committed: AtomicBool::new(false),
            progress: Progress::default(),
            threads: Mutex::default(),
            core,
            options,
            begin,
        });
        run.start_threads()?;
        Ok(run)
    }

    fn start_threads(self: &Arc<Self>) -> Result<(), WriteError> {
        for _ in 0..self.options.threads {
            let run = Arc::clone(self);
            let started = std::thread::Builder::new()
                .name("vault-writer".to_owned())
                .spawn(move || run.work());
            match started {
                Ok(thread) => lock(&self.threads).push(thread),
                Err(error) => {
                    let error = WriteError::Internal(format!("a thread could not be started: {error}"));
                    self.fail_with(error.clone());
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// A worker thread's life.
    fn work(self: &Arc<Self>) {
        let _guard = PanicGuard(self);
        let mut workshop = match Workshop::new(self.options.compression_level) {
            Ok(workshop) => workshop,
            Err(error) => return self.fail_with(error),
        };
        while let Some(job) = self.queue.pop() {
            let stored = self.store_blob(BlobKind::Data, &job.data, &mut workshop);
            if let Err(error) = stored.and_then(|id| self.complete(job, id)) {
                return self.fail_with(error);
            }
        }
    }

    fn complete(&self, job: Job, id: ObjectId) -> Result<(), WriteError> {
        job.content.set(job.ordinal, id);
        if let Some((size, ids)) = job.content.release() {
            lock(&self.entries).set_content(job.content.entry, size, &ids)?;
        }
        self.chunk_buffers.put(job.data);
        drop(job.memory);
        Ok(())
    }

    /// Names a blob and, where neither the vault nor this run has it, stores it. Blocks while all pack buffers are in use.
    pub(crate) fn store_blob(self: &Arc<Self>, kind: BlobKind, content: &[u8], workshop: &mut Workshop) -> Result<ObjectId, WriteError> {
        let id = ObjectId::of(content);
        if !self.claim(kind, id) {
            return Ok(id);
        }
        let blob = workshop.seal(&self.core.key, content)?;
        let packs = self
            .packer
            .append(&self.core.key, kind, id, &blob)
            .map_err(|error| self.pack_error(error))?;
        packs.into_iter().for_each(|pack| self.uploads.start(self, pack));
        self.progress.added_bytes.fetch_add(content.len() as u64, Ordering::Relaxed);
        Ok(id)
    }

    /// Whether neither the vault nor this run has a blob.
    pub(crate) fn lacks(&self, kind: BlobKind, id: ObjectId) -> bool {
        let claims = lock(&self.claims);
        !claims.contains(&(kind, id)) && !read(&self.core.index).has(kind, &id)
    }

    /// Whether this run is the first to see a blob. The index is asked under the lock on the claims: what leaves these is in that already.
    fn claim(&self, kind: BlobKind, id: ObjectId) -> bool {
        let mut claims = lock(&self.claims);
        !claims.contains(&(kind, id)) && !read(&self.core.index).has(kind, &id) && claims.insert((kind, id))
    }

    /// Stores the begun pack of this kind.
    pub(crate) fn flush(self: &Arc<Self>, kind: BlobKind) -> Result<(), WriteError> {
        let pack = self.packer.flush(&self.core.key, kind).map_err(|error| self.pack_error(error))?;
        pack.into_iter().for_each(|pack| self.uploads.start(self, pack));
        Ok(())
    }

    fn pack_error(&self, error: crate::writer::packer::PackError) -> WriteError {
        error.into_write_error(self.poison.error(), self.core.store.location(), self.core.traits.max_object_size)
    }

    /// Fails the run for `cause`, if it has not failed before, and wakes everyone who waits.
    pub(crate) fn fail(&self, cause: Cause) {
        if self.poison.set(cause) {
            self.memory.close();
            self.queue.close();
            self.packer.close();
        }
    }

    /// Fails the run because of an error; one that only passes on the failure changes nothing.
    pub(crate) fn fail_with(&self, error: WriteError) {
        match error {
            WriteError::Cancelled { cause } => self.fail(cause),
            error => self.fail(Cause::Failed(Arc::new(error))),
        }
    }

    /// Waits until all chunks on their way have become blobs: then all memory is free.
    pub(crate) async fn drain(&self) -> Result<(), WriteError> {
        let all = u32::try_from(self.options.content_memory.max(MAX_CHUNK)).unwrap_or(u32::MAX);
        self.memory.acquire_many(all).await.map(drop).map_err(|_| self.poison.error())
    }

    /// Ends threads and tasks, and waits for them.
    pub(crate) async fn shut_down(&self) {
        self.queue.close();
        let threads = std::mem::take(&mut *lock(&self.threads));
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().all(|thread| thread.join().is_ok()));
        if !matches!(joined.await, Ok(true)) {
            tracing::error!("a thread of the vault's writer panicked");
        }
        self.uploads.settle(self).await;
    }
}

/// Fails the run when its thread panics, so that nobody waits for it.
struct PanicGuard<'r>(&'r Run);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0
                .fail_with(WriteError::Internal("a thread of the vault's writer panicked".to_owned()));
        }
    }
}
