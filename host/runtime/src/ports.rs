//! Where entries go to and come from: the traits that the pipeline implements over a vault.
//!
//! Everything a method refuses is a [`Fault`] that reaches the plugin as it is; `cancelled` tells it that the run has failed elsewhere. Dropping the
//! future of a method cancels it, which happens when a plugin hits a limit or its run is cancelled.

use async_trait::async_trait;
use bulkhead_model::{EntryMetadata, EntryPath, Fact, Fault, FinishedEntry, Proof, Timestamp};
use bytes::Bytes;

/// Takes the entries of a snapshot that is being written. Shared by the instances (parts) of one operation.
#[async_trait]
pub trait EntryStore: Send + Sync + 'static {
    /// Begins an entry with content.
    async fn create(&self, path: EntryPath, metadata: EntryMetadata) -> Result<Box<dyn EntryWriter>, Fault>;

    /// Adds an entry without content.
    async fn add(&self, path: EntryPath, metadata: EntryMetadata) -> Result<(), Fault>;

    /// Carries the entry at `path`, and all below it, forward from the parent snapshot; the size is the sum of what was kept.
    async fn keep(&self, path: EntryPath) -> Result<FinishedEntry, Fault>;

    /// Commits what was finished so far as a snapshot of its own and returns its id once it is durable (continuous sources).
    async fn commit(&self, proof: Proof, checkpoint: Option<Bytes>) -> Result<String, Fault>;
}

/// Takes the content of one entry. Dropping it before [`EntryWriter::finish`] aborts the entry, and with it the run.
#[async_trait]
pub trait EntryWriter: Send + 'static {
    /// Appends at most 1 MiB, waiting while the vault is slower than the source.
    async fn write(&mut self, data: Bytes) -> Result<(), Fault>;

    /// Appends `length` zero bytes.
    async fn write_zeros(&mut self, length: u64) -> Result<(), Fault>;

    /// Ends the entry and returns its size in bytes.
    async fn finish(self: Box<Self>) -> Result<u64, Fault>;
}

/// A stored snapshot that is being read. Shared by the instances (parts) of one operation.
#[async_trait]
pub trait SnapshotStore: Send + Sync + 'static {
    /// What the snapshot says of itself.
    fn info(&self) -> SnapshotInfo;

    /// Entries at and below `path`, in order of their paths, a folder before what is in it.
    async fn walk(&self, path: EntryPath) -> Result<Box<dyn SnapshotWalk>, Fault>;

    /// One entry. `not-found` where there is none.
    async fn stat(&self, path: EntryPath) -> Result<SnapshotEntry, Fault>;

    /// Opens a file's content.
    async fn open(&self, path: EntryPath) -> Result<Box<dyn EntryReader>, Fault>;
}

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its id in the vault, in full.
    pub id: String,
    /// When it was taken.
    pub time: Timestamp,
    /// Facts of its proof.
    pub facts: Vec<Fact>,
    /// The source's checkpoint.
    pub checkpoint: Option<Bytes>,
}

/// An entry of a stored snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// Where.
    pub path: EntryPath,
    /// What it is beside its bytes.
    pub metadata: EntryMetadata,
    /// Bytes of content; 0 for others than files.
    pub size: u64,
}

/// A walk over a stored snapshot.
#[async_trait]
pub trait SnapshotWalk: Send + 'static {
    /// At most `max` further entries; empty at the end.
    async fn next(&mut self, max: usize) -> Result<Vec<SnapshotEntry>, Fault>;
}

/// Reads the content of one entry.
#[async_trait]
pub trait EntryReader: Send + 'static {
    /// Its size in bytes.
    fn size(&self) -> u64;

    /// The next bytes in sequence, at least 1 and at most `max`; `None` at the end.
    async fn read(&mut self, max: usize) -> Result<Option<Bytes>, Fault>;

    /// Bytes at `offset`; fewer than `max` only at the end, `None` beyond it. Does not move [`EntryReader::read`].
    async fn read_at(&mut self, offset: u64, max: usize) -> Result<Option<Bytes>, Fault>;
}
