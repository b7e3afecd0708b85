//! Operations of a sink plugin, over a pool of instances.

use std::ops::Range;
use std::sync::Arc;

use bulkhead_model::{Finding, Timestamp};
use bytes::Bytes;

use crate::{OperationContext, Plugin, PluginError, PluginSetup, UnusedGrant};

/// The content of an object: parts that are never concatenated.
#[derive(Debug, Clone)]
pub struct ObjectBody {
    /// In order.
    pub parts: Vec<Bytes>,
    /// SHA-256 of all of them.
    pub sha256: [u8; 32],
}

/// What a sink can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SinkTraits {
    /// Largest object, in bytes.
    pub max_object_size: u64,
    /// Instances that are worth running at once.
    pub concurrency: u32,
    /// Whether [`PutOptions::if_absent`] is atomic even against other hosts.
    pub conditional_put: bool,
    /// Whether locks do something.
    pub object_lock: bool,
}

/// How to store an object.
#[derive(Debug, Clone, Copy, Default)]
pub struct PutOptions {
    /// Fail with `already-exists` instead of replacing.
    pub if_absent: bool,
    /// Keep from deletion until then.
    pub lock_until: Option<Timestamp>,
}

/// A stored object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
}

/// Instances of one sink plugin, made on demand up to what its traits say; each does one operation at a time, and one that failed by a trap, a limit or
/// cancellation is thrown away. Clones share the pool.
#[derive(Clone)]
pub struct SinkPool(Arc<()>);

impl SinkPool {
    /// Pairs a plugin with what it may use. No I/O: instances are made when they are needed.
    ///
    /// # Errors
    /// When the plugin is no sink, a grant that it cannot work without is missing, or it imports a capability that it neither asks for nor was granted.
    pub fn new(plugin: Plugin, setup: PluginSetup, context: OperationContext) -> Result<Self, PluginError> {
        todo!()
    }

    /// Grants that the plugin does not ask for and did not get.
    #[must_use]
    pub fn unused_grants(&self) -> &[UnusedGrant] {
        todo!()
    }

    /// Preflight: can it be reached, read and written; is what is there ours.
    ///
    /// # Errors
    /// When the check itself could not be made.
    pub async fn check(&self) -> Result<Vec<Finding>, PluginError> {
        todo!()
    }

    /// What the sink can do; asked once.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn traits(&self) -> Result<SinkTraits, PluginError> {
        todo!()
    }

    /// Makes the store ready for a new vault. `conflict` where there is something that is not an empty store.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn initialize(&self) -> Result<(), PluginError> {
        todo!()
    }

    /// Stores an object: durable and visible whole when this returns, else not visible at all.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn put(&self, key: &str, body: ObjectBody, options: PutOptions) -> Result<(), PluginError> {
        todo!()
    }

    /// Fetches an object or a range of it; what comes has exactly the length asked for.
    ///
    /// # Errors
    /// `not-found`; `corrupt` for a range beyond the end.
    pub async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, PluginError> {
        todo!()
    }

    /// All objects whose key begins with `prefix`, in any order.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<Object>, PluginError> {
        todo!()
    }

    /// `None` where there is no such object.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn stat(&self, key: &str) -> Result<Option<Object>, PluginError> {
        todo!()
    }

    /// Removes an object; one that isn't there is no error.
    ///
    /// # Errors
    /// `permission-denied` where it is locked.
    pub async fn delete(&self, key: &str) -> Result<(), PluginError> {
        todo!()
    }

    /// Extends an object's lock, never shortens it.
    ///
    /// # Errors
    /// `unsupported`, `not-found`.
    pub async fn extend_lock(&self, key: &str, until: Timestamp) -> Result<(), PluginError> {
        todo!()
    }
}
