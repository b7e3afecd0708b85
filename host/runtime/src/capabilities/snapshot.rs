//! Reading a stored snapshot: the port with the operation's limits.

use std::sync::Arc;

use bulkhead_model::{EntryPath, Fault};
use bytes::Bytes;

use super::{Budget, transfer_size};
use crate::ports::{self, SnapshotEntry, SnapshotInfo, SnapshotStore};

/// Entries that one step of a walk returns at most.
const WALK_BATCH: usize = 1024;

/// The snapshot that an operation reads.
#[derive(Clone)]
pub struct Snapshot {
    store: Arc<dyn SnapshotStore>,
    budget: Arc<Budget>,
}

/// A walk over the snapshot's entries.
pub struct Walk {
    walk: Box<dyn ports::SnapshotWalk>,
    budget: Arc<Budget>,
}

/// The content of one entry.
pub struct Reader {
    reader: Box<dyn ports::EntryReader>,
    budget: Arc<Budget>,
}

impl Snapshot {
    /// Over a port, within a budget.
    #[must_use]
    pub fn new(store: Arc<dyn SnapshotStore>, budget: Arc<Budget>) -> Self {
        Self { store, budget }
    }

    /// What the snapshot says of itself.
    #[must_use]
    pub fn info(&self) -> SnapshotInfo {
        self.store.info()
    }

    /// Entries at and below `path`.
    ///
    /// # Errors
    /// What the port says.
    pub async fn walk(&self, path: EntryPath) -> Result<Walk, Fault> {
        let walk = self.budget.within(self.store.walk(path)).await?;
        Ok(Walk {
            walk,
            budget: self.budget.clone(),
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
    /// `not-found`, and what else the port says.
    pub async fn open(&self, path: EntryPath) -> Result<Reader, Fault> {
        let reader = self.budget.within(self.store.open(path)).await?;
        Ok(Reader {
            reader,
            budget: self.budget.clone(),
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
