//! Snapshot files: what was backed up when, and its root tree.

use serde::{Deserialize, Serialize};

use crate::id::ObjectId;

/// A snapshot file. Fields that other versions of restic add are not needed here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SnapshotFile {
    /// RFC 3339.
    pub(crate) time: String,
    /// The snapshot that this one was based on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<ObjectId>,
    /// The root.
    pub(crate) tree: ObjectId,
    /// What was backed up.
    #[serde(default)]
    pub(crate) paths: Vec<String>,
    /// Where.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) hostname: String,
    /// By whom.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) username: String,
    /// Marks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tags: Option<Vec<String>>,
    /// The first of the line that this one is of: what it was before its tags changed, or in the vault that it was copied from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) original: Option<ObjectId>,
    /// The program that wrote it (restic 0.16 and later show it).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) program_version: String,
    /// What a verification found, where this is the record of one; of no use to other tools, which pass over it.
    #[serde(default, rename = "bulkhead-verification", skip_serializing_if = "Option::is_none")]
    pub(crate) verification: Option<serde_json::Value>,
}
