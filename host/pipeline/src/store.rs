//! A sink plugin as the vault's store of objects: [`SinkStore`].
//!
//! Beside translating types it keeps to the operator's bandwidth (an upload waits until its bytes, and those before it, would have passed at that rate) and says
//! until when objects are locked.

use std::{ops::Range, time::Duration};

use async_trait::async_trait;
use bulkhead_config::{Bandwidth, Period};
use bulkhead_model::{Fault, FaultKind, Timestamp};
use bulkhead_runtime::{PluginError, PutOptions, SinkPool};
use bulkhead_vault::{ObjectBody, ObjectInfo, ObjectStore, StoreTraits};
use bytes::Bytes;
use tokio::{sync::Mutex, time::Instant};

use crate::{clock, failure::Site, object_lock::ObjectLock};

/// One sink. Shared between the vault and who watches the run.
pub(crate) struct SinkStore {
    name: String,
    site: Site,
    pool: SinkPool,
    throttle: Option<Throttle>,
    lock: Option<ObjectLock>,
    retrieval: Option<Period>,
}

impl SinkStore {
    pub(crate) fn new(name: String, site: Site, pool: SinkPool) -> Self {
        Self {
            name,
            site,
            pool,
            throttle: None,
            lock: None,
            retrieval: None,
        }
    }

    /// Written to no faster than that.
    pub(crate) fn with_bandwidth(self, bandwidth: Option<Bandwidth>) -> Self {
        let throttle = bandwidth.map(Throttle::new);
        Self { throttle, ..self }
    }

    /// Whatever is stored is locked for so long.
    pub(crate) fn with_lock(self, lock: Option<ObjectLock>) -> Self {
        Self { lock, ..self }
    }

    /// Objects are read after a retrieval of so long.
    pub(crate) fn with_retrieval(self, retrieval: Option<Period>) -> Self {
        Self { retrieval, ..self }
    }

    /// For how long objects are locked.
    pub(crate) fn lock(&self) -> Option<ObjectLock> {
        self.lock
    }

    /// Until when an object is locked that is stored now. A lock of the vault's own lasts as long as its run.
    async fn lock_until(&self, key: &str) -> Result<Option<Timestamp>, Fault> {
        let Some(lock) = self.lock.filter(|_| !key.starts_with("locks/")) else {
            return Ok(None);
        };
        if self.pool.traits().await.map_err(PluginError::into_fault)?.object_lock {
            return Ok(Some(lock.until(clock::now())));
        }
        Err(self.cannot_lock())
    }

    /// What is wrong with a sink that is to lock and can't.
    pub(crate) fn cannot_lock(&self) -> Fault {
        let fault = Fault::new(FaultKind::Config, format!("the sink `{}` cannot lock objects", self.name));
        fault.hint("take `lock` out of its table, or use a sink that can: `s3`")
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
        let lock_until = self.lock_until(key).await?;
        self.pool
            .put(key, body, PutOptions { if_absent, lock_until })
            .await
            .map_err(PluginError::into_fault)
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, Fault> {
        let got = self.pool.get(key, range).await.map_err(PluginError::into_fault);
        got.map_err(|fault| told_of_retrieval(fault, self.retrieval))
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

/// A store that must bring an object back first does not do what it is asked: then its operator hears how long that takes.
fn told_of_retrieval(fault: Fault, retrieval: Option<Period>) -> Fault {
    match retrieval {
        Some(time) if fault.kind == FaultKind::Unsupported => {
            let said = fault.hint.as_ref().map(|hint| format!("{hint}; ")).unwrap_or_default();
            let told = format!(
                "{said}to bring the vault's objects back takes {time} by the sink's `retrieval`: call this again then, or read another sink (`--sink`)"
            );
            fault.hint(told)
        }
        _ => fault,
    }
}

/// The longest that a wait takes the rate of its beginning for granted.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Lets bytes pass one body after the other, at the rate that the time of the day allows.
struct Throttle {
    bandwidth: Bandwidth,
    /// Held by the body that passes.
    turn: Mutex<()>,
}

impl Throttle {
    fn new(bandwidth: Bandwidth) -> Self {
        Self {
            bandwidth,
            turn: Mutex::new(()),
        }
    }

    /// Waits for the turn of `bytes`, and for as long as they take. A rate that changes meanwhile holds within half a minute.
    async fn pass(&self, bytes: u64) {
        let _turn = self.turn.lock().await;
        let mut left = bytes;
        while left > 0 {
            let Some(rate) = self.bandwidth.at(minute_of_the_day()) else {
                return;
            };
            let wait = duration_of(left, rate.0).min(LOOK_AGAIN);
            let begin = Instant::now();
            tokio::time::sleep(wait).await;
            left = left.saturating_sub(passed(begin.elapsed().max(wait), rate.0));
        }
    }
}

fn duration_of(bytes: u64, rate: u64) -> Duration {
    let nanoseconds = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(rate.max(1)));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

fn passed(time: Duration, rate: u64) -> u64 {
    u64::try_from(time.as_nanos() * u128::from(rate) / 1_000_000_000).unwrap_or(u64::MAX)
}

/// By the clock on the wall of this host.
fn minute_of_the_day() -> u16 {
    let now = jiff::Zoned::now();
    u16::from(now.hour().unsigned_abs()) * 60 + u16::from(now.minute().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use bulkhead_config::ByteRate;

    use super::*;

    #[tokio::test]
    async fn uploads_take_the_time_that_the_bandwidth_allows() {
        let throttle = Throttle::new(Bandwidth::always(ByteRate(10 << 20)));
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

    #[test]
    fn an_object_that_must_be_brought_back_is_told_with_the_time_it_takes() {
        let time = Some(Period(Duration::from_secs(12 * 3600)));
        let hint = |kind, retrieval| {
            told_of_retrieval(Fault::new(kind, "no").hint("as the plugin says"), retrieval)
                .hint
                .unwrap_or_default()
        };
        let told = hint(FaultKind::Unsupported, time);
        assert!(told.starts_with("as the plugin says; ") && told.contains("takes 12 h"), "{told}");
        assert_eq!(hint(FaultKind::Unsupported, None), "as the plugin says");
        assert_eq!(hint(FaultKind::Server, time), "as the plugin says");
    }

    #[test]
    fn what_a_wait_lets_pass_is_what_it_was_for() {
        for (bytes, rate) in [(1, 3), (1 << 19, 10 << 20), (16 << 20, 999_999_937)] {
            assert!(passed(duration_of(bytes, rate), rate) >= bytes, "{bytes} at {rate}");
        }
    }

    #[test]
    fn the_minute_is_one_of_the_day() {
        assert!(minute_of_the_day() < 24 * 60);
    }
}
