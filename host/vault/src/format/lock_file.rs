//! Lock files ("Locks"): who is at work in the repository, and whether alone.

use serde::{Deserialize, Serialize};

use crate::id::ObjectId;

/// A lock file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LockFile {
    /// When it was taken or refreshed, RFC 3339.
    pub(crate) time: String,
    /// Whether nobody else may be at work.
    pub(crate) exclusive: bool,
    /// Whether its holder removes or renames snapshots. restic does so alone only, and doesn't read this.
    #[serde(default, rename = "bulkhead-changes-snapshots", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) changes_snapshots: bool,
    /// Whether its holder only waits for a time when nobody is at work, and keeps nobody out yet.
    #[serde(default, rename = "bulkhead-waits", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) waits: bool,
    /// On which host.
    #[serde(default)]
    pub(crate) hostname: String,
    /// By whom.
    #[serde(default)]
    pub(crate) username: String,
    /// In which process of that host.
    #[serde(default)]
    pub(crate) pid: u32,
    /// Other locks that their holder has given back without being allowed to remove them. One that says so holds nothing itself.
    #[serde(default, rename = "bulkhead-released", skip_serializing_if = "Vec::is_empty")]
    pub(crate) released: Vec<ObjectId>,
}
