//! Sink plugins: a store of immutable objects.
//!
//! A key is ASCII, `/`-separated (`config`, `keys/<hex>`, `data/<2 hex>/<hex>`, …), at most 128 bytes. The host makes several instances and calls each
//! with one operation at a time; two instances never write the same key at once.

use std::io::{self, Read, Write};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{
    Result,
    description::Description,
    host::{self, MAX_TRANSFER},
    snapshot::transfer,
    source::unsupported,
    types::{Finding, Timestamp},
};

/// What a store can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// Largest object that can be stored, in bytes.
    pub max_object_size: u64,
    /// Instances that are worth running at once.
    pub concurrency: u32,
    /// Whether a `put` with `if_absent` is atomic even against other hosts.
    pub conditional_put: bool,
    /// Whether `lock_until`, `extend_lock` and `locked_until` do something.
    pub object_lock: bool,
}

/// How to store an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// Fail with `AlreadyExists` instead of replacing.
    pub if_absent: bool,
    /// Keep from deletion until then, where there is object lock.
    pub lock_until: Option<Timestamp>,
}

/// Part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// A stored object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
}

/// Part of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Up to 10,000 objects.
    pub objects: Vec<Object>,
    /// Passed to the next call; `None` on the last page.
    pub next: Option<String>,
}

/// The content of an object to store.
pub struct ObjectReader<'a>(&'a dyn host::ObjectReader);

impl<'a> ObjectReader<'a> {
    /// Over what the host lends.
    #[must_use]
    pub fn new(inner: &'a dyn host::ObjectReader) -> Self {
        Self(inner)
    }

    /// Bytes in all.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// SHA-256 of the content: most stores can check it.
    #[must_use]
    pub fn sha256(&self) -> Vec<u8> {
        self.0.sha256()
    }

    /// The next bytes without a copy, at most `max` (up to 1 MiB); `None` at the end.
    ///
    /// # Errors
    /// `Cancelled`.
    pub fn read_bytes(&mut self, max: usize) -> Result<Option<Vec<u8>>> {
        self.0.read(transfer(max))
    }

    /// Back to the beginning, for another attempt.
    pub fn rewind(&mut self) {
        self.0.rewind();
    }
}

impl std::fmt::Debug for ObjectReader<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ObjectReader({} bytes)", self.size())
    }
}

impl Read for ObjectReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let data = self.read_bytes(into.len())?.unwrap_or_default();
        into[..data.len()].copy_from_slice(&data);
        Ok(data.len())
    }
}

/// Where the content of an object goes that was asked for.
pub struct ObjectWriter<'a>(&'a dyn host::ObjectWriter);

impl<'a> ObjectWriter<'a> {
    /// Over what the host lends.
    #[must_use]
    pub fn new(inner: &'a dyn host::ObjectWriter) -> Self {
        Self(inner)
    }

    /// Appends. Best in pieces of 256 KiB.
    ///
    /// # Errors
    /// `Cancelled`, `Limit` for more than was asked for.
    pub fn write_bytes(&mut self, data: &[u8]) -> Result<()> {
        data.chunks(MAX_TRANSFER).try_for_each(|part| self.0.write(part))
    }
}

impl std::fmt::Debug for ObjectWriter<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ObjectWriter")
    }
}

impl Write for ObjectWriter<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_bytes(data)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sink plugin.
#[expect(
    clippy::missing_errors_doc,
    reason = "whatever went wrong, told so that the operator can act on it; kinds that matter are named"
)]
pub trait Sink: Sized {
    /// What the operator writes under `config`. Derive `Deserialize` (with `deny_unknown_fields`) and `JsonSchema`.
    type Config: DeserializeOwned + JsonSchema;

    /// What the plugin is and what it wants. Pure: no capability is available.
    fn describe() -> Description;

    /// Checks the config beyond its types and keeps it; does no I/O.
    fn new(config: Self::Config) -> Result<Self>;

    /// Preflight: can it be reached, read and written; is what is there ours. Leaves nothing behind.
    fn check(&mut self) -> Result<Vec<Finding>> {
        Err(unsupported("check"))
    }

    /// What the store can do.
    fn traits(&mut self) -> Result<Traits>;

    /// Makes the store ready for a new vault. `Conflict` where there is something that is not an empty store.
    fn initialize(&mut self) -> Result<()>;

    /// Stores an object. When it returns, the object is durable and visible whole; when it fails or is cut off, nothing is visible under the key.
    fn put(&mut self, key: &str, body: &mut ObjectReader<'_>, options: PutOptions) -> Result<()>;

    /// Writes the object, or a range of it, to `into`. A range that goes beyond the end is `Corrupt`; a missing object `NotFound`.
    fn get(&mut self, key: &str, range: Option<ByteRange>, into: &mut ObjectWriter<'_>) -> Result<()>;

    /// Objects whose key begins with `prefix`, in any order, up to 10,000 a page. What was put before the call is in it.
    fn list(&mut self, prefix: &str, page: Option<&str>) -> Result<Page>;

    /// `None` where there is no such object.
    fn stat(&mut self, key: &str) -> Result<Option<Object>>;

    /// Removes an object. One that isn't there is no error; one that is locked is `PermissionDenied`.
    fn delete(&mut self, key: &str) -> Result<()>;

    /// Extends an object's lock, never shortens it. `Unsupported`, `NotFound`.
    fn extend_lock(&mut self, key: &str, until: Timestamp) -> Result<()> {
        let _ = (key, until);
        Err(unsupported("object lock"))
    }

    /// Until when an object is locked; `None` where it isn't. `Unsupported`, `NotFound`.
    fn locked_until(&mut self, key: &str) -> Result<Option<Timestamp>> {
        let _ = key;
        Err(unsupported("object lock"))
    }
}
