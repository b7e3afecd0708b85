//! The sink `s3`: a vault in a bucket of S3 or of what speaks its protocol, in restic's own layout, so that plain `restic -r s3:…` opens it.
//!
//! OpenDAL's service speaks the protocol ([`bulkhead_sdk::services`]); the host signs, so the plugin never holds a key. Objects stream through it: an
//! instance holds a piece of 256 KiB, never an object. Parts of uploads are not needed, since the vault's objects are far below the 5 GiB that one `PUT`
//! takes.

mod check;
mod config;
mod dialect;
mod lock;
mod versions;

use bulkhead_sdk::{prelude::*, services::Store};

pub use config::{Checksum, ConditionalPut, Config, Encryption, LockMode, Versions};
use dialect::Amazon;
use lock::Locks;

/// The name of the one endpoint that the plugin wants.
const STORAGE: &str = "storage";

/// The largest object that one `PUT` takes.
const MAX_OBJECT: u64 = 5 << 30;

/// Instances worth running at once: a store far away answers each request late, but many at a time.
const CONCURRENCY: u32 = 8;

/// The plugin.
#[derive(Debug)]
pub struct S3 {
    store: Store<Amazon>,
    locks: Locks,
    versions: Versions,
    place: String,
    concurrency: u32,
}

impl Sink for S3 {
    type Config = Config;

    fn describe() -> Description {
        let all = Operations::CHECK | Operations::BACKUP | Operations::RESTORE | Operations::VERIFY;
        Description::new(
            "s3",
            env!("CARGO_PKG_VERSION"),
            "Stores a vault in a bucket of S3, or of what speaks its protocol",
            all,
        )
        .endpoint(STORAGE, "The server, by URL; the host signs requests to it with `auth.aws`", all)
    }

    fn new(config: Config) -> Result<Self> {
        config.check()?;
        let store = Store::new(STORAGE, config.service(), Amazon::new(&config))?
            .with_backoff(config.backoff())
            .with_conditional_put(config.conditional_put.0);
        Ok(Self {
            store,
            locks: Locks::new(&config),
            versions: config.versions,
            place: config.place(),
            concurrency: config.concurrency.map_or(CONCURRENCY, std::num::NonZeroU32::get),
        })
    }

    fn check(&mut self) -> Result<Vec<Finding>> {
        check::check(&self.store, &self.place)
    }

    fn traits(&mut self) -> Result<Traits> {
        Ok(Traits {
            max_object_size: MAX_OBJECT,
            concurrency: self.concurrency,
            conditional_put: self.store.has_conditional_put(),
            object_lock: true,
        })
    }

    fn initialize(&mut self) -> Result<()> {
        check::require_empty(&self.store, &self.place)
    }

    fn put(&mut self, key: &str, body: &mut ObjectReader<'_>, options: PutOptions) -> Result<()> {
        let lock = options.lock_until.map(|until| self.locks.headers(until)).transpose()?;
        self.store.put(key, body, options, &lock.unwrap_or_default())
    }

    fn get(&mut self, key: &str, range: Option<ByteRange>, into: &mut ObjectWriter<'_>) -> Result<()> {
        self.store.get(key, range, into)
    }

    fn list(&mut self, prefix: &str, page: Option<&str>) -> Result<Page> {
        let mut page = self.store.list(prefix, page)?;
        page.objects.retain(|object| object.key != check::PROBE);
        Ok(page)
    }

    fn stat(&mut self, key: &str) -> Result<Option<Object>> {
        self.store.stat(key)
    }

    fn delete(&mut self, key: &str) -> Result<()> {
        self.store.delete(key)?;
        match self.versions {
            Versions::Keep => Ok(()),
            Versions::Remove => versions::remove(&self.store, &self.locks, key),
        }
    }

    fn extend_lock(&mut self, key: &str, until: Timestamp) -> Result<()> {
        self.locks.extend(&self.store, key, until)
    }

    fn locked_until(&mut self, key: &str) -> Result<Option<Timestamp>> {
        self.locks.until(&self.store, key, None)
    }
}

bulkhead_sdk::export_sink!(S3);
