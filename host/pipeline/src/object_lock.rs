//! Objects that nobody can remove for a time: how long that is, and locking for longer what snapshots go on to need.
//!
//! Whatever a sink's listing shows is locked for longer, not only what the newest snapshot needs: all snapshots that are not forgotten are to stay, and what
//! nobody needs leaves the listing with the next prune. Locks end at round times, a tenth of their length apart, so that objects are locked for longer ten times
//! in that length, and not with every run. The vault's `config` comes last: where it is locked until such a time, all that was there before it is, too.

use std::time::Duration;

use bulkhead_model::{Fault, FaultKind, Finding, Severity, Timestamp};
use bulkhead_runtime::{Cancellation, PluginError};
use bulkhead_vault::ObjectStore as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use crate::{access::Sinks, clock, replicate::KINDS, store::SinkStore};

/// Round times in the length of a lock.
const STEPS: i64 = 10;

/// The object that is locked last.
const LAST: &str = "config";

/// For how long objects are locked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ObjectLock(Duration);

impl ObjectLock {
    pub(crate) fn new(length: Duration) -> Self {
        Self(length)
    }

    /// Until when an object is locked that is stored now: at least the length and a tenth of it, which is when locks become longer again; at most two tenths.
    pub(crate) fn until(self, now: Timestamp) -> Timestamp {
        let length = i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX / 4);
        let step = (length / STEPS).max(1);
        let steps = now.seconds.saturating_add(length).div_euclid(step).saturating_add(2);
        Timestamp {
            seconds: steps.saturating_mul(step),
            nanoseconds: 0,
        }
    }
}

/// What became of the locks on a sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LockReport {
    /// The sink.
    pub sink: String,
    /// Until when everything on it is locked, RFC 3339.
    pub until: String,
    /// Objects that were locked for longer; none where that was not due.
    pub objects: u64,
    /// Why it isn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whether a sink locks that should.
pub(crate) async fn check(sink: &SinkStore) -> Option<Finding> {
    sink.lock()?;
    let locked = match sink.pool().traits().await {
        Ok(traits) if traits.object_lock => sink.pool().locked_until(LAST).await,
        Ok(_) => return Some(finding(Severity::Error, "cannot-lock", &sink.cannot_lock())),
        Err(error) => Err(error),
    };
    match locked.map_err(PluginError::into_fault) {
        Ok(Some(_)) => None,
        Ok(None) => Some(finding(
            Severity::Warning,
            "not-locked",
            &Fault::new(FaultKind::Conflict, "what is stored there is not locked yet").hint("the next run locks it"),
        )),
        Err(fault) if fault.kind == FaultKind::NotFound => None,
        Err(fault) => Some(finding(Severity::Error, "cannot-lock", &fault)),
    }
}

fn finding(severity: Severity, code: &str, fault: &Fault) -> Finding {
    Finding {
        severity,
        code: code.to_owned(),
        message: fault.to_string(),
        hint: fault.hint.clone(),
        setting: Some("lock".to_owned()),
    }
}

/// Locks for longer what is on those of the sinks that lock.
pub(crate) async fn extend(sinks: &Sinks, cancellation: &Cancellation) -> Vec<LockReport> {
    let mut reports = Vec::new();
    for sink in std::iter::once(&sinks.first).chain(&sinks.further) {
        if let Some(lock) = sink.lock() {
            reports.push(extend_on(sink, lock.until(clock::now()), cancellation).await);
        }
    }
    reports
}

async fn extend_on(sink: &SinkStore, until: Timestamp, cancellation: &Cancellation) -> LockReport {
    let mut report = LockReport {
        sink: sink.name().to_owned(),
        until: clock::rfc3339(until),
        objects: 0,
        error: None,
        hint: None,
    };
    let extended = tokio::select! {
        biased;
        () = cancellation.cancelled() => Err(Fault::new(FaultKind::Cancelled, "interrupted before everything was locked")),
        extended = extend_all(sink, until, &mut report.objects) => extended,
    };
    if let Err(fault) = extended {
        tracing::info!(sink = sink.name(), "not everything is locked: {fault}");
        report.error = Some(fault.to_string());
        report.hint = fault.hint;
    }
    report
}

async fn extend_all(sink: &SinkStore, until: Timestamp, extended: &mut u64) -> Result<(), Fault> {
    let locked = sink.pool().locked_until(LAST).await.map_err(PluginError::into_fault)?;
    // One that is locked for longer was locked when the length was another one, which says nothing of what was stored since.
    if locked.is_some_and(|locked| locked.seconds == until.seconds) {
        return Ok(());
    }
    let concurrency = sink.traits().await?.concurrency.max(1) as usize;
    for kind in KINDS.iter().filter(|kind| **kind != LAST) {
        let objects = stream::iter(sink.list(kind).await?)
            .map(async |object| extend_one(sink, &object.key, until).await)
            .buffer_unordered(concurrency);
        let mut objects = std::pin::pin!(objects);
        while let Some(one) = objects.try_next().await? {
            *extended += one;
        }
    }
    *extended += extend_one(sink, LAST, until).await?;
    Ok(())
}

/// What has been removed since the listing needs no lock.
async fn extend_one(sink: &SinkStore, key: &str, until: Timestamp) -> Result<u64, Fault> {
    match sink.pool().extend_lock(key, until).await.map_err(PluginError::into_fault) {
        Ok(()) => Ok(1),
        Err(fault) if fault.kind == FaultKind::NotFound && key != LAST => Ok(0),
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp {
            seconds,
            nanoseconds: 999_999_999,
        }
    }

    #[test]
    fn a_lock_lasts_until_locks_become_longer_again_and_then_as_long_as_it_should() {
        for length in [1, 7, 3600, 30 * 86_400, 3650 * 86_400_u32] {
            let lock = ObjectLock::new(Duration::from_secs(length.into()));
            let (length, step) = (i64::from(length), (i64::from(length) / STEPS).max(1));
            for now in [0, 1, 1_700_000_000, 1_700_000_001, 1_786_543_210] {
                let until = lock.until(at(now)).seconds;
                assert!(until >= now + length + step, "{length} from {now}");
                assert!(until <= now + length + 2 * step, "{length} from {now}");
                assert!(lock.until(at(now + step)).seconds > until, "a step later it becomes longer");
            }
        }
    }

    #[test]
    fn a_lock_beyond_the_calendar_is_a_late_one() {
        let endless = ObjectLock::new(Duration::from_secs(u64::MAX));
        assert!(endless.until(at(1_700_000_000)).seconds > 1_700_000_000);
    }
}
