//! Names of the facts in a snapshot's proof: written by `backup`, compared by `verify`, read by people.

pub(crate) const REVISION: &str = "revision";
pub(crate) const HASH: &str = "hash";
pub(crate) const TOTAL_KEYS: &str = "total-keys";
pub(crate) const TOTAL_SIZE: &str = "total-size";
pub(crate) const SHA256: &str = "sha256";
pub(crate) const HASH_KV: &str = "hash-kv";
pub(crate) const HASH_KV_REVISION: &str = "hash-kv-revision";
pub(crate) const HASH_KV_COMPACTED: &str = "hash-kv-compact-revision";
/// The second member that told the same `HashKV`, where there was one.
pub(crate) const HASH_KV_WITNESS: &str = "hash-kv-witness";
pub(crate) const VERSION: &str = "server-version";

/// The entry with the store.
pub(crate) const SNAPSHOT: &str = "snapshot.db";

/// The entry that says how to rebuild the cluster.
pub(crate) const RUNBOOK: &str = "RUNBOOK.md";

/// The folder of further files.
pub(crate) const FILES: &str = "files";
