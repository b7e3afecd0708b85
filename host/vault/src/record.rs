//! What Bulkhead keeps about a snapshot beside restic's own fields: [`SnapshotRecord`], in entries below the reserved folder `.bulkhead/`.
//!
//! Unknown fields of restic's snapshot document would be lost when restic rewrites it (`restic tag`); an entry is carried along by every tool.

use bulkhead_model::{Finding, Proof, Timestamp};
use serde::{Deserialize, Serialize};

/// The top-level folder that belongs to Bulkhead; entries of sources are refused in it.
pub const RESERVED_FOLDER: &str = ".bulkhead";

/// Where the record is.
pub(crate) const RECORD_ENTRY: &str = ".bulkhead/snapshot.json";
/// Where the checkpoint is.
pub(crate) const CHECKPOINT_ENTRY: &str = ".bulkhead/checkpoint";

/// What is known about a run when it commits its snapshot. Stored as `.bulkhead/snapshot.json` (readable with plain `restic dump`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotRecord {
    /// Version of the program that wrote it.
    pub bulkhead_version: String,
    /// The source plugin.
    pub plugin: PluginIdentity,
    /// Digest of the pipeline's configuration, as the caller defines it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_digest: Option<String>,
    /// When the run began.
    pub started: Timestamp,
    /// What the source said that it sent.
    pub proof: Proof,
    /// What went right, but not without remark.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Opaque to the host, for the next run; stored as `.bulkhead/checkpoint`, an entry of its own.
    #[serde(skip)]
    pub checkpoint: Option<Vec<u8>>,
}

/// Which component wrote a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PluginIdentity {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `sha256:<hex>` of the component.
    pub digest: String,
}
