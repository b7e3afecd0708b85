//! What a run has made safe so far: [`Journal`], kept outside of the run's future, so that it can still be read when that was dropped.

use std::sync::{Arc, Mutex};

use bulkhead_model::Timestamp;
use bulkhead_vault::{CommittedSnapshot, SnapshotRecord, SnapshotWriter, WriteError};

/// The commits of one run. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    committed: Vec<String>,
    unsure: bool,
}

impl Journal {
    /// Carries out a commit of a snapshot that was `taken` then, and notes how it ended; while it is pending, and where its last step failed, nobody knows.
    pub(crate) async fn commit(
        &self,
        writer: &SnapshotWriter,
        record: SnapshotRecord,
        taken: Timestamp,
    ) -> Result<CommittedSnapshot, WriteError> {
        self.with(|entries| entries.unsure = true);
        let result = writer.commit_as_of(record, taken).await;
        self.with(|entries| {
            entries.unsure = result.is_err() && writer.may_be_committed();
            entries
                .committed
                .extend(result.as_ref().ok().map(|committed| committed.snapshot.id.to_string()));
        });
        result
    }

    /// Ids of the snapshots that were committed, oldest first.
    pub(crate) fn committed(&self) -> Vec<String> {
        self.with(|entries| entries.committed.clone())
    }

    /// Whether a commit has begun of which nobody knows how it ended.
    pub(crate) fn is_unsure(&self) -> bool {
        self.with(|entries| entries.unsure)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Entries) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
