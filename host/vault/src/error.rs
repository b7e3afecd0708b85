//! Why an operation on a vault failed: one enum per operation. The next action after each is in `hint.rs`.

use bulkhead_model::{EntryPath, Fault};

use crate::{id::ObjectId, store::ObjectStore};

/// A call to the store that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{operation} {}{location}", quoted_in(.key))]
pub struct StoreError {
    /// What was being done ("storing", "reading", "listing", …).
    pub operation: &'static str,
    /// The object, or prefix.
    pub key: String,
    /// The store.
    pub location: String,
    /// What the store said.
    #[source]
    pub fault: Box<Fault>,
}

/// What concerns the whole store has no key.
fn quoted_in(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key:?} in ") }
}

impl StoreError {
    /// A failure of `operation` on `key`.
    pub(crate) fn new(store: &dyn ObjectStore, operation: &'static str, key: &str, fault: Fault) -> Self {
        Self {
            operation,
            key: key.to_owned(),
            location: store.location(),
            fault: Box::new(fault),
        }
    }
}

/// Stored content that is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{object} is damaged: {reason}")]
pub struct Corruption {
    /// The object of the store ("data/ab/ab12…").
    pub object: String,
    /// The blob in it, where the damage could be narrowed down to one.
    pub blob: Option<ObjectId>,
    /// What is wrong with it.
    pub reason: String,
}

/// Why a vault could not be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// There is a vault (or another repository of restic's format) already.
    #[error("{location} already holds a vault")]
    Exists {
        /// The store.
        location: String,
    },
    /// Keys, but no `config`: an earlier attempt was interrupted, or the vault lost it.
    #[error("{location} holds keys of a vault, but no `config`")]
    Incomplete {
        /// The store.
        location: String,
    },
    /// The password is empty.
    #[error("the vault's password is empty")]
    EmptyPassword,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The objects of a new repository could not be made.
    #[error("creating the repository's configuration")]
    Repository(#[source] RepositoryError),
    /// Opening what was just created failed.
    #[error("opening the new vault")]
    Open(#[source] Box<OpenError>),
}

/// What `rustic_core` said, as text: its own error type stays inside this crate.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct RepositoryError(pub(crate) String);

/// Why a vault could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No object named `config` in the store, and no keys either.
    #[error("there is no vault in {location}")]
    NotAVault {
        /// The store.
        location: String,
    },
    /// Keys, but no `config`.
    #[error("the vault in {location} has lost its `config`")]
    ConfigMissing {
        /// The store.
        location: String,
    },
    /// No key file at all.
    #[error("the vault in {location} has no keys")]
    NoKeys {
        /// The store.
        location: String,
    },
    /// No key file opens with the password.
    #[error("the password does not fit {} of the vault in {location}", if *.keys == 1 { "the key".to_owned() } else { format!("any of the {keys} keys") })]
    WrongPassword {
        /// The store.
        location: String,
        /// Key files that were tried.
        keys: usize,
    },
    /// A key file is not one, or asks for absurd resources.
    #[error("key {id} of the vault in {location} cannot be used: {reason}")]
    BadKey {
        /// The store.
        location: String,
        /// The key file.
        id: ObjectId,
        /// What is wrong with it.
        reason: String,
    },
    /// The format is newer (or older) than what this program knows.
    #[error("the vault in {location} has format version {version}; this program knows versions 1 and 2")]
    UnsupportedVersion {
        /// The store.
        location: String,
        /// The version found.
        version: u32,
    },
    /// `config` is there, but not what this vault's key encrypted.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Somebody else's lock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} by process {pid} on {host} since {since}", if *.is_alone { "locked exclusively" } else { "in use" })]
pub struct LockedBy {
    /// The host that took it.
    pub host: String,
    /// The process on that host.
    pub pid: u32,
    /// The user there.
    pub user: String,
    /// When the lock was taken or last refreshed (RFC 3339).
    pub since: String,
    /// Whether it keeps everybody else out, and not only those who would work alone.
    pub is_alone: bool,
    /// The lock's object.
    pub lock: ObjectId,
}

/// Why a run could not begin, write or commit.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The run has failed or was aborted; nothing of it will be committed.
    #[error("the run was cancelled: {cause}")]
    Cancelled {
        /// The first failure.
        cause: Cause,
    },
    /// Another tool holds an exclusive lock (restic's `prune`, say).
    #[error("the vault in {location} is busy")]
    Locked {
        /// The store.
        location: String,
        /// Who holds it.
        #[source]
        by: Box<LockedBy>,
    },
    /// The run's own lock is gone, or so old that other tools will soon take it for abandoned and remove what the run relies on.
    #[error("the lock in {location} was lost: {reason}")]
    LockLost {
        /// The store.
        location: String,
        /// How.
        reason: String,
    },
    /// Format version 1 knows no compression; it can be read, not written.
    #[error("the vault in {location} has format version 1, which cannot be written")]
    OldFormat {
        /// The store.
        location: String,
    },
    /// An entry of that name is in this snapshot already.
    #[error("the entry {0:?} was already added")]
    DuplicateEntry(EntryPath),
    /// The path runs through an entry that is not a folder.
    #[error("{parent:?}, in which {path:?} would be, {reason}")]
    NotAFolder {
        /// The entry to add.
        path: EntryPath,
        /// Its ancestor.
        parent: EntryPath,
        /// Why nothing can be added in it.
        reason: &'static str,
    },
    /// Bulkhead's own folder, or the root.
    #[error("{0:?} cannot be the path of an entry: it is reserved")]
    ReservedPath(EntryPath),
    /// `create` is for files, `add` for everything else.
    #[error("the entry {path:?} is {found}, but {needed} is needed here")]
    WrongType {
        /// The entry.
        path: EntryPath,
        /// What its metadata says.
        found: &'static str,
        /// What the call is for.
        needed: &'static str,
    },
    /// `keep` without a parent snapshot, or of something that isn't in it.
    #[error("there is no {path:?} in the parent snapshot to keep")]
    NothingToKeep {
        /// The entry.
        path: EntryPath,
    },
    /// Something that the parent snapshot refers to is not in the vault any more.
    #[error("{path:?} cannot be kept: {reason}")]
    KeptContentMissing {
        /// The entry.
        path: EntryPath,
        /// What is missing.
        reason: String,
    },
    /// An entry that comes after its run's commit began: it is not in the snapshot, whose commit goes on.
    #[error("{0:?} comes too late: the run is being committed")]
    TooLate(EntryPath),
    /// Entries that nobody finished.
    #[error("{0} entries were begun but not finished")]
    Unfinished(u64),
    /// An entry so long that the names of its chunks take too much memory.
    #[error("the entry {path:?} has more than {limit} chunks of content in its first {size} bytes")]
    TooManyChunks {
        /// The entry.
        path: EntryPath,
        /// Bytes written to it.
        size: u64,
        /// Chunks allowed.
        limit: usize,
    },
    /// A folder, or a blob, larger than an object of the store may be.
    #[error("an object of {size} bytes is needed, but {location} takes {limit} at most")]
    ObjectTooLarge {
        /// The store.
        location: String,
        /// Bytes needed.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// Reading the parent snapshot or the index failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What a run had set aside on disk of its list of entries does not come back.
    #[error("the entries that this run has set aside on disk cannot be read again: {0}")]
    SetAside(String),
    /// Encryption, compression, a thread that could not be started, a panic: a defect, or a machine out of resources.
    #[error("{0}")]
    Internal(String),
}

/// The first failure of a run, shared by all who see its consequences.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The caller asked for it.
    #[error("it was aborted")]
    Aborted,
    /// A writer was dropped before it was finished.
    #[error("the entry {0:?} was given up before its end")]
    EntryDropped(EntryPath),
    /// A call that wrote to an entry was dropped before it returned, and what was lost with it is not known.
    #[error("a call that wrote to the entry {0:?} was given up before its end")]
    CallDropped(EntryPath),
    /// The snapshot's writer was dropped without a commit.
    #[error("it was given up before its end")]
    RunDropped,
    /// It is over, and well.
    #[error("it was committed before")]
    Committed,
    /// An operation failed.
    #[error("{}", chain(.0.as_ref()))]
    Failed(std::sync::Arc<WriteError>),
}

/// An error and its sources on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Why something could not be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No such entry in the snapshot.
    #[error("there is no entry {path:?} in snapshot {snapshot}")]
    NoSuchEntry {
        /// What was asked for.
        path: EntryPath,
        /// Where.
        snapshot: ObjectId,
    },
    /// Not a file.
    #[error("the entry {0:?} is not a file")]
    NotAFile(EntryPath),
    /// Stored content does not match its name, size or format.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// A blob that is in no index: its index file or pack was lost.
    #[error("blob {blob} of {of} is in no index")]
    BlobMissing {
        /// The blob.
        blob: ObjectId,
        /// What refers to it.
        of: String,
    },
    /// No such snapshot.
    #[error("there is no snapshot {0} in the vault")]
    NoSuchSnapshot(ObjectId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A task died, or the runtime is shutting down.
    #[error("{0}")]
    Internal(String),
}

/// Why a snapshot was not copied into another vault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The vault is itself the one to copy from, or a replica of it.
    #[error("both vaults are the same one, with the id {id}")]
    SameVault {
        /// Its id.
        id: String,
    },
    /// It can't be read, or not all of it.
    #[error(transparent)]
    Source(#[from] ReadError),
    /// The vault that it is in can't be locked, or its lock was lost.
    #[error(transparent)]
    SourceLock(WriteError),
    /// The vault that it goes to can't be locked, read or written.
    #[error(transparent)]
    Target(#[from] WriteError),
}

/// Why a word does not name one snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// No snapshot at all, or none of that pipeline.
    #[error("the vault holds no snapshot{}", of_pipeline(.pipeline.as_deref()))]
    Empty {
        /// The filter.
        pipeline: Option<String>,
    },
    /// There are not as many.
    #[error("there is no {selector}: the vault holds {} {}{}", .snapshots, if *.snapshots == 1 { "snapshot" } else { "snapshots" }, of_pipeline(.pipeline.as_deref()))]
    TooFarBack {
        /// What was asked for.
        selector: String,
        /// Snapshots that there are.
        snapshots: usize,
        /// The filter.
        pipeline: Option<String>,
    },
    /// Nothing begins with these digits.
    #[error("no snapshot{} begins with {prefix:?}", of_pipeline(.pipeline.as_deref()))]
    NotFound {
        /// What was asked for.
        prefix: String,
        /// The filter.
        pipeline: Option<String>,
    },
    /// Several do.
    #[error("{prefix:?} is ambiguous: {} snapshots begin with it", .candidates.len())]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// All that fit.
        candidates: Vec<ObjectId>,
    },
    /// Neither `latest`, nor such as `latest~1`, nor hexadecimal digits.
    #[error("{0:?} is neither `latest` nor the beginning of a snapshot's id")]
    Malformed(String),
    /// No hexadecimal digits, where only an id will do.
    #[error("{0:?} is not the beginning of a snapshot's id")]
    NotAnId(String),
    /// Reading the snapshots failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

fn of_pipeline(pipeline: Option<&str>) -> String {
    pipeline.map(|name| format!(" of pipeline {name:?}")).unwrap_or_default()
}

/// Why keys could not be listed or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No such key.
    #[error("there is no key {0} in the vault")]
    NotFound(ObjectId),
    /// The last key would go: nobody could open the vault any more.
    #[error("{0} is the vault's only key")]
    LastKey(ObjectId),
    /// The password is empty.
    #[error("the new key's password is empty")]
    EmptyPassword,
    /// A key file that is not one.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A task died.
    #[error("{0}")]
    Internal(String),
}

/// Why a verification could not be carried out. Damage is no error, it is in the report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The store failed in a way that says nothing about the content.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A task died.
    #[error("{0}")]
    Internal(String),
}

/// Why maintenance of a vault failed, or was not begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaintenanceError {
    /// Somebody else is at work in the vault, or the lock was lost.
    #[error(transparent)]
    Lock(#[from] WriteError),
    /// Stored content can't be read, or is not there.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Planning or carrying out a prune failed; what was to be deleted may still be there.
    #[error("pruning failed")]
    Repository(#[from] RepositoryError),
    /// The vault is not what it was when the plan was made.
    #[error("the vault has changed since the plan was shown")]
    Changed,
    /// A tag that says whose a snapshot is.
    #[error("the tag {0:?} says whose snapshot it is, and stays as it is")]
    ReservedTag(String),
    /// A tag that restic could not name.
    #[error("{0:?} is no tag: it is empty or has a comma in it")]
    MalformedTag(String),
    /// A name or a reason of a hold that cannot be stored.
    #[error("{0:?} is no name or reason: it is empty, longer than 1,024 bytes, or has control characters")]
    MalformedHold(String),
    /// A snapshot that nobody holds, or not by that hold, was to be released.
    #[error("there is no such hold of the snapshot")]
    NotHeld,
    /// A snapshot that several hold was to be released, without saying from which.
    #[error("there are several such holds of the snapshot: {}", .0.join(", "))]
    SeveralHolds(Vec<String>),
    /// A replica lacks objects that the first store has.
    #[error("it lacks {0} objects that the first sink has")]
    Behind(u64),
    /// A replica has snapshots that the first store does not have.
    #[error("it has {0} snapshots that the first sink does not have")]
    Strays(u64),
    /// Stopped from outside; what was done by then is done.
    #[error("stopped before the end")]
    Stopped,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A task died.
    #[error("{0}")]
    Internal(String),
}
