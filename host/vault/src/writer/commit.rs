//! The end of a run, in the order that keeps the repository consistent at every moment: content, trees, index, and last the snapshot ("Read and Write
//! Ordering").

use std::sync::{Arc, atomic::Ordering};

use bulkhead_model::{EntryPath, Timestamp};
use bytes::Bytes;

use crate::{
    access,
    error::WriteError,
    format::{document, snapshot_file::SnapshotFile, time},
    id::ObjectId,
    index::BlobKind,
    lock::Held,
    record::{CHECKPOINT_ENTRY, RECORD_ENTRY, SnapshotRecord},
    snapshots::{self, SnapshotInfo},
    store::ObjectBody,
    sync::lock,
    verification::{VERIFIED_TAG, VerificationRecord},
    writer::{
        entry_writer::EntryWriter,
        run::Run,
        snapshot_writer::{CommittedSnapshot, RunStats},
        uploads,
        workshop::Workshop,
    },
};

/// The stack of the thread that stores trees: it descends into folders, which can be 2,048 deep.
const TREES_STACK: usize = 32 << 20;

impl Run {
    /// The counters as one.
    pub(crate) fn stats(&self) -> RunStats {
        RunStats {
            entries: self.progress.entries.load(Ordering::Relaxed),
            bytes: self.progress.bytes.load(Ordering::Relaxed),
            added_bytes: self.progress.added_bytes.load(Ordering::Relaxed),
            stored_bytes: self.progress.stored_bytes.load(Ordering::Relaxed),
        }
    }
}

/// Commits. Every step fails as soon as the run does.
pub(crate) async fn commit(run: &Arc<Run>, record: SnapshotRecord, taken: Timestamp, held: &Held) -> Result<CommittedSnapshot, WriteError> {
    run.poison.check()?;
    let stats = seal(run)?;
    write_record(run, &record).await?;
    run.drain().await?;
    let tree = store_trees(run).await?;
    run.uploads.settle(run).await;
    run.poison.check()?;
    let snapshot = tokio::select! {
        biased;
        error = run.poison.wait() => return Err(error),
        stored = store_snapshot(run, file_of(run, tree, taken), held) => stored?,
    };
    let stats = RunStats {
        entries: stats.entries,
        bytes: stats.bytes,
        ..run.stats()
    };
    Ok(CommittedSnapshot { snapshot, stats })
}

/// Closes the list of entries, all of which must be finished; returns the counters of what is in it. Entries are begun and kept under the same lock.
fn seal(run: &Run) -> Result<RunStats, WriteError> {
    let mut entries = lock(&run.entries);
    let unfinished = run.open_entries.load(Ordering::Acquire);
    if unfinished > 0 {
        return Err(WriteError::Unfinished(unfinished));
    }
    entries.seal();
    Ok(run.stats())
}

/// Bulkhead's own entries.
async fn write_record(run: &Arc<Run>, record: &SnapshotRecord) -> Result<(), WriteError> {
    let mut json =
        serde_json::to_vec_pretty(record).map_err(|error| WriteError::Internal(format!("the record could not be made: {error}")))?;
    json.push(b'\n');
    write_own(run, RECORD_ENTRY, json.into()).await?;
    match &record.checkpoint {
        Some(checkpoint) => write_own(run, CHECKPOINT_ENTRY, Bytes::copy_from_slice(checkpoint)).await,
        None => Ok(()),
    }
}

async fn write_own(run: &Arc<Run>, path: &str, content: Bytes) -> Result<(), WriteError> {
    let path = EntryPath::new(path).map_err(|error| WriteError::Internal(error.to_string()))?;
    let number = lock(&run.entries).insert_own(&path)?;
    let mut writer = EntryWriter::new(Arc::clone(run), path, number);
    writer.write(content).await?;
    writer.finish().await.map(drop)
}

/// Stores the pack of content that is still open, then trees and theirs. On a thread where it may block and compute.
async fn store_trees(run: &Arc<Run>) -> Result<ObjectId, WriteError> {
    let owned = Arc::clone(run);
    let work = move || {
        owned.flush(BlobKind::Data)?;
        let entries = lock(&owned.entries).take();
        let mut workshop = Workshop::new(owned.options.compression_level)?;
        let tree = entries.store(&owned, &mut workshop)?;
        owned.flush(BlobKind::Tree)?;
        Ok(tree)
    };
    let (send, result) = tokio::sync::oneshot::channel();
    let started = std::thread::Builder::new()
        .name("vault-trees".to_owned())
        .stack_size(TREES_STACK)
        .spawn(move || {
            let _nobody_waits = send.send(work());
        });
    started.map_err(|error| WriteError::Internal(format!("a thread could not be started: {error}")))?;
    result
        .await
        .unwrap_or_else(|_| Err(WriteError::Internal("the thread that stores folders panicked".to_owned())))
}

/// Commits the record of a verification: a snapshot of nothing, which no pipeline has taken, and which has the time of the run.
pub(crate) async fn commit_verification(run: &Arc<Run>, found: &VerificationRecord, held: &Held) -> Result<SnapshotInfo, WriteError> {
    let tree = store_trees(run).await?;
    run.uploads.settle(run).await;
    run.poison.check()?;
    let found = serde_json::to_value(found).map_err(|error| WriteError::Internal(format!("the record could not be made: {error}")))?;
    let file = SnapshotFile {
        paths: vec![format!("/{VERIFIED_TAG}")],
        hostname: VERIFIED_TAG.to_owned(),
        tags: Some(vec![VERIFIED_TAG.to_owned()]),
        verification: Some(found),
        ..file_of(run, tree, run.begin.time)
    };
    tokio::select! {
        biased;
        error = run.poison.wait() => Err(error),
        stored = store_snapshot(run, file, held) => stored,
    }
}

/// The file of a run's snapshot.
fn file_of(run: &Run, tree: ObjectId, taken: Timestamp) -> SnapshotFile {
    let begin = &run.begin;
    SnapshotFile {
        time: time::format(taken),
        parent: begin.parent,
        tree,
        paths: vec![format!("/{}", begin.pipeline)],
        hostname: begin.host.clone(),
        username: String::new(),
        tags: Some(vec![
            snapshots::OUR_TAG.to_owned(),
            format!("{}{}", snapshots::PIPELINE_TAG, begin.pipeline),
        ]),
        original: None,
        program_version: concat!("bulkhead ", env!("CARGO_PKG_VERSION")).to_owned(),
        verification: None,
    }
}

async fn store_snapshot(run: &Arc<Run>, file: SnapshotFile, held: &Held) -> Result<SnapshotInfo, WriteError> {
    uploads::flush_index(run).await?;
    let missing = lock(&run.claims).len();
    if missing > 0 {
        return Err(WriteError::Internal(format!("{missing} blobs never arrived in the store")));
    }
    let content = document::encode(&run.core.key, &file)
        .map_err(|reason| WriteError::Internal(format!("the snapshot could not be made: {reason}")))?;
    let body = ObjectBody::new(content);
    let id = ObjectId::from(body.sha256);
    held.check().await?;
    run.poison.check()?;
    let info = snapshots::info(id, file).map_err(WriteError::Internal)?;
    put_snapshot(run, &format!("snapshots/{id}"), body).await?;
    Ok(info)
}

/// Stores the snapshot. A failure leaves open whether the store has it, and so does one who stops waiting, unless the store itself says that it hasn't.
async fn put_snapshot(run: &Run, key: &str, body: ObjectBody) -> Result<(), WriteError> {
    let store = &*run.core.store;
    run.may_be_committed.store(true, Ordering::Release);
    let stored = access::put(store, key, body).await;
    if stored.is_err() && matches!(store.stat(key).await, Ok(None)) {
        run.may_be_committed.store(false, Ordering::Release);
    }
    Ok(stored?)
}
