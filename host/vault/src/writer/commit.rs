//! The end of a run, in the order that keeps the repository consistent at every moment: content, trees, index, and last the snapshot ("Read and Write
//! Ordering").

use std::sync::{Arc, atomic::Ordering};

use bulkhead_model::{EntryMetadata, EntryPath, NodeType};
use bytes::Bytes;

use crate::{
    access,
    error::WriteError,
    format::{document, snapshot_file::SnapshotFile, time},
    id::ObjectId,
    index::BlobKind,
    record::{CHECKPOINT_ENTRY, RECORD_ENTRY, SnapshotRecord},
    snapshots::{self, SnapshotInfo},
    store::ObjectBody,
    sync::lock,
    writer::{
        entry_writer::EntryWriter,
        run::Run,
        snapshot_writer::{CommittedSnapshot, RunStats},
        trees::Entries,
        uploads,
        workshop::Workshop,
    },
};

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
pub(crate) async fn commit(run: &Arc<Run>, record: SnapshotRecord) -> Result<CommittedSnapshot, WriteError> {
    run.poison.check()?;
    let unfinished = run.open_entries.load(Ordering::Acquire);
    if unfinished > 0 {
        return Err(WriteError::Unfinished(unfinished));
    }
    let stats = run.stats();
    write_record(run, &record).await?;
    run.drain().await?;
    let tree = store_trees(run).await?;
    run.uploads.settle().await;
    run.poison.check()?;
    let snapshot = tokio::select! {
        biased;
        error = run.poison.wait() => return Err(error),
        stored = store_snapshot(run, tree) => stored?,
    };
    let stats = RunStats {
        entries: stats.entries,
        bytes: stats.bytes,
        ..run.stats()
    };
    Ok(CommittedSnapshot { snapshot, stats })
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
    let number = lock(&run.entries).insert(&path, EntryMetadata::private(NodeType::File))?;
    let mut writer = EntryWriter::new(Arc::clone(run), path, number);
    writer.write(content).await?;
    writer.finish().await.map(drop)
}

/// Stores the pack of content that is still open, then trees and theirs. On a thread where it may block and compute.
async fn store_trees(run: &Arc<Run>) -> Result<ObjectId, WriteError> {
    let owned = Arc::clone(run);
    let work = move || {
        owned.flush(BlobKind::Data)?;
        let entries = std::mem::replace(&mut *lock(&owned.entries), Entries::new(owned.begin.time));
        let mut workshop = Workshop::new(owned.options.compression_level)?;
        let tree = entries.store(&owned, &mut workshop)?;
        owned.flush(BlobKind::Tree)?;
        Ok(tree)
    };
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(WriteError::Internal(error.to_string())))
}

async fn store_snapshot(run: &Arc<Run>, tree: ObjectId) -> Result<SnapshotInfo, WriteError> {
    uploads::flush_index(run).await?;
    let begin = &run.begin;
    let file = SnapshotFile {
        time: time::format(begin.time),
        parent: begin.parent,
        tree,
        paths: vec![format!("/{}", begin.pipeline)],
        hostname: begin.host.clone(),
        username: String::new(),
        tags: Some(vec![
            snapshots::OUR_TAG.to_owned(),
            format!("{}{}", snapshots::PIPELINE_TAG, begin.pipeline),
        ]),
        program_version: concat!("bulkhead ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let content = document::encode(&run.core.key, &file)
        .map_err(|reason| WriteError::Internal(format!("the snapshot could not be made: {reason}")))?;
    let body = ObjectBody::new(content);
    let id = ObjectId::from(body.sha256);
    run.poison.check()?;
    access::put(&*run.core.store, &format!("snapshots/{id}"), body).await?;
    snapshots::info(id, file).map_err(WriteError::Internal)
}
