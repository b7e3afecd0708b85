//! Writing entries: the port with the operation's limits, digests computed as the bytes pass.

use std::sync::Arc;

use bulkhead_model::{DigestAlgorithm, EntryMetadata, EntryPath, Fault, FaultKind, FinishedEntry, Proof};
use bytes::Bytes;

use super::digest::Hasher;
use super::{Budget, check_transfer};
use crate::ports;

/// Entries that one instance may have open at once.
const MAX_OPEN: usize = 64;
/// Zero bytes that the port gets at once.
const ZEROS: u64 = 64 << 20;
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
    /// What a write failed with: it may have been stored in part, so that nothing more can come after it.
    broken: Option<Fault>,
    hasher: Option<Hasher>,
    budget: Arc<Budget>,
    pace: Pace,
    _open: Arc<()>,
}

/// Who is waited for when the port is written to.
#[derive(Debug, Clone, Copy)]
enum Pace {
    /// The host's own store, for as long as any call may take.
    Store,
    /// Whoever reads what is written, who may be at other work for hours. The operation's `wall-clock` and its cancellation end that too.
    Reader,
}

impl Pace {
    async fn within<T>(self, budget: &Budget, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        match self {
            Self::Store => budget.within(call).await,
            Self::Reader => call.await,
        }
    }
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
            broken: None,
            hasher: digest.map(Hasher::new),
            budget: self.budget.clone(),
            pace: Pace::Store,
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
    /// Over what is written to in `render`, within a budget; but its reader may take any time.
    #[must_use]
    pub fn lent(writer: Box<dyn ports::EntryWriter>, budget: Arc<Budget>) -> Self {
        Self {
            writer: Some(writer),
            broken: None,
            hasher: None,
            budget,
            pace: Pace::Reader,
            _open: Arc::new(()),
        }
    }

    /// Appends.
    ///
    /// # Errors
    /// `limit`, `cancelled`, and what else the port says.
    pub async fn write(&mut self, data: Bytes) -> Result<(), Fault> {
        check_transfer(data.len())?;
        self.budget.write(data.len() as u64)?;
        self.whole()?;
        let writer = self.writer.as_mut().ok_or_else(finished)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&data);
        }
        let written = self.pace.within(&self.budget, writer.write(data)).await;
        written.inspect_err(|fault| self.broken = Some(fault.clone()))
    }

    fn whole(&self) -> Result<(), Fault> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// Appends zero bytes.
    ///
    /// # Errors
    /// As [`EntryWriter::write`].
    pub async fn write_zeros(&mut self, length: u64) -> Result<(), Fault> {
        self.budget.write(length)?;
        self.whole()?;
        let writer = self.writer.as_mut().ok_or_else(finished)?;
        // Terabytes of zeros are work as well, for the port and for a digest: give way in between, so that limits and cancellation are seen.
        let piece = if self.hasher.is_some() { HASHED_ZEROS } else { ZEROS };
        let mut left = length;
        while left > 0 {
            let part = left.min(piece);
            if let Some(hasher) = &mut self.hasher {
                hasher.update_zeros(part);
            }
            let written = self.pace.within(&self.budget, writer.write_zeros(part)).await;
            written.inspect_err(|fault| self.broken = Some(fault.clone()))?;
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
        self.whole()?;
        let writer = self.writer.take().ok_or_else(finished)?;
        let digest = self.hasher.as_mut().map(Hasher::finish);
        let size = self.pace.within(&self.budget, writer.finish()).await?;
        Ok(FinishedEntry { entries: 1, size, digest })
    }
}

fn finished() -> Fault {
    Fault::new(FaultKind::Internal, "the entry was finished before")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::{Duration, Instant};

    use async_trait::async_trait;

    use super::*;
    use crate::{Limits, PluginKind};

    /// Accepts everything, at a disk's speed and without ever waiting.
    struct Accepting;

    #[async_trait]
    impl ports::EntryWriter for Accepting {
        async fn write(&mut self, _: Bytes) -> Result<(), Fault> {
            Ok(())
        }

        async fn write_zeros(&mut self, length: u64) -> Result<(), Fault> {
            std::thread::sleep(Duration::from_millis((length >> 20).div_ceil(10).min(5000)));
            Ok(())
        }

        async fn finish(self: Box<Self>) -> Result<u64, Fault> {
            Ok(0)
        }
    }

    #[tokio::test]
    async fn a_tebibyte_of_zeros_gives_way_to_cancellation() {
        for hasher in [None, Some(Hasher::new(DigestAlgorithm::Sha256))] {
            let mut writer = EntryWriter {
                writer: Some(Box::new(Accepting)),
                broken: None,
                hasher,
                budget: Arc::new(Budget::new(Limits::default_for(PluginKind::Source))),
                pace: Pace::Store,
                _open: Arc::new(()),
            };
            let begun = Instant::now();
            let zeros = tokio::time::timeout(Duration::from_millis(50), writer.write_zeros(1 << 40));
            assert!(zeros.await.is_err(), "a tebibyte was written in {:?}", begun.elapsed());
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        }
    }

    /// Takes a while for each write, as a reader does that has other work.
    struct Slow;

    #[async_trait]
    impl ports::EntryWriter for Slow {
        async fn write(&mut self, _: Bytes) -> Result<(), Fault> {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(())
        }

        async fn write_zeros(&mut self, _: u64) -> Result<(), Fault> {
            self.write(Bytes::new()).await
        }

        async fn finish(self: Box<Self>) -> Result<u64, Fault> {
            Ok(0)
        }
    }

    #[tokio::test]
    async fn whoever_reads_what_is_lent_may_take_longer_than_a_call() {
        let mut limits = Limits::default_for(PluginKind::Source);
        limits.call_timeout = Duration::from_millis(1);
        let mut writer = EntryWriter::lent(Box::new(Slow), Arc::new(Budget::new(limits)));
        writer.write(Bytes::from_static(b"piece")).await.unwrap();
        writer.write_zeros(1).await.unwrap();
        writer.pace = Pace::Store;
        assert_eq!(writer.write_zeros(1).await.unwrap_err().kind, FaultKind::TimedOut);
    }

    #[tokio::test]
    async fn zeros_are_counted_before_they_are_written() {
        let mut limits = Limits::default_for(PluginKind::Source);
        limits.bytes_written = 1 << 39;
        let mut writer = EntryWriter {
            writer: Some(Box::new(Accepting)),
            broken: None,
            hasher: None,
            budget: Arc::new(Budget::new(limits)),
            pace: Pace::Store,
            _open: Arc::new(()),
        };
        let begun = Instant::now();
        assert_eq!(writer.write_zeros(1 << 40).await.unwrap_err().kind, FaultKind::Limit);
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}
