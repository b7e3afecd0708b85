//! A sink plugin as the vault's store of objects: [`SinkStore`].
//!
//! Beside translating types it keeps to the operator's bandwidth: an upload waits until the bytes before it would have passed at that rate.

use std::{ops::Range, time::Duration};

use async_trait::async_trait;
use bulkhead_config::ByteRate;
use bulkhead_model::Fault;
use bulkhead_runtime::{PluginError, PutOptions, SinkPool};
use bulkhead_vault::{ObjectBody, ObjectInfo, ObjectStore, StoreTraits};
use bytes::Bytes;
use tokio::{sync::Mutex, time::Instant};

use crate::failure::Site;

/// One sink. Shared between the vault and who watches the run.
pub(crate) struct SinkStore {
    name: String,
    site: Site,
    pool: SinkPool,
    throttle: Option<Throttle>,
}

impl SinkStore {
    pub(crate) fn new(name: String, site: Site, pool: SinkPool, bandwidth: Option<ByteRate>) -> Self {
        Self {
            name,
            site,
            pool,
            throttle: bandwidth.map(Throttle::new),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    pub(crate) fn pool(&self) -> &SinkPool {
        &self.pool
    }
}

#[async_trait]
impl ObjectStore for SinkStore {
    fn location(&self) -> String {
        format!("sink `{}`", self.name)
    }

    async fn traits(&self) -> Result<StoreTraits, Fault> {
        let traits = self.pool.traits().await.map_err(PluginError::into_fault)?;
        Ok(StoreTraits {
            max_object_size: traits.max_object_size,
            concurrency: traits.concurrency,
            conditional_put: traits.conditional_put,
        })
    }

    async fn initialize(&self) -> Result<(), Fault> {
        self.pool.initialize().await.map_err(PluginError::into_fault)
    }

    async fn put(&self, key: &str, body: ObjectBody, if_absent: bool) -> Result<(), Fault> {
        // A lock that waits behind gigabytes of packs goes stale, and others would take the run for dead.
        if let Some(throttle) = self.throttle.as_ref().filter(|_| !key.starts_with("locks/")) {
            throttle.pass(body.size()).await;
        }
        let body = bulkhead_runtime::ObjectBody {
            parts: body.parts,
            sha256: body.sha256,
        };
        self.pool
            .put(
                key,
                body,
                PutOptions {
                    if_absent,
                    lock_until: None,
                },
            )
            .await
            .map_err(PluginError::into_fault)
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, Fault> {
        self.pool.get(key, range).await.map_err(PluginError::into_fault)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, Fault> {
        let objects = self.pool.list(prefix).await.map_err(PluginError::into_fault)?;
        Ok(objects
            .into_iter()
            .map(|object| ObjectInfo {
                key: object.key,
                size: object.size,
            })
            .collect())
    }

    async fn stat(&self, key: &str) -> Result<Option<ObjectInfo>, Fault> {
        let object = self.pool.stat(key).await.map_err(PluginError::into_fault)?;
        Ok(object.map(|object| ObjectInfo {
            key: object.key,
            size: object.size,
        }))
    }

    async fn delete(&self, key: &str) -> Result<(), Fault> {
        self.pool.delete(key).await.map_err(PluginError::into_fault)
    }
}

/// Lets so many bytes a second pass, on average.
struct Throttle {
    bytes_per_second: u64,
    free_at: Mutex<Instant>,
}

impl Throttle {
    fn new(rate: ByteRate) -> Self {
        Self {
            bytes_per_second: rate.0.max(1),
            free_at: Mutex::new(Instant::now()),
        }
    }

    /// Waits for the turn of `bytes`.
    async fn pass(&self, bytes: u64) {
        let turn = {
            let mut free_at = self.free_at.lock().await;
            let turn = (*free_at).max(Instant::now());
            *free_at = turn + self.duration_of(bytes);
            *free_at
        };
        tokio::time::sleep_until(turn).await;
    }

    fn duration_of(&self, bytes: u64) -> Duration {
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn uploads_take_the_time_that_the_bandwidth_allows() {
        let throttle = Throttle::new(ByteRate(10 << 20));
        let start = Instant::now();
        for _ in 0..4 {
            throttle.pass(1 << 19).await;
        }
        assert!(
            start.elapsed() >= Duration::from_millis(200),
            "2 MiB at 10 MiB/s took {:?}",
            start.elapsed()
        );
    }
}
