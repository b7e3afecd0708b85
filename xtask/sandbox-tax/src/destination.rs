//! Where entries go: into a vault, as in a real run, or into nothing, so that the way there is all that is measured.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_trait::async_trait;
use bulkhead_model::{EntryMetadata, EntryPath, Fault, FaultKind, FinishedEntry, Proof, Timestamp};
use bulkhead_runtime::ports::{EntryStore, EntryWriter};
use bulkhead_vault::stores::FolderStore;
use bulkhead_vault::{self as vault, BeginSnapshot, InitOptions, Password, SnapshotRecord, SnapshotWriter, Vault};
use bytes::Bytes;

use crate::failure::Failure;

/// What arrived.
#[derive(Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// A place for the entries of one backup.
pub(crate) struct Destination(Arc<Place>);

struct Place {
    snapshot: Option<SnapshotWriter>,
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl Destination {
    /// A new vault in `folder`, with a snapshot begun.
    pub(crate) async fn vault(folder: &Path) -> Result<Self, Failure> {
        let store = Arc::new(FolderStore::new(folder));
        let vault = Vault::init(store, &Password::new("benchmark"), InitOptions::default()).await?;
        let begin = BeginSnapshot {
            pipeline: "tax".to_owned(),
            host: "benchmark".to_owned(),
            time: Timestamp {
                seconds: 0,
                nanoseconds: 0,
            },
            parent: None,
        };
        Ok(Self::new(Some(vault.begin(begin).await?)))
    }

    /// Takes everything and keeps nothing.
    pub(crate) fn nothing() -> Self {
        Self::new(None)
    }

    fn new(snapshot: Option<SnapshotWriter>) -> Self {
        Self(Arc::new(Place {
            snapshot,
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }))
    }

    pub(crate) fn entries(&self) -> Arc<dyn EntryStore> {
        Arc::new(Entries(self.0.clone()))
    }

    pub(crate) fn stored(&self) -> Stored {
        Stored {
            entries: self.0.entries.load(Relaxed),
            bytes: self.0.bytes.load(Relaxed),
        }
    }

    /// Commits the snapshot, where there is one.
    pub(crate) async fn commit(&self) -> Result<(), Failure> {
        let Some(snapshot) = &self.0.snapshot else { return Ok(()) };
        let stored = self.stored();
        let record = SnapshotRecord {
            bulkhead_version: env!("CARGO_PKG_VERSION").to_owned(),
            plugin: vault::PluginIdentity {
                name: "postgres".to_owned(),
                version: String::new(),
                digest: String::new(),
            },
            config_digest: None,
            started: Timestamp {
                seconds: 0,
                nanoseconds: 0,
            },
            proof: Proof {
                entries: stored.entries,
                bytes: stored.bytes,
                complete: true,
                facts: Vec::new(),
            },
            findings: Vec::new(),
            checkpoint: None,
        };
        snapshot.commit(record).await?;
        Ok(())
    }
}

struct Entries(Arc<Place>);

#[async_trait]
impl EntryStore for Entries {
    async fn create(&self, path: EntryPath, metadata: EntryMetadata) -> Result<Box<dyn EntryWriter>, Fault> {
        let writer = match &self.0.snapshot {
            Some(snapshot) => Some(snapshot.create(path, metadata).await.map_err(fault)?),
            None => None,
        };
        Ok(Box::new(Writer {
            place: self.0.clone(),
            writer,
            bytes: 0,
        }))
    }

    async fn add(&self, path: EntryPath, metadata: EntryMetadata) -> Result<(), Fault> {
        match &self.0.snapshot {
            Some(snapshot) => snapshot.add(path, metadata).await.map_err(fault),
            None => Ok(()),
        }
    }

    async fn keep(&self, _path: EntryPath) -> Result<FinishedEntry, Fault> {
        Err(Fault::new(FaultKind::NotFound, "a first backup has nothing to keep"))
    }

    async fn commit(&self, _proof: Proof, _checkpoint: Option<Bytes>) -> Result<String, Fault> {
        Err(Fault::new(FaultKind::Unsupported, "only at the end"))
    }
}

struct Writer {
    place: Arc<Place>,
    writer: Option<vault::EntryWriter>,
    bytes: u64,
}

#[async_trait]
impl EntryWriter for Writer {
    async fn write(&mut self, data: Bytes) -> Result<(), Fault> {
        self.bytes += data.len() as u64;
        match &mut self.writer {
            Some(writer) => writer.write(data).await.map_err(fault),
            None => Ok(()),
        }
    }

    async fn write_zeros(&mut self, length: u64) -> Result<(), Fault> {
        self.bytes += length;
        match &mut self.writer {
            Some(writer) => writer.write_zeros(length).await.map_err(fault),
            None => Ok(()),
        }
    }

    async fn finish(self: Box<Self>) -> Result<u64, Fault> {
        if let Some(writer) = self.writer {
            writer.finish().await.map_err(fault)?;
        }
        self.place.entries.fetch_add(1, Relaxed);
        self.place.bytes.fetch_add(self.bytes, Relaxed);
        Ok(self.bytes)
    }
}

fn fault(error: vault::WriteError) -> Fault {
    Fault::new(FaultKind::Io, error.to_string()).caused_by(&error)
}
