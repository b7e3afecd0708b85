//! Vaults: encrypted, deduplicating repositories of restic's format (version 2) over an [`ObjectStore`].
//!
//! ```text
//! Vault::init / Vault::open ─┬─ begin  ─▶ SnapshotWriter ─▶ EntryWriter …        commit: trees, index, last the snapshot
//!                            ├─ read   ─▶ SnapshotReader ─▶ EntryReader, Walk
//!                            ├─ verify ─▶ VerifyReport
//!                            ├─ copy_from ─▶ Copier: snapshots of another vault
//!                            ├─ forget, prune, tag, repair, unlock
//!                            └─ keys, snapshots, resolve
//! ```
//!
//! The data path is ours, written to restic's published design (`doc/design.rst` of restic); `rustic_core` does what is maintenance. Anything in a
//! vault is listed, checked and restored by plain `restic`: the tests do it.

mod access;
mod blob;
mod buffers;
mod catalog;
mod chunker;
mod copy;
mod crew;
mod crypto;
mod error;
mod format;
mod hint;
mod hold;
#[cfg(test)]
#[expect(dead_code, reason = "made for all tests of the vault; its own need a part of it")]
#[path = "../tests/vault/hooked.rs"]
mod hooked;
mod id;
mod index;
mod keys;
mod lock;
mod maintenance;
mod options;
mod password;
mod pause;
mod reader;
mod record;
mod rustic;
mod snapshots;
mod store;
pub mod stores;
mod survey;
mod sync;
mod task;
mod vault;
mod verification;
mod verify;
mod writer;

pub use copy::Copier;
pub use error::{
    Cause, CopyError, Corruption, InitError, KeyError, LockedBy, MaintenanceError, OpenError, ReadError, RepositoryError, ResolveError,
    StoreError, VerifyError, WriteError,
};
pub use hint::Hint;
pub use hold::Hold;
pub use id::{ObjectId, ObjectIdError};
pub use index::BlobKind;
pub use keys::KeyInfo;
pub use lock::LockedAlone;
pub use maintenance::{
    Basis, Forgotten, IndexRepair, Mirrored, PruneLimit, PruneOptions, PrunePlan, SnapshotRepair, Stop, TagChange, Tagged, UnreadableObject,
};
pub use options::{InitOptions, VaultOptions};
pub use password::Password;
pub use pause::between;
pub use reader::{
    Chunk, ContentFilter, ContentWalk, EntryReader, GroupedWalk, Piece, SnapshotEntry, SnapshotReader, StoredContent, Walk, Wanted,
};
pub use record::{PluginIdentity, RESERVED_FOLDER, SnapshotRecord};
pub use snapshots::{SnapshotIdentity, SnapshotInfo};
pub use store::{ObjectBody, ObjectInfo, ObjectStore, SharedStore, StoreTraits};
pub use survey::{
    Amount, Appearances, Blob, Census, Change, Comparison, Difference, Found, Hit, Objects, Search, SearchError, SharedData, SnapshotCost,
};
pub use vault::Vault;
pub use verification::{Depth, Mark, Marks, Recorded, Verification, VerificationRecord};
pub use verify::{Problem, Subset, VerifyOptions, VerifyPhase, VerifyProgress, VerifyReport};
pub use writer::{BeginSnapshot, CommittedSnapshot, EntryWriter, RunStats, SnapshotWriter};
