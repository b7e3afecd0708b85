//! Index files: which blobs are in which pack.

use serde::{Deserialize, Serialize};

use crate::{id::ObjectId, index::BlobKind};

/// An index file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct IndexFile {
    /// Packs and what is in them.
    pub(crate) packs: Vec<IndexPack>,
    /// Packs that `rustic prune` will delete: still readable, but nothing new may rely on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) packs_to_delete: Vec<IndexPack>,
}

/// A pack and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexPack {
    /// Its name.
    pub(crate) id: ObjectId,
    /// When it was stored or, of a pack that is to be deleted, marked (RFC 3339); restic doesn't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<String>,
    /// Its bytes, where they don't follow from its blobs: a pack that is to be deleted may have been in no index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u32>,
    /// Its blobs, in any order.
    pub(crate) blobs: Vec<IndexBlob>,
}

/// A blob in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexBlob {
    /// SHA-256 of its content.
    pub(crate) id: ObjectId,
    /// What it is.
    #[serde(rename = "type")]
    pub(crate) kind: BlobKind,
    /// Where in the pack it begins.
    pub(crate) offset: u32,
    /// Bytes in the pack, encryption included.
    pub(crate) length: u32,
    /// Bytes of content, where it is compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uncompressed_length: Option<u32>,
}
