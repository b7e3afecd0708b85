//! Reading a stored snapshot: the port with the operation's limits.

use std::sync::Arc;

use bulkhead_model::{EntryPath, Fault, FaultKind};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Budget, transfer_size};
use crate::ports::{self, SnapshotEntry, SnapshotInfo, SnapshotStore};

/// Entries that one step of a walk returns at most.
const WALK_BATCH: usize = 1024;
/// Walks and readers that one operation may have open at once: each may hold decrypted blobs.
const MAX_OPEN: usize = 64;

/// The snapshot that an operation reads.
#[derive(Clone)]
pub struct Snapshot {
    store: Arc<dyn SnapshotStore>,
    budget: Arc<Budget>,
    places: Arc<Semaphore>,
}

/// A walk over the snapshot's entries.
pub struct Walk {
    walk: Box<dyn ports::SnapshotWalk>,
    budget: Arc<Budget>,
    _place: OwnedSemaphorePermit,
}

/// The content of one entry.
pub struct Reader {
    reader: Box<dyn ports::EntryReader>,
    budget: Arc<Budget>,
    _place: OwnedSemaphorePermit,
}

impl Snapshot {
    /// Over a port, within a budget.
    #[must_use]
    pub fn new(store: Arc<dyn SnapshotStore>, budget: Arc<Budget>) -> Self {
        let places = Arc::new(Semaphore::new(MAX_OPEN));
        Self { store, budget, places }
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let message = || format!("at most {MAX_OPEN} readers and walks of a snapshot are open at once");
        self.places
            .clone()
            .try_acquire_owned()
            .map_err(|_| Fault::new(FaultKind::Limit, message()))
    }

    /// What the snapshot says of itself.
    #[must_use]
    pub fn info(&self) -> SnapshotInfo {
        self.store.info()
    }

    /// Entries at and below `path`.
    ///
    /// # Errors
    /// `limit` (64 readers and walks are open), and what the port says.
    pub async fn walk(&self, path: EntryPath) -> Result<Walk, Fault> {
        let place = self.place()?;
        let walk = self.budget.within(self.store.walk(path)).await?;
        Ok(Walk {
            walk,
            budget: self.budget.clone(),
            _place: place,
        })
    }

    /// One entry.
    ///
    /// # Errors
    /// `not-found`, and what else the port says.
    pub async fn stat(&self, path: EntryPath) -> Result<SnapshotEntry, Fault> {
        self.budget.within(self.store.stat(path)).await
    }

    /// Opens a file's content.
    ///
    /// # Errors
    /// `not-found`, `limit` (64 readers and walks are open), and what else the port says.
    pub async fn open(&self, path: EntryPath) -> Result<Reader, Fault> {
        let place = self.place()?;
        let reader = self.budget.within(self.store.open(path)).await?;
        Ok(Reader {
            reader,
            budget: self.budget.clone(),
            _place: place,
        })
    }
}

impl Walk {
    /// Up to 1,024 further entries; empty at the end.
    ///
    /// # Errors
    /// What the port says.
    pub async fn next(&mut self) -> Result<Vec<SnapshotEntry>, Fault> {
        self.budget.within(self.walk.next(WALK_BATCH)).await
    }
}

impl Reader {
    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.reader.size()
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// `corrupt`, and what else the port says.
    pub async fn read(&mut self, max: u32) -> Result<Option<Bytes>, Fault> {
        self.budget.within(self.reader.read(transfer_size(max))).await
    }

    /// Bytes at an offset; `None` beyond the end.
    ///
    /// # Errors
    /// `corrupt`, and what else the port says.
    pub async fn read_at(&mut self, offset: u64, max: u32) -> Result<Option<Bytes>, Fault> {
        self.budget.within(self.reader.read_at(offset, transfer_size(max))).await
    }
}
