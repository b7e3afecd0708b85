//! The plugin runtime's port for entries, over a vault's writer.
//!
//! A continuous source commits as often as it likes: [`VaultEntries`] then puts the next writer in the place of the one that was committed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use bulkhead_model::{EntryMetadata, EntryPath, Fault, FaultKind, FinishedEntry, Proof};
use bulkhead_runtime::ports::{EntryStore, EntryWriter};
use bulkhead_vault::{self as vault, BeginSnapshot, CommittedSnapshot, SnapshotRecord, SnapshotWriter, Vault};
use bytes::Bytes;
use tokio::sync::{Mutex, watch};

use crate::{
    clock,
    failure::fault_behind,
    journal::Journal,
    proof::{self, ProofError, Stored},
};

/// Everything that commits of one run have in common.
#[derive(Debug, Clone)]
pub(crate) struct RecordTemplate {
    pub(crate) bulkhead_version: String,
    pub(crate) plugin: vault::PluginIdentity,
    pub(crate) config_digest: String,
    /// What the operator expects of the first snapshot.
    pub(crate) expect: bulkhead_config::Expectations,
    /// Bytes of the last run's snapshot, where the first one is compared with it.
    pub(crate) parent_bytes: Option<u64>,
}

impl RecordTemplate {
    pub(crate) fn record(&self, started: bulkhead_model::Timestamp, proof: Proof, checkpoint: Option<Bytes>) -> SnapshotRecord {
        SnapshotRecord {
            bulkhead_version: self.bulkhead_version.clone(),
            plugin: self.plugin.clone(),
            config_digest: Some(self.config_digest.clone()),
            started,
            proof,
            findings: Vec::new(),
            checkpoint: checkpoint.map(Vec::from),
        }
    }
}

/// Takes the entries of a run.
pub(crate) struct VaultEntries {
    vault: Vault,
    template: RecordTemplate,
    /// Serializes commits; what a commit needs to begin the next snapshot.
    begin: Mutex<BeginSnapshot>,
    writer: watch::Sender<Arc<SnapshotWriter>>,
    committed: std::sync::Mutex<Vec<CommittedSnapshot>>,
    checkpoint: std::sync::Mutex<Option<Bytes>>,
    /// Whether anything, with content or without, has come since the last commit.
    has_new: AtomicBool,
    /// Why a commit of the source was refused.
    refused: std::sync::Mutex<Option<ProofError>>,
    journal: Journal,
}

impl VaultEntries {
    pub(crate) async fn begin(
        vault: Vault,
        begin: BeginSnapshot,
        template: RecordTemplate,
        journal: Journal,
    ) -> Result<Self, vault::WriteError> {
        let writer = Arc::new(vault.begin(begin.clone()).await?);
        Ok(Self {
            vault,
            template,
            begin: Mutex::new(begin),
            writer: watch::Sender::new(writer),
            committed: std::sync::Mutex::default(),
            checkpoint: std::sync::Mutex::default(),
            has_new: AtomicBool::new(false),
            refused: std::sync::Mutex::default(),
            journal,
        })
    }

    /// The writer of the snapshot that is being written now.
    pub(crate) fn writer(&self) -> Arc<SnapshotWriter> {
        self.writer.borrow().clone()
    }

    /// Follows [`VaultEntries::writer`].
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<SnapshotWriter>> {
        self.writer.subscribe()
    }

    /// Snapshots that the source committed itself, oldest first.
    pub(crate) fn committed(&self) -> Vec<CommittedSnapshot> {
        self.committed.lock().map(|committed| committed.clone()).unwrap_or_default()
    }

    /// The checkpoint of the last of them.
    pub(crate) fn last_checkpoint(&self) -> Option<Bytes> {
        self.checkpoint.lock().ok().and_then(|checkpoint| checkpoint.clone())
    }

    /// Whether anything has come since the last commit: a folder is something, too.
    pub(crate) fn has_new(&self) -> bool {
        self.has_new.load(Ordering::Relaxed)
    }

    /// Why a snapshot that the source wanted to commit is not believed. It stays the reason whatever the source makes of it.
    pub(crate) fn refused(&self) -> Option<ProofError> {
        self.refused.lock().ok().and_then(|refused| refused.clone())
    }

    fn refuse(&self, error: ProofError) -> Fault {
        let (setting, hint) = error.advice();
        let mut fault = Fault::new(FaultKind::Conflict, error.to_string()).hint(hint);
        fault.setting = setting.map(str::to_owned);
        if let Ok(mut refused) = self.refused.lock() {
            refused.get_or_insert(error);
        }
        fault
    }

    /// Waits until the run has failed in the vault. A writer whose snapshot was committed has not failed: another one is about to take its place.
    pub(crate) async fn failed(&self) -> vault::WriteError {
        let mut writers = self.watch();
        loop {
            let writer = writers.borrow_and_update().clone();
            tokio::select! {
                biased;
                changed = writers.changed() => if changed.is_err() { std::future::pending::<()>().await },
                error = writer.failed() => {
                    if !is_committed(&error) {
                        return error;
                    }
                    if writers.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    }
}

#[async_trait]
impl EntryStore for VaultEntries {
    async fn create(&self, path: EntryPath, metadata: EntryMetadata) -> Result<Box<dyn EntryWriter>, Fault> {
        let writer = self.writer().create(path, metadata).await.map_err(write_fault)?;
        self.has_new.store(true, Ordering::Relaxed);
        Ok(Box::new(VaultEntryWriter(writer)))
    }

    async fn add(&self, path: EntryPath, metadata: EntryMetadata) -> Result<(), Fault> {
        self.writer().add(path, metadata).await.map_err(write_fault)?;
        self.has_new.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn keep(&self, path: EntryPath) -> Result<FinishedEntry, Fault> {
        let kept = self.writer().keep(path).await.map_err(write_fault)?;
        self.has_new.store(true, Ordering::Relaxed);
        Ok(kept)
    }

    async fn commit(&self, proof: Proof, checkpoint: Option<Bytes>) -> Result<String, Fault> {
        let mut begin = self.begin.lock().await;
        let writer = self.writer();
        let stats = writer.stats();
        let stored = Stored {
            entries: stats.entries,
            bytes: stats.bytes,
        };
        proof::agrees(&proof, stored).map_err(|error| self.refuse(error))?;
        if self.committed().is_empty() {
            proof::is_expected(&self.template.expect, stored, self.template.parent_bytes).map_err(|error| self.refuse(error))?;
        }
        let record = self.template.record(begin.time, proof, checkpoint.clone());
        // What comes on and on is as of now, and not of when the last commit let the next one begin.
        let committed = self.journal.commit(&writer, record, clock::now()).await.map_err(write_fault)?;
        self.has_new.store(false, Ordering::Relaxed);
        begin.parent = Some(committed.snapshot.id);
        begin.time = clock::now();
        let id = committed.snapshot.id.to_string();
        if let Ok(mut list) = self.committed.lock() {
            list.push(committed);
        }
        if let Ok(mut last) = self.checkpoint.lock() {
            *last = checkpoint;
        }
        let next = self.vault.begin_next(begin.clone()).await.map_err(write_fault)?;
        self.writer.send_replace(Arc::new(next));
        Ok(id)
    }
}

struct VaultEntryWriter(vault::EntryWriter);

#[async_trait]
impl EntryWriter for VaultEntryWriter {
    async fn write(&mut self, data: Bytes) -> Result<(), Fault> {
        self.0.write(data).await.map_err(write_fault)
    }

    async fn write_zeros(&mut self, length: u64) -> Result<(), Fault> {
        self.0.write_zeros(length).await.map_err(write_fault)
    }

    async fn finish(self: Box<Self>) -> Result<u64, Fault> {
        self.0.finish().await.map_err(write_fault)
    }
}

/// Whether it only says that its snapshot was committed.
pub(crate) fn is_committed(error: &vault::WriteError) -> bool {
    matches!(
        error,
        vault::WriteError::Cancelled {
            cause: vault::Cause::Committed
        }
    )
}

/// What a plugin hears of a failure in the vault: `cancelled` where the run has failed elsewhere, the sink's fault where it was that.
fn write_fault(error: vault::WriteError) -> Fault {
    use bulkhead_vault::WriteError;
    let kind = match &error {
        WriteError::Cancelled { .. } => FaultKind::Cancelled,
        WriteError::DuplicateEntry(_) => FaultKind::AlreadyExists,
        WriteError::NothingToKeep { .. } => FaultKind::NotFound,
        WriteError::ReservedPath(_) | WriteError::NotAFolder { .. } | WriteError::WrongType { .. } | WriteError::Unfinished(_) => {
            FaultKind::Conflict
        }
        WriteError::KeptContentMissing { .. } => FaultKind::Corrupt,
        WriteError::ObjectTooLarge { .. } => FaultKind::Limit,
        WriteError::Locked { .. } => FaultKind::Conflict,
        _ => fault_behind(&error).map_or(FaultKind::Internal, |fault| fault.kind),
    };
    let message = match &error {
        WriteError::Locked { by, .. } => format!("{error}: {by}"),
        _ => error.to_string(),
    };
    let mut fault = Fault::new(kind, message);
    fault.hint = vault::Hint::hint(&error);
    fault
}
