//! Driving a sink as the host does, with objects in memory.

use std::sync::Mutex;

use super::{Harness, lock, store::slice};
use crate::{
    Error, ErrorKind, Result,
    digest::{Algorithm, digest},
    host,
    sink::{ByteRange, Object, ObjectReader, ObjectWriter, PutOptions, Sink, Traits},
    source::Instance,
    types::{Finding, Timestamp},
};

/// A sink in a [`Harness`].
pub struct SinkTester<'a, P> {
    harness: &'a Harness,
    instance: Instance<P>,
}

impl<P> std::fmt::Debug for SinkTester<'_, P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SinkTester")
    }
}

/// The sink's operations, with the sink's errors.
#[expect(clippy::missing_errors_doc, reason = "told once, above")]
impl<'a, P: Sink> SinkTester<'a, P> {
    pub(super) fn new(harness: &'a Harness, config: &str) -> Result<Self> {
        let mut instance = Instance::default();
        harness.run(|| instance.configure_sink(config))?;
        Ok(Self { harness, instance })
    }

    /// Runs `body` on the sink itself.
    pub fn with<T>(&mut self, body: impl FnOnce(&mut P) -> Result<T>) -> Result<T> {
        let plugin = self.instance.plugin()?;
        self.harness.run(|| body(plugin))
    }

    /// Preflight.
    pub fn check(&mut self) -> Result<Vec<Finding>> {
        self.with(P::check)
    }

    /// What the store can do.
    pub fn traits(&mut self) -> Result<Traits> {
        self.with(P::traits)
    }

    /// Makes the store ready.
    pub fn initialize(&mut self) -> Result<()> {
        self.with(P::initialize)
    }

    /// Stores an object.
    pub fn put(&mut self, key: &str, content: &[u8]) -> Result<()> {
        self.put_with(key, content, PutOptions::default())
    }

    /// Stores an object that isn't there.
    pub fn put_if_absent(&mut self, key: &str, content: &[u8]) -> Result<()> {
        self.put_with(
            key,
            content,
            PutOptions {
                if_absent: true,
                lock_until: None,
            },
        )
    }

    /// Stores an object.
    pub fn put_with(&mut self, key: &str, content: &[u8], options: PutOptions) -> Result<()> {
        let body = Body {
            content,
            position: Mutex::new(0),
        };
        self.with(|sink| sink.put(key, &mut ObjectReader::new(&body), options))
    }

    /// A whole object.
    pub fn get(&mut self, key: &str) -> Result<Vec<u8>> {
        self.get_range(key, None)
    }

    /// Part of an object. As the host does, refuses a sink that answers with another number of bytes than the range has.
    pub fn get_range(&mut self, key: &str, range: Option<ByteRange>) -> Result<Vec<u8>> {
        let collected = Collected(Mutex::new(Vec::new()));
        self.with(|sink| sink.get(key, range, &mut ObjectWriter::new(&collected)))?;
        let content = std::mem::take(&mut *lock(&collected.0));
        match range {
            Some(range) if content.len() as u64 != range.length => Err(Error::new(
                ErrorKind::Corrupt,
                format!("{} bytes came instead of {}", content.len(), range.length),
            )),
            _ => Ok(content),
        }
    }

    /// All objects whose keys begin with `prefix`, of all pages, sorted.
    pub fn list(&mut self, prefix: &str) -> Result<Vec<Object>> {
        let mut objects = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = self.with(|sink| sink.list(prefix, next.as_deref()))?;
            if page.objects.len() > 10_000 {
                return Err(Error::new(ErrorKind::Internal, "a page has more than 10,000 objects"));
            }
            objects.extend(page.objects);
            next = page.next;
            if next.is_none() {
                objects.sort_by(|a, b| a.key.cmp(&b.key));
                return Ok(objects);
            }
        }
    }

    /// Until when an object is locked.
    pub fn locked_until(&mut self, key: &str) -> Result<Option<Timestamp>> {
        self.with(|sink| sink.locked_until(key))
    }

    /// Extends an object's lock.
    pub fn extend_lock(&mut self, key: &str, until: Timestamp) -> Result<()> {
        self.with(|sink| sink.extend_lock(key, until))
    }

    /// One object.
    pub fn stat(&mut self, key: &str) -> Result<Option<Object>> {
        self.with(|sink| sink.stat(key))
    }

    /// Removes an object.
    pub fn delete(&mut self, key: &str) -> Result<()> {
        self.with(|sink| sink.delete(key))
    }
}

/// An object to store.
struct Body<'a> {
    content: &'a [u8],
    position: Mutex<usize>,
}

impl host::ObjectReader for Body<'_> {
    fn size(&self) -> u64 {
        self.content.len() as u64
    }

    fn sha256(&self) -> Vec<u8> {
        digest(Algorithm::Sha256, self.content)
    }

    fn read(&self, max: u32) -> Result<Option<Vec<u8>>> {
        let mut position = lock(&self.position);
        let data = slice(self.content, *position, max);
        *position += data.as_ref().map_or(0, Vec::len);
        Ok(data)
    }

    fn rewind(&self) {
        *lock(&self.position) = 0;
    }
}

/// What a `get` wrote.
struct Collected(Mutex<Vec<u8>>);

impl host::ObjectWriter for Collected {
    fn write(&self, data: &[u8]) -> Result<()> {
        lock(&self.0).extend_from_slice(data);
        Ok(())
    }
}
