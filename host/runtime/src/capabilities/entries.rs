//! Writing entries: the port with the operation's limits, digests computed as the bytes pass.

use std::sync::Arc;

use bulkhead_model::{DigestAlgorithm, EntryMetadata, EntryPath, Fault, FaultKind, FinishedEntry, Proof};
use bytes::Bytes;

use super::digest::Hasher;
use super::{Budget, check_transfer};
use crate::ports;

/// Entries that one instance may have open at once.
const MAX_OPEN: usize = 64;
/// Zero bytes that are hashed without giving way: a few milliseconds.
const HASHED_ZEROS: u64 = 4 << 20;
/// Longest checkpoint, in bytes.
pub(crate) const MAX_CHECKPOINT: usize = 1 << 20;

/// The entries of a snapshot in the making, as one instance sees them.
pub struct Entries {
    store: Arc<dyn ports::EntryStore>,
    budget: Arc<Budget>,
    open: Arc<()>,
}

/// An entry in the making. The digest covers exactly the bytes that the port was given.
pub struct EntryWriter {
    /// `None` once finished.
    writer: Option<Box<dyn ports::EntryWriter>>,
    hasher: Option<Hasher>,
    budget: Arc<Budget>,
    _open: Arc<()>,
}

impl Entries {
    /// Over a port, within a budget.
    #[must_use]
    pub fn new(store: Arc<dyn ports::EntryStore>, budget: Arc<Budget>) -> Self {
        Self {
            store,
            budget,
            open: Arc::new(()),
        }
    }

    /// Begins an entry with content.
    ///
    /// # Errors
    /// `limit`, and what the port says.
    pub async fn create(&self, path: EntryPath, metadata: EntryMetadata, digest: Option<DigestAlgorithm>) -> Result<EntryWriter, Fault> {
        if Arc::strong_count(&self.open) > MAX_OPEN {
            return Err(Fault::new(FaultKind::Limit, format!("at most {MAX_OPEN} entries are open at once")));
        }
        self.budget.entry()?;
        let writer = self.budget.within(self.store.create(path, metadata)).await?;
        Ok(EntryWriter {
            writer: Some(writer),
            hasher: digest.map(Hasher::new),
            budget: self.budget.clone(),
            _open: self.open.clone(),
        })
    }

    /// Adds an entry without content.
    ///
    /// # Errors
    /// `limit`, and what the port says.
    pub async fn add(&self, path: EntryPath, metadata: EntryMetadata) -> Result<(), Fault> {
        self.budget.entry()?;
        self.budget.within(self.store.add(path, metadata)).await
    }

    /// Carries an entry forward from the parent snapshot.
    ///
    /// # Errors
    /// `limit`, and what the port says.
    pub async fn keep(&self, path: EntryPath) -> Result<FinishedEntry, Fault> {
        self.budget.entry()?;
        self.budget.within(self.store.keep(path)).await
    }

    /// Commits what was finished so far.
    ///
    /// # Errors
    /// What the port says.
    pub async fn commit(&self, proof: Proof, checkpoint: Option<Bytes>) -> Result<String, Fault> {
        if checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.len() > MAX_CHECKPOINT) {
            return Err(Fault::new(
                FaultKind::Limit,
                format!("a checkpoint has at most {MAX_CHECKPOINT} bytes"),
            ));
        }
        self.budget.within(self.store.commit(proof, checkpoint)).await
    }
}

impl EntryWriter {
    /// Appends.
    ///
    /// # Errors
    /// `limit`, `cancelled`, and what else the port says.
    pub async fn write(&mut self, data: Bytes) -> Result<(), Fault> {
        check_transfer(data.len())?;
        self.budget.write(data.len() as u64)?;
        let writer = self.writer.as_mut().ok_or_else(finished)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&data);
        }
        self.budget.within(writer.write(data)).await
    }

    /// Appends zero bytes.
    ///
    /// # Errors
    /// As [`EntryWriter::write`].
    pub async fn write_zeros(&mut self, length: u64) -> Result<(), Fault> {
        self.budget.write(length)?;
        let writer = self.writer.as_mut().ok_or_else(finished)?;
        let Some(hasher) = &mut self.hasher else {
            return self.budget.within(writer.write_zeros(length)).await;
        };
        // Hashing terabytes of zeros is work as well: give way in between, so that limits and cancellation are seen.
        let mut left = length;
        while left > 0 {
            let part = left.min(HASHED_ZEROS);
            hasher.update_zeros(part);
            self.budget.within(writer.write_zeros(part)).await?;
            left -= part;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Ends the entry.
    ///
    /// # Errors
    /// What the port says; `internal` when it was finished before.
    pub async fn finish(&mut self) -> Result<FinishedEntry, Fault> {
        let writer = self.writer.take().ok_or_else(finished)?;
        let digest = self.hasher.as_mut().map(Hasher::finish);
        let size = self.budget.within(writer.finish()).await?;
        Ok(FinishedEntry { entries: 1, size, digest })
    }
}

fn finished() -> Fault {
    Fault::new(FaultKind::Internal, "the entry was finished before")
}
