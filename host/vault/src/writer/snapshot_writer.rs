//! [`SnapshotWriter`]: one run, as its caller sees it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use bulkhead_model::{EntryMetadata, EntryPath, FinishedEntry, NodeType, Timestamp};

use crate::{
    access,
    error::{Cause, WriteError},
    id::ObjectId,
    lock::{Held, Lock, Room, Share},
    reader::SnapshotReader,
    record::{RESERVED_FOLDER, SnapshotRecord},
    snapshots::SnapshotInfo,
    sync::lock,
    vault::Vault,
    verification::{Verification, VerificationRecord},
    writer::{
        commit,
        entry_writer::EntryWriter,
        keep,
        run::Run,
        trees::{Entries, Inserted, KeptFolder, Refused},
    },
};

/// The time of the files of records, before all backups: whoever asks a tool for the latest snapshot wants one of those.
const TIME_OF_RECORDS: Timestamp = Timestamp {
    seconds: 0,
    nanoseconds: 0,
};

/// What a run writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeginSnapshot {
    /// The pipeline.
    pub pipeline: String,
    /// This host's name.
    pub host: String,
    /// The snapshot's time, unless its commit has another; also the time of entries without one of their own.
    pub time: Timestamp,
    /// The snapshot that [`SnapshotWriter::keep`] carries entries forward from.
    pub parent: Option<ObjectId>,
}

/// What a run has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunStats {
    /// Files finished or kept; Bulkhead's own entries are not counted.
    pub entries: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Bytes of content (and, after the commit, of trees) that the vault did not have.
    pub added_bytes: u64,
    /// Bytes of packs that are in the store.
    pub stored_bytes: u64,
}

/// What a run committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedSnapshot {
    /// The snapshot.
    pub snapshot: SnapshotInfo,
    /// What it took.
    pub stats: RunStats,
}

/// A run: entries in any order, several at once, then one commit.
///
/// All methods take `&self`, so that it can be shared. Dropping it without a commit cancels the run; its threads, tasks and lock then go away by
/// themselves, and [`SnapshotWriter::abort`] is how to wait for that.
pub struct SnapshotWriter {
    run: Arc<Run>,
    parent: Option<SnapshotReader>,
    lock: Mutex<Option<Lock>>,
    held: Arc<Held>,
    committing: AtomicBool,
}

impl Vault {
    /// Begins a run: takes a lock, brings the index up to date, starts threads.
    ///
    /// # Errors
    /// [`WriteError::Locked`] when another tool works alone in the repository; [`WriteError::OldFormat`]; failures of the store.
    pub async fn begin(&self, begin: BeginSnapshot) -> Result<SnapshotWriter, WriteError> {
        self.expect_writable()?;
        let lock = Lock::take(&self.core, &begin.host, Share::Others).await?;
        match self.begin_locked(begin).await {
            Ok((run, parent)) => Ok(SnapshotWriter {
                held: watch(&lock, &run),
                run,
                parent,
                lock: Mutex::new(Some(lock)),
                committing: AtomicBool::new(false),
            }),
            Err(error) => {
                lock.release().await;
                Err(error)
            }
        }
    }

    /// The same for one who has just committed, and goes on: lets those work first who are alone in the vault, or [wait](crate::PruneOptions::patience) to be while nobody else is at work: for five minutes at most.
    ///
    /// # Errors
    /// As [`Self::begin`]: [`WriteError::Locked`] where somebody is alone in the vault for longer.
    pub async fn begin_next(&self, begin: BeginSnapshot) -> Result<SnapshotWriter, WriteError> {
        let room = Room::new();
        loop {
            room.make(&self.core, &begin.host).await?;
            match self.begin(begin.clone()).await {
                Err(WriteError::Locked { .. }) if !room.is_over() => {}
                begun => return begun,
            }
        }
    }

    /// Keeps what a verification found, in a record of its own that is later than all that are there, whatever the clock says. Returns the record's id.
    ///
    /// # Errors
    /// As [`Self::begin`]; nothing is kept then.
    pub async fn record_verification(&self, found: Verification, host: &str) -> Result<ObjectId, WriteError> {
        let ids = access::list_ids(&*self.core.store, "snapshots/").await?;
        let record = VerificationRecord::after(&self.core.load_snapshots(ids, true).await?, found);
        let writer = self
            .begin(BeginSnapshot {
                pipeline: String::new(),
                host: host.to_owned(),
                time: TIME_OF_RECORDS,
                parent: None,
            })
            .await?;
        let recorded = commit::commit_verification(&writer.run, &record, &writer.held).await;
        writer.abort().await;
        recorded.map(|record| record.id)
    }

    async fn begin_locked(&self, begin: BeginSnapshot) -> Result<(Arc<Run>, Option<SnapshotReader>), WriteError> {
        let parent = match begin.parent {
            Some(parent) => Some(self.read(parent).await?),
            None => {
                self.core.refresh_index().await?;
                None
            }
        };
        Ok((Run::start(Arc::clone(&self.core), self.options.clone(), begin)?, parent))
    }
}

impl SnapshotWriter {
    /// Begins a file.
    ///
    /// # Errors
    /// A path that is reserved, taken, or below something that is not a folder fails the run.
    pub async fn create(&self, path: EntryPath, metadata: EntryMetadata) -> Result<EntryWriter, WriteError> {
        if metadata.node_type != NodeType::File {
            return Err(self.mistake(wrong_type(path, &metadata.node_type, "a file")));
        }
        let then = |entry| EntryWriter::new(Arc::clone(&self.run), path.clone(), entry);
        self.insert(&path, |entries| entries.insert(&path, &metadata), then).await
    }

    /// Adds an entry without content: a folder, a link, a device.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn add(&self, path: EntryPath, metadata: EntryMetadata) -> Result<(), WriteError> {
        if metadata.node_type == NodeType::File {
            return Err(self.mistake(wrong_type(path, &metadata.node_type, "an entry without content")));
        }
        self.insert(&path, |entries| entries.insert(&path, &metadata), drop).await
    }

    /// Carries the entry at `path`, and all below it, forward from the parent snapshot, unread; returns the number and the bytes of all files
    /// in it. That all of its blobs are still in the vault is checked.
    ///
    /// Below a folder that was kept, entries can be added; one that it has already takes the other's place (files count once then, with their new
    /// bytes), unless just one of the two is a folder. What a kept folder has cannot be removed: keep what is in it one by one instead.
    ///
    /// # Errors
    /// [`WriteError::NothingToKeep`] and [`WriteError::KeptContentMissing`] do not fail the run: the entry can still be written anew.
    pub async fn keep(&self, path: EntryPath) -> Result<FinishedEntry, WriteError> {
        self.run.poison.check()?;
        if is_reserved(&path) {
            return Err(self.mistake(WriteError::ReservedPath(path)));
        }
        let parent = self
            .parent
            .as_ref()
            .ok_or_else(|| WriteError::NothingToKeep { path: path.clone() })?;
        let kept = tokio::select! {
            biased;
            error = self.run.poison.wait() => Err(error),
            kept = keep::find(parent, &path) => kept,
        }?;
        let count = |_| {
            self.run.progress.entries.fetch_add(kept.files, Ordering::Relaxed);
            self.run.progress.bytes.fetch_add(kept.bytes, Ordering::Relaxed);
        };
        self.insert(&path, |entries| entries.insert_kept(&path, &kept.node), count).await?;
        Ok(FinishedEntry {
            entries: kept.files,
            size: kept.bytes,
            digest: None,
        })
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> RunStats {
        self.run.stats()
    }

    /// Waits until the run has failed: the moment to stop the source. Does not end on a run that doesn't fail.
    pub async fn failed(&self) -> WriteError {
        self.run.poison.wait().await
    }

    /// Makes everything durable and, last of all, the snapshot, with the time at which this writer began. The writer is spent afterwards, whatever came of it.
    ///
    /// # Errors
    /// [`WriteError::Unfinished`] while entries are being written; what went wrong here or anywhere before. Nothing is committed then, unless
    /// [`SnapshotWriter::may_be_committed`] says that nobody knows.
    pub async fn commit(&self, record: SnapshotRecord) -> Result<CommittedSnapshot, WriteError> {
        self.commit_as_of(record, self.run.begin.time).await
    }

    /// The same, with another time of the snapshot: that of a source which writes on and on is when it commits.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn commit_as_of(&self, record: SnapshotRecord, time: Timestamp) -> Result<CommittedSnapshot, WriteError> {
        if self.committing.swap(true, Ordering::AcqRel) {
            return Err(WriteError::Internal("the snapshot was committed or aborted before".to_owned()));
        }
        let committed = commit::commit(&self.run, record, time, &self.held).await;
        if let Err(error) = &committed {
            self.run.fail_with(error.clone());
        }
        self.end().await;
        self.run.fail(Cause::Committed);
        committed
    }

    /// Whether the snapshot may be in the vault though its commit failed: its last step had begun, and how that ended is not known.
    #[must_use]
    pub fn may_be_committed(&self) -> bool {
        self.run.may_be_committed.load(Ordering::Acquire)
    }

    /// Fails where the run has failed.
    ///
    /// # Errors
    /// The first failure, wherever it was.
    pub fn check(&self) -> Result<(), WriteError> {
        self.run.poison.check()
    }

    /// Cancels the run, and waits until its threads and tasks are gone and its lock is removed.
    pub async fn abort(&self) {
        self.committing.store(true, Ordering::Release);
        self.run.fail(Cause::Aborted);
        self.end().await;
    }

    async fn end(&self) {
        self.run.shut_down().await;
        let held = lock(&self.lock).take();
        if let Some(held) = held {
            held.release().await;
        }
    }

    /// Adds an entry, and does `then` with its number before a commit can begin.
    async fn insert<T>(
        &self,
        path: &EntryPath,
        mut add: impl FnMut(&mut Entries) -> Result<Inserted, Refused>,
        then: impl FnOnce(u32) -> T,
    ) -> Result<T, WriteError> {
        self.run.poison.check()?;
        if is_reserved(path) {
            return Err(self.mistake(WriteError::ReservedPath(path.clone())));
        }
        loop {
            let folder = {
                let mut entries = lock(&self.run.entries);
                match add(&mut entries) {
                    Ok(inserted) => {
                        if let Some(bytes) = inserted.replaced {
                            self.run.progress.entries.fetch_sub(1, Ordering::Relaxed);
                            self.run.progress.bytes.fetch_sub(bytes, Ordering::Relaxed);
                        }
                        return Ok(then(inserted.number));
                    }
                    Err(Refused::Mistake(error)) => Err(error),
                    Err(Refused::Kept(folder)) => Ok(folder),
                }
            };
            let folder = folder.map_err(|error| self.mistake(error))?;
            self.unfold(&folder).await.map_err(|error| self.mistake(error))?;
        }
    }

    /// Adds what is in a folder that was kept whole.
    async fn unfold(&self, folder: &KeptFolder) -> Result<(), WriteError> {
        let nodes = tokio::select! {
            biased;
            error = self.run.poison.wait() => return Err(error),
            nodes = self.run.core.load_tree(&folder.tree) => nodes?,
        };
        lock(&self.run.entries).unfold(folder, &nodes)
    }

    /// Fails the run with the caller's own mistake; one that comes too late does not stop the commit, which does not contain it.
    fn mistake(&self, error: WriteError) -> WriteError {
        if !matches!(error, WriteError::TooLate(_)) {
            self.run.fail_with(error.clone());
        }
        error
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        self.run.fail(Cause::RunDropped);
    }
}

/// Fails the run when its lock is lost.
fn watch(lock: &Lock, run: &Arc<Run>) -> Arc<Held> {
    let run = Arc::downgrade(run);
    lock.held().on_loss(move |error| {
        if let Some(run) = run.upgrade() {
            run.fail_with(error);
        }
    });
    Arc::clone(lock.held())
}

/// Whether a path is the root or Bulkhead's own.
fn is_reserved(path: &EntryPath) -> bool {
    path.components().next().is_none_or(|first| first == RESERVED_FOLDER.as_bytes())
}

fn wrong_type(path: EntryPath, found: &NodeType, needed: &'static str) -> WriteError {
    let found = match found {
        NodeType::File => "a file",
        NodeType::Directory => "a folder",
        NodeType::Symlink(_) => "a symbolic link",
        NodeType::Fifo => "a named pipe",
        NodeType::Socket => "a socket",
        NodeType::CharacterDevice(_) | NodeType::BlockDevice(_) => "a device",
    };
    WriteError::WrongType { path, found, needed }
}
