//! Objects that nobody can remove for a time: how long that is, and locking for longer what snapshots go on to need.
//!
//! Whatever a sink's listing shows is locked for longer, not only what the newest snapshot needs: all snapshots that are not forgotten are to stay, and what
//! nobody needs leaves the listing with the next prune. Locks end at round times, a tenth of their length apart, so that objects are locked for longer ten times
//! in that length, and not with every run. The vault's `config` comes last: where it is locked until such a time, all that was there before it is, too.

use std::{collections::HashSet, time::Duration};

use bulkhead_model::{Fault, FaultKind, Finding, Severity, Timestamp};
use bulkhead_runtime::{Cancellation, PluginError};
use bulkhead_vault::{ObjectInfo, ObjectStore as _, Vault};
use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use crate::{access::Sinks, clock, maintenance::MaintainError, operation::Operation, replicate::KINDS, store::SinkStore};

/// Round times in the length of a lock.
const STEPS: i64 = 10;

/// The kind of the objects that the index names.
const PACKS: &str = "data/";

/// The object that is locked last.
const LAST: &str = "config";

/// For how long objects are locked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ObjectLock(Duration);

impl ObjectLock {
    pub(crate) fn new(length: Duration) -> Self {
        Self(length)
    }

    /// Until when an object is locked at least that is stored now.
    fn end(self, now: Timestamp) -> Timestamp {
        let length = i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX / 4);
        Timestamp {
            seconds: now.seconds.saturating_add(length),
            nanoseconds: 0,
        }
    }

    /// Until when an object is locked that is stored now: at least the length and a tenth of it, which is when locks become longer again; at most two tenths.
    pub(crate) fn until(self, now: Timestamp) -> Timestamp {
        let end = self.end(now).seconds;
        let step = (end.saturating_sub(now.seconds) / STEPS).max(1);
        let steps = end.div_euclid(step).saturating_add(2);
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
    /// Objects that were seen to be locked for so long; none where that was not due.
    pub objects: u64,
    /// Why it isn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whether a sink locks that should, and whether what is there is locked.
pub(crate) async fn check(sink: &SinkStore) -> Option<Finding> {
    let lock = sink.lock()?;
    let locked = match sink.pool().traits().await {
        Ok(traits) if traits.object_lock => sink.pool().locked_until(LAST).await,
        Ok(_) => return Some(finding(Severity::Error, "cannot-lock", &sink.cannot_lock())),
        Err(error) => Err(error),
    };
    let now = clock::now();
    let fault = match locked.map_err(PluginError::into_fault) {
        Ok(Some(locked)) if locked.seconds >= lock.end(now).seconds => return None,
        Ok(Some(locked)) if locked.seconds >= now.seconds => {
            let message = format!("what is stored there is locked until {} only", clock::rfc3339(locked));
            return Some(finding(
                Severity::Warning,
                "lock-ends",
                &Fault::new(FaultKind::Conflict, message).hint(EXTEND),
            ));
        }
        Ok(_) => Fault::new(FaultKind::Conflict, "what is stored there is not locked, or not any more").hint(EXTEND),
        Err(fault) if fault.kind == FaultKind::NotFound => return None,
        Err(fault) => fault,
    };
    Some(finding(Severity::Error, "not-locked", &fault))
}

/// Who locks for longer.
const EXTEND: &str = "`bulkhead extend-locks` locks it for as long as it should be, and so does each run";

fn finding(severity: Severity, code: &str, fault: &Fault) -> Finding {
    Finding {
        severity,
        code: code.to_owned(),
        message: fault.to_string(),
        hint: fault.hint.clone(),
        setting: Some("lock".to_owned()),
    }
}

/// What became of the locks of a vault.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExtendReport {
    /// The vault.
    pub vault: String,
    /// Its sinks that lock.
    pub locks: Vec<LockReport>,
}

impl ExtendReport {
    /// Whether everything is locked for as long as it should be.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        are_extended(&self.locks)
    }
}

/// Whether nothing went wrong with any of them.
pub(crate) fn are_extended(locks: &[LockReport]) -> bool {
    locks.iter().all(|lock| lock.error.is_none())
}

/// Locks for longer what is in the vault called `name`.
///
/// # Errors
/// See [`MaintainError`]; what could not be locked is in the report.
pub async fn extend_locks(operation: &Operation, name: &str) -> Result<ExtendReport, MaintainError> {
    operation.until_interrupted(None, extend_in(operation, name)).await?
}

async fn extend_in(operation: &Operation, name: &str) -> Result<ExtendReport, MaintainError> {
    let vault = operation.vault_named(name)?;
    let mut report = ExtendReport {
        vault: name.to_owned(),
        locks: Vec::new(),
    };
    let locks = |name| operation.config.sink(name).is_some_and(|sink| sink.lock.is_some());
    if vault.sinks.iter().any(|name| locks(name)) {
        let sinks = operation.sinks(vault).await?;
        let opened = operation.open(vault, &sinks).await?;
        report.locks = extend(&opened, &sinks, operation).await;
    }
    Ok(report)
}

/// Locks for longer what is on those of the sinks that lock, where that is due. An interruption leaves the rest to the next time.
pub(crate) async fn extend(vault: &Vault, sinks: &Sinks, operation: &Operation) -> Vec<LockReport> {
    let mut reports = Vec::new();
    for (number, sink) in std::iter::once(&sinks.first).chain(&sinks.further).enumerate() {
        if let Some(lock) = sink.lock() {
            operation.progress.phase(&format!("locking on {}", sink.name()), None);
            // A further sink may lack what it has not got yet, and gets with the next run what was removed from it.
            let complete = (number == 0).then_some(vault);
            reports.push(extend_on(complete, sink, lock.until(clock::now()), &operation.cancellation).await);
        }
    }
    reports
}

async fn extend_on(vault: Option<&Vault>, sink: &SinkStore, until: Timestamp, cancellation: &Cancellation) -> LockReport {
    let mut report = LockReport {
        sink: sink.name().to_owned(),
        until: clock::rfc3339(until),
        objects: 0,
        error: None,
        hint: None,
    };
    let extended = tokio::select! {
        extended = extend_all(vault, sink, until, &mut report.objects) => extended,
        () = cancellation.cancelled() => Err(Fault::new(FaultKind::Cancelled, "interrupted before everything was locked")),
    };
    if let Err(fault) = extended {
        tracing::error!(sink = sink.name(), "not everything is locked: {fault}");
        report.error = Some(fault.to_string());
        report.hint = fault.hint;
    }
    report
}

/// Extends the locks of all objects, also behind one whose lock can't be; the first failure is told. All packs of `vault` should be there.
async fn extend_all(vault: Option<&Vault>, sink: &SinkStore, until: Timestamp, extended: &mut u64) -> Result<(), Fault> {
    let locked = sink.pool().locked_until(LAST).await.map_err(PluginError::into_fault)?;
    // One that is locked for longer was locked when the length was another one, which says nothing of what was stored since.
    if locked.is_some_and(|locked| locked.seconds == until.seconds) {
        return Ok(());
    }
    let concurrency = sink.traits().await?.concurrency.max(1) as usize;
    let mut failed = Ok(());
    for kind in KINDS.iter().filter(|kind| **kind != LAST) {
        let listed = sink.list(kind).await?;
        if let Some(vault) = vault.filter(|_| *kind == PACKS) {
            failed = failed.and(all_packs(vault, sink, &listed).await);
        }
        let objects = stream::iter(listed)
            .map(async |object| extend_one(sink, &object.key, until).await)
            .buffer_unordered(concurrency);
        let mut objects = std::pin::pin!(objects);
        while let Some(one) = objects.next().await {
            match one {
                Ok(one) => *extended += one,
                Err(fault) => failed = failed.and(Err(fault)),
            }
        }
    }
    failed?;
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

/// Fails where the index names packs that the sink does not show: somebody has removed them, and the lock of what that left behind must not end unnoticed.
async fn all_packs(vault: &Vault, sink: &SinkStore, listed: &[ObjectInfo]) -> Result<(), Fault> {
    let needed = vault
        .pack_keys()
        .await
        .map_err(|error| Fault::new(FaultKind::Corrupt, error.to_string()))?;
    let listed: HashSet<&str> = listed.iter().map(|object| object.key.as_str()).collect();
    let mut missing = 0_usize;
    for key in needed {
        // Stored since the listing was made, perhaps.
        if !listed.contains(key.as_str()) && sink.stat(&key).await?.is_none() {
            missing += 1;
        }
    }
    let what = match missing {
        0 => return Ok(()),
        1 => "a pack that snapshots need is".to_owned(),
        many => format!("{many} packs that snapshots need are"),
    };
    let fault = Fault::new(FaultKind::Corrupt, format!("{what} not on the sink any more"));
    Err(fault.hint(
        "in a bucket that keeps versions they are there behind delete markers: remove the markers before the locks end; or copy the packs back from another sink with `bulkhead repair objects`",
    ))
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
