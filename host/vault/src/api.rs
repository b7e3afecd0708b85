//! Signatures, to build against while the bodies are being written.
#![expect(clippy::unimplemented, unused_variables, reason = "replaced within the hour")]

use std::sync::Arc;

use bulkhead_model::{EntryMetadata, EntryPath, FinishedEntry, Timestamp};
use bytes::Bytes;
use zeroize::Zeroizing;

use crate::{
    error::{InitError, KeyError, OpenError, ReadError, ResolveError, VerifyError, WriteError},
    id::ObjectId,
    record::SnapshotRecord,
    store::SharedStore,
};

/// A vault's password. Leaves memory when dropped; has no `Debug` that would show it.
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes the bytes as they are: nothing is trimmed.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }
}

/// How a new vault is made.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[derive(Default)]
pub struct InitOptions {
    /// The name of this host, for the key file.
    pub host: Option<String>,
}

/// How a vault is used: sizes and times, each with a default that suits a small machine. `Clone`, `Default`, and public fields.
#[derive(Debug, Clone)]
pub struct VaultOptions {
    /// zstd level of data and trees, 1 to 22 (negative: faster). Default 3.
    pub compression_level: i32,
    /// Threads that hash, compress and encrypt in one run. Default: the machine's parallelism.
    pub threads: usize,
    /// Bytes at which a pack is complete. Default 16 MiB; 1 MiB to 128 MiB.
    pub pack_size: usize,
    /// Bytes of packs being filled or stored, in all. Default 64 MiB.
    pub pack_memory: usize,
    /// Bytes of entries' content that wait to be processed, in all. Default 24 MiB.
    pub content_memory: usize,
    /// Bytes of content that a reader may hold ahead of its consumer. Default 24 MiB.
    pub read_ahead: usize,
}

/// An open vault. Cheap to clone; clones share the index.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<()>,
}

impl Vault {
    /// Creates a vault in an empty store and opens it.
    pub async fn init(store: SharedStore, password: &Password, options: InitOptions) -> Result<Self, InitError> {
        unimplemented!()
    }
    /// Opens a vault. One key derivation per key file tried.
    pub async fn open(store: SharedStore, password: &Password) -> Result<Self, OpenError> {
        unimplemented!()
    }
    /// The same vault with other sizes.
    #[must_use]
    pub fn with_options(self, options: VaultOptions) -> Self {
        unimplemented!()
    }
    /// The repository's id (`restic cat config`).
    pub fn id(&self) -> &str {
        unimplemented!()
    }
    /// Where the store is.
    pub fn location(&self) -> String {
        unimplemented!()
    }
    /// All snapshots, oldest first.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotInfo>, ReadError> {
        unimplemented!()
    }
    /// The snapshot named by `latest` or the beginning of its id, among those of `pipeline`.
    pub async fn resolve(&self, selector: &str, pipeline: Option<&str>) -> Result<SnapshotInfo, ResolveError> {
        unimplemented!()
    }
    /// Begins a run.
    pub async fn begin(&self, begin: BeginSnapshot) -> Result<SnapshotWriter, WriteError> {
        unimplemented!()
    }
    /// Opens a snapshot for reading.
    pub async fn read(&self, snapshot: ObjectId) -> Result<SnapshotReader, ReadError> {
        unimplemented!()
    }
    /// Checks the vault.
    pub async fn verify(&self, options: VerifyOptions, progress: Arc<dyn VerifyProgress>) -> Result<VerifyReport, VerifyError> {
        unimplemented!()
    }
    /// All keys.
    pub async fn keys(&self) -> Result<Vec<KeyInfo>, KeyError> {
        unimplemented!()
    }
    /// Adds a password.
    pub async fn add_key(&self, password: &Password, host: Option<&str>) -> Result<ObjectId, KeyError> {
        unimplemented!()
    }
    /// Removes a password; never the last.
    pub async fn remove_key(&self, id: ObjectId) -> Result<(), KeyError> {
        unimplemented!()
    }
}

/// One password of a vault. The password itself cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// The key file's name.
    pub id: ObjectId,
    /// Host that made it.
    pub host: Option<String>,
    /// User that made it.
    pub user: Option<String>,
    /// When it was made (RFC 3339).
    pub created: Option<String>,
    /// Whether this vault was opened with it.
    pub current: bool,
}

/// A snapshot, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its name; `restic` shows the first eight digits.
    pub id: ObjectId,
    /// When it was taken.
    pub time: Timestamp,
    /// The host it was taken on.
    pub host: String,
    /// The pipeline, where Bulkhead wrote it (tag `pipeline:<name>`).
    pub pipeline: Option<String>,
    /// Its paths; `["/<pipeline>"]` for ours.
    pub paths: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The snapshot that it was based on.
    pub parent: Option<ObjectId>,
    /// Its root tree.
    pub tree: ObjectId,
}

/// What a run writes.
#[derive(Debug, Clone)]
pub struct BeginSnapshot {
    /// The pipeline.
    pub pipeline: String,
    /// This host's name.
    pub host: String,
    /// The snapshot's time; also the time of entries without one of their own.
    pub time: Timestamp,
    /// The snapshot that `keep` carries entries forward from.
    pub parent: Option<ObjectId>,
}

/// What a run has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunStats {
    /// Files finished or kept (Bulkhead's own entries not counted).
    pub entries: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Bytes of content that the vault did not have.
    pub added_bytes: u64,
    /// Bytes handed to the store so far (packs).
    pub stored_bytes: u64,
}

/// What a run committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedSnapshot {
    /// The snapshot.
    pub snapshot: SnapshotInfo,
    /// What it took.
    pub stats: RunStats,
}

/// A run: entries in any order, several at once, then one commit. Dropping it without a commit cancels the run. Share it in an `Arc`.
pub struct SnapshotWriter(());

impl SnapshotWriter {
    /// Begins a file.
    pub async fn create(&self, path: EntryPath, metadata: EntryMetadata) -> Result<EntryWriter, WriteError> {
        unimplemented!()
    }
    /// Adds an entry without content.
    pub async fn add(&self, path: EntryPath, metadata: EntryMetadata) -> Result<(), WriteError> {
        unimplemented!()
    }
    /// Carries the entry at `path`, and all below it, forward from the parent snapshot, unread; returns the bytes of all files in it.
    pub async fn keep(&self, path: EntryPath) -> Result<FinishedEntry, WriteError> {
        unimplemented!()
    }
    /// What was done so far.
    pub fn stats(&self) -> RunStats {
        unimplemented!()
    }
    /// Waits until the run has failed: the moment to stop the source. Never returns on a run that doesn't fail.
    pub async fn failed(&self) -> WriteError {
        unimplemented!()
    }
    /// Makes everything durable, and last the snapshot. Fails while entries are unfinished. The writer is spent afterwards.
    pub async fn commit(&self, record: SnapshotRecord) -> Result<CommittedSnapshot, WriteError> {
        unimplemented!()
    }
    /// Cancels the run and waits until its threads and tasks are gone.
    pub async fn abort(&self) {
        unimplemented!()
    }
}

/// A file being written. Dropping it before `finish` fails the run.
pub struct EntryWriter(());

impl EntryWriter {
    /// Appends; waits while the vault is slower than the source.
    pub async fn write(&mut self, data: Bytes) -> Result<(), WriteError> {
        unimplemented!()
    }
    /// Appends `length` zero bytes.
    pub async fn write_zeros(&mut self, length: u64) -> Result<(), WriteError> {
        unimplemented!()
    }
    /// Ends the entry; returns its bytes.
    pub async fn finish(self) -> Result<u64, WriteError> {
        unimplemented!()
    }
}

/// A snapshot open for reading. Cheap to clone.
#[derive(Clone)]
pub struct SnapshotReader(());

/// An entry of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// Where it is.
    pub path: EntryPath,
    /// What it is.
    pub metadata: EntryMetadata,
    /// Bytes of content; 0 for others than files.
    pub size: u64,
}

impl SnapshotReader {
    /// The snapshot.
    pub fn info(&self) -> &SnapshotInfo {
        unimplemented!()
    }
    /// What Bulkhead recorded, with the checkpoint; `None` for a snapshot that another tool made.
    pub async fn record(&self) -> Result<Option<SnapshotRecord>, ReadError> {
        unimplemented!()
    }
    /// The entry at `path`.
    pub async fn stat(&self, path: &EntryPath) -> Result<SnapshotEntry, ReadError> {
        unimplemented!()
    }
    /// Entries at and below `path` in order, a folder before what is in it; the root itself and `.bulkhead` are left out.
    pub async fn walk(&self, path: &EntryPath) -> Result<Walk, ReadError> {
        unimplemented!()
    }
    /// Opens a file.
    pub async fn open(&self, path: &EntryPath) -> Result<EntryReader, ReadError> {
        unimplemented!()
    }
}

/// A walk in progress.
pub struct Walk(());

impl Walk {
    /// The next entry; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<SnapshotEntry>, ReadError> {
        unimplemented!()
    }
}

/// A file open for reading.
pub struct EntryReader(());

impl EntryReader {
    /// Bytes of content.
    pub fn size(&self) -> u64 {
        unimplemented!()
    }
    /// The next bytes in sequence, at most `max`; `None` at the end.
    pub async fn read_next(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
        unimplemented!()
    }
    /// Bytes at `offset`; fewer than `max` only at the end, `None` beyond it.
    pub async fn read_at(&self, offset: u64, max: usize) -> Result<Option<Bytes>, ReadError> {
        unimplemented!()
    }
}

/// How much to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyOptions {
    /// Read and check every pack, not only what refers to what.
    pub read_data: bool,
}

/// Where a verification is. Called from its tasks; must not block.
pub trait VerifyProgress: Send + Sync + 'static {
    /// `done` of `total` of what `phase` counts.
    fn report(&self, phase: VerifyPhase, done: u64, total: u64);
}

/// What a verification is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyPhase {
    /// Index files.
    Index,
    /// Snapshots whose trees are being walked.
    Trees,
    /// Bytes of packs.
    Packs,
}

/// What a verification found.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    /// Damage, most serious first; empty is good.
    pub problems: Vec<Problem>,
    /// Snapshots checked.
    pub snapshots: u64,
    /// Packs that the index names.
    pub packs: u64,
    /// Bytes of packs read.
    pub bytes_read: u64,
    /// Packs that no index names: left by runs that did not finish. Harmless.
    pub unreferenced_packs: Vec<ObjectId>,
}

/// One piece of damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The object ("data/ab/ab12…").
    pub object: String,
    /// What is wrong, in a sentence.
    pub damage: String,
    /// What it means, in a sentence.
    pub consequence: String,
    /// Snapshots that are affected, where known.
    pub snapshots: Vec<ObjectId>,
}
