//! The port to where a vault's objects are: [`ObjectStore`], which the pipeline implements over sink plugins.
//!
//! The vault asks for little, so that a sink is easy to write: whole immutable objects of bounded size, read by range. Keys are those of restic's
//! layout: `config`, `keys/<hex>`, `snapshots/<hex>`, `index/<hex>`, `locks/<hex>`, `data/<2 hex>/<hex>`.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bulkhead_model::Fault;
use bytes::Bytes;
use sha2::{Digest, Sha256};

/// What a store can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreTraits {
    /// Bytes in the largest object that can be stored.
    pub max_object_size: u64,
    /// Operations that are worth running at once; at least 1.
    pub concurrency: u32,
    /// Whether [`ObjectStore::put`] with `if_absent` is atomic even against other hosts.
    pub conditional_put: bool,
}

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its whole key.
    pub key: String,
    /// Bytes.
    pub size: u64,
}

/// The content of an object to store: shared buffers, so that an attempt can be repeated without copying.
#[derive(Debug, Clone)]
pub struct ObjectBody {
    /// The content in order.
    pub parts: Vec<Bytes>,
    /// SHA-256 of the content: most stores can check it.
    pub sha256: [u8; 32],
}

impl ObjectBody {
    /// A body of one part, hashed here.
    #[must_use]
    pub fn new(content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let sha256 = Sha256::digest(&content).into();
        Self {
            parts: vec![content],
            sha256,
        }
    }

    /// Bytes in all parts.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }
}

/// A store of immutable objects: one replica of a vault.
///
/// Every call may be dropped before it has ended (cancellation); a `put` that was dropped must leave nothing visible, or the whole object.
#[async_trait]
pub trait ObjectStore: Send + Sync + 'static {
    /// Where it is, for messages.
    fn location(&self) -> String;

    /// What it can do; the answer does not change.
    async fn traits(&self) -> Result<StoreTraits, Fault>;

    /// Makes it ready for a new vault. `Conflict` where there is something that is not an empty store.
    async fn initialize(&self) -> Result<(), Fault>;

    /// Stores an object: durable and visible whole when this returns, invisible when it fails. With `if_absent`, `AlreadyExists` instead of replacing.
    async fn put(&self, key: &str, body: ObjectBody, if_absent: bool) -> Result<(), Fault>;

    /// The object, or a range of it. `NotFound`; a range beyond the end is `Corrupt`.
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, Fault>;

    /// The same from one replica of several, counted from 0 in the order in which they are to be asked; `None` where there are not so many. Reading goes on to
    /// the next one when an object is missing or damaged.
    async fn get_from(&self, replica: usize, key: &str, range: Option<Range<u64>>) -> Option<Result<Bytes, Fault>> {
        match replica {
            0 => Some(self.get(key, range).await),
            _ => None,
        }
    }

    /// All objects whose key begins with `prefix`, in any order.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, Fault>;

    /// `None` where there is no such object.
    async fn stat(&self, key: &str) -> Result<Option<ObjectInfo>, Fault>;

    /// Removes an object; one that isn't there is no error.
    async fn delete(&self, key: &str) -> Result<(), Fault>;
}

/// A store as the vault holds it.
pub type SharedStore = Arc<dyn ObjectStore>;
