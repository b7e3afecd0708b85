//! Vaults: encrypted, deduplicating repositories of restic's format (version 2) over an [`ObjectStore`].
//!
//! ```text
//! Vault::init / Vault::open ─┬─ begin  ─▶ SnapshotWriter ─▶ EntryWriter …        commit: trees, index, last the snapshot
//!                            ├─ read   ─▶ SnapshotReader ─▶ EntryReader, Walk
//!                            ├─ verify ─▶ VerifyReport
//!                            └─ keys, snapshots, resolve
//! ```
//!
//! The data path is ours, written to restic's published design (`doc/design.rst` of restic); `rustic_core` does what is maintenance. Anything in a
//! vault is listed, checked and restored by plain `restic`: the tests do it.

mod api;
mod error;
mod id;
mod record;
mod store;

pub use api::*;
pub use error::{
    Cause, Corruption, Hint, InitError, KeyError, LockedBy, OpenError, ReadError, RepositoryError, ResolveError, StoreError, VerifyError, WriteError,
};
pub use id::{ObjectId, ObjectIdError};
pub use record::{PluginIdentity, RESERVED_FOLDER, SnapshotRecord};
pub use store::{ObjectBody, ObjectInfo, ObjectStore, SharedStore, StoreTraits};
