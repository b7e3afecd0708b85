//! Copying snapshots into another vault, with keys of its own: the blobs that it lacks, encrypted anew, and last the snapshot, which names the one it is
//! of (`original`), as restic does it.
//!
//! What the target has is looked up once more before a snapshot is stored: another copy may have stored it meanwhile. Two that store it at the same moment
//! leave two of one identity, which retention takes for one.
//!
//! A blob is named by its content, so that what an earlier copy, cut off or not, has stored is found again. All folders of a snapshot are read from its
//! source each time: that the target has a folder doesn't say that it has what is in it. Content is read in windows, some at once, so that memory is flat.

mod content;
mod folders;
mod present;

use std::{collections::HashSet, sync::Arc};

use crate::{
    buffers::ChunkBuffers,
    error::{Cause, CopyError, WriteError},
    format::time,
    id::ObjectId,
    index::BlobKind,
    lock::{Lock, Share},
    snapshots::SnapshotInfo,
    sync::lock,
    vault::{Core, Vault},
    writer::{BeginSnapshot, Run, RunStats, flush_index},
};
use content::Workshops;
use present::Present;

/// Copies snapshots of one vault into another, one after the other. Holds a lock in both: nobody prunes either of them meanwhile.
///
/// Dropping it ends what it does; [`Copier::close`] waits for that.
pub struct Copier {
    source: Arc<Core>,
    run: Arc<Run>,
    buffers: Arc<ChunkBuffers>,
    workshops: Arc<Workshops>,
    /// Read by whoever stores a blob: such work goes on when the snapshot that it was for has failed.
    storing: Arc<tokio::sync::RwLock<()>>,
    locks: Locks,
    /// Folders that are in the target with all below them: those of snapshots that were committed.
    whole: HashSet<ObjectId>,
    /// Snapshots that the target has.
    present: Present,
}

struct Locks {
    source: Lock,
    target: Lock,
}

impl Vault {
    /// Begins to copy snapshots of `source` into this vault.
    ///
    /// # Errors
    /// [`CopyError`]: one of the two is locked, can't be read, or is of the format's version 1, which is not written; or both are the same one.
    pub async fn copy_from(&self, source: &Self, host: &str) -> Result<Copier, CopyError> {
        if self.id() == source.id() {
            return Err(CopyError::SameVault { id: self.id().to_owned() });
        }
        self.expect_writable()?;
        let locks = Locks::take(&source.core, &self.core, host).await?;
        match self.begin_copy(source, host).await {
            Ok(run) => Ok(Copier::new(Arc::clone(&source.core), run, locks)),
            Err(error) => {
                locks.release().await;
                Err(error)
            }
        }
    }

    async fn begin_copy(&self, source: &Self, host: &str) -> Result<Arc<Run>, CopyError> {
        source.core.refresh_index().await?;
        self.core.refresh_index().await.map_err(WriteError::from)?;
        let begin = BeginSnapshot {
            pipeline: String::new(),
            host: host.to_owned(),
            time: time::now(),
            parent: None,
        };
        Ok(Run::start(Arc::clone(&self.core), self.options.clone(), begin)?)
    }
}

impl Locks {
    async fn take(source: &Arc<Core>, target: &Arc<Core>, host: &str) -> Result<Self, CopyError> {
        let source = Lock::take(source, host, Share::Others).await.map_err(CopyError::SourceLock)?;
        match Lock::take(target, host, Share::Others).await {
            Ok(target) => Ok(Self { source, target }),
            Err(error) => {
                source.release().await;
                Err(error.into())
            }
        }
    }

    async fn release(self) {
        tokio::join!(self.source.release(), self.target.release());
    }
}

impl Copier {
    fn new(source: Arc<Core>, run: Arc<Run>, locks: Locks) -> Self {
        for held in [locks.source.held(), locks.target.held()] {
            let run = Arc::downgrade(&run);
            held.on_loss(move |error| {
                if let Some(run) = run.upgrade() {
                    run.fail_with(error);
                }
            });
        }
        Self {
            source,
            workshops: Arc::new(Workshops::new(run.options.compression_level)),
            run,
            buffers: Arc::default(),
            storing: Arc::default(),
            locks,
            whole: HashSet::new(),
            present: Present::default(),
        }
    }

    /// Copies a snapshot: everything that the target lacks of it, then itself. `progress` is told of bytes of content as they are stored. Returns the
    /// target's snapshot, which may be one that was there, or that somebody else has stored meanwhile.
    ///
    /// # Errors
    /// [`CopyError`]; nothing is committed then. After [`CopyError::Source`] other snapshots can still be copied.
    pub async fn copy(&mut self, id: ObjectId, progress: &(dyn Fn(u64) + Sync)) -> Result<SnapshotInfo, CopyError> {
        let snapshot = self.source.load_snapshot(id).await?;
        let run = Arc::clone(&self.run);
        let folders = tokio::select! {
            biased;
            error = run.poison.wait() => return Err(error.into()),
            copied = self.copy_folders(snapshot.tree, progress) => copied?,
        };
        self.make_durable().await?;
        let copied = tokio::select! {
            biased;
            error = run.poison.wait() => return Err(error.into()),
            copied = self.commit(&snapshot) => copied?,
        };
        self.whole.extend(folders);
        Ok(copied)
    }

    /// What was stored so far; entries are not counted.
    #[must_use]
    pub fn stats(&self) -> RunStats {
        self.run.stats()
    }

    /// Everything that was stored is in packs, and the index names it.
    async fn make_durable(&self) -> Result<(), WriteError> {
        let _nobody_stores = self.storing.write().await;
        let run = Arc::clone(&self.run);
        let flushed = tokio::task::spawn_blocking(move || run.flush(BlobKind::Data).and_then(|()| run.flush(BlobKind::Tree)));
        flushed.await.unwrap_or_else(|error| Err(WriteError::Internal(error.to_string())))?;
        self.run.uploads.settle(&self.run).await;
        self.run.poison.check()?;
        flush_index(&self.run).await?;
        match lock(&self.run.claims).len() {
            0 => Ok(()),
            missing => Err(WriteError::Internal(format!("{missing} blobs never arrived in the store"))),
        }
    }

    /// Proves that the target has the whole snapshot, then stores it, unless it is there.
    async fn commit(&mut self, snapshot: &SnapshotInfo) -> Result<SnapshotInfo, CopyError> {
        folders::check(&self.run.core, snapshot.tree, &self.whole).await?;
        let mut fields = self.source.snapshot_fields(snapshot.id).await?;
        // It is a snapshot of the other vault.
        fields.remove("parent");
        self.locks.source.held().check().await.map_err(CopyError::SourceLock)?;
        if let Some(there) = self
            .present
            .find(&self.run.core, &snapshot.identity())
            .await
            .map_err(WriteError::from)?
        {
            return Ok(there);
        }
        let target = self.locks.target.held();
        let copied = self.run.core.store_successor(snapshot.id, fields, target).await?;
        Ok(self.run.core.load_snapshot(copied).await.map_err(WriteError::from)?)
    }

    /// Ends it: its threads and tasks are gone then, and its locks.
    pub async fn close(self) {
        self.run.fail(Cause::Committed);
        self.run.shut_down().await;
        self.locks.release().await;
    }
}
