//! The plugin runtime's port for stored snapshots, over a vault's reader.

use async_trait::async_trait;
use bulkhead_model::{EntryPath, Fault, FaultKind};
use bulkhead_runtime::ports::{EntryReader, SnapshotEntry, SnapshotInfo, SnapshotStore, SnapshotWalk};
use bulkhead_vault::{self as vault, ReadError, SnapshotReader, SnapshotRecord};
use bytes::Bytes;

use crate::failure::fault_behind;

/// A stored snapshot with what was recorded about it.
pub(crate) struct VaultSnapshot {
    reader: SnapshotReader,
    record: Option<SnapshotRecord>,
}

impl VaultSnapshot {
    /// Opens `reader` for plugins; reads the snapshot's record.
    pub(crate) async fn open(reader: SnapshotReader) -> Result<Self, ReadError> {
        let record = reader.record().await?;
        Ok(Self { reader, record })
    }

    pub(crate) fn record(&self) -> Option<&SnapshotRecord> {
        self.record.as_ref()
    }
}

#[async_trait]
impl SnapshotStore for VaultSnapshot {
    fn info(&self) -> SnapshotInfo {
        let info = self.reader.info();
        let record = self.record.as_ref();
        SnapshotInfo {
            id: info.id.to_string(),
            time: info.time,
            facts: record.map(|record| record.proof.facts.clone()).unwrap_or_default(),
            checkpoint: record.and_then(|record| record.checkpoint.clone()).map(Bytes::from),
        }
    }

    async fn walk(&self, path: EntryPath) -> Result<Box<dyn SnapshotWalk>, Fault> {
        Ok(Box::new(VaultWalk(self.reader.walk_grouped(&path).await.map_err(read_fault)?)))
    }

    async fn stat(&self, path: EntryPath) -> Result<SnapshotEntry, Fault> {
        self.reader.stat(&path).await.map(entry).map_err(read_fault)
    }

    async fn open(&self, path: EntryPath) -> Result<Box<dyn EntryReader>, Fault> {
        Ok(Box::new(VaultEntryReader(self.reader.open(&path).await.map_err(read_fault)?)))
    }
}

fn entry(entry: vault::SnapshotEntry) -> SnapshotEntry {
    SnapshotEntry {
        path: entry.path,
        metadata: entry.metadata,
        size: entry.size,
    }
}

struct VaultWalk(vault::GroupedWalk);

#[async_trait]
impl SnapshotWalk for VaultWalk {
    async fn next(&mut self, max: usize) -> Result<Vec<SnapshotEntry>, Fault> {
        let mut entries = Vec::new();
        while entries.len() < max {
            match self.0.next().await.map_err(read_fault)? {
                Some(next) => entries.push(entry(next)),
                None => break,
            }
        }
        Ok(entries)
    }
}

struct VaultEntryReader(vault::EntryReader);

#[async_trait]
impl EntryReader for VaultEntryReader {
    fn size(&self) -> u64 {
        self.0.size()
    }

    async fn read(&mut self, max: usize) -> Result<Option<Bytes>, Fault> {
        self.0.read_next(max).await.map_err(read_fault)
    }

    async fn read_at(&mut self, offset: u64, max: usize) -> Result<Option<Bytes>, Fault> {
        self.0.read_at(offset, max).await.map_err(read_fault)
    }
}

/// What a plugin hears of a failure to read.
pub(crate) fn read_fault(error: ReadError) -> Fault {
    let kind = match &error {
        ReadError::NoSuchEntry { .. } | ReadError::NoSuchSnapshot(_) => FaultKind::NotFound,
        ReadError::NotAFile(_) => FaultKind::Conflict,
        ReadError::Corrupt(_) | ReadError::BlobMissing { .. } => FaultKind::Corrupt,
        _ => fault_behind(&error).map_or(FaultKind::Internal, |fault| fault.kind),
    };
    let mut fault = Fault::new(kind, error.to_string());
    fault.hint = vault::Hint::hint(&error);
    fault
}
