//! Bringing the further sinks of a vault up to date: copying the objects that they lack, snapshots last.
//!
//! Objects never change once stored, so what is there under a key and has the right size is right. Snapshots come last, so that a replica that was
//! cut off is one that lacks the newest snapshots, never one that lacks parts of those it shows.

use std::{collections::HashMap, sync::Arc};

use bulkhead_model::{Fault, FaultKind};
use bulkhead_runtime::Cancellation;
use bulkhead_vault::{ObjectBody, ObjectInfo, ObjectStore as _};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use crate::store::SinkStore;

/// Copies in flight at once: a few packs of some MiB each.
const CONCURRENT_COPIES: usize = 4;
/// Everything but locks, which belong to the store that they lock. In the order in which objects refer to each other.
pub(crate) const KINDS: [&str; 5] = ["config", "keys/", "data/", "index/", "snapshots/"];

/// What became of one replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReplicaReport {
    /// The sink.
    pub sink: String,
    /// Objects that it lacked and has now.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Why it isn't up to date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Copies what `to` lacks of `from`. One that is empty becomes a replica; one that holds another vault is refused.
/// An interruption leaves it as far as it is.
pub(crate) async fn replicate(from: &Arc<SinkStore>, to: &Arc<SinkStore>, cancellation: &Cancellation) -> ReplicaReport {
    let mut report = ReplicaReport {
        sink: to.name().to_owned(),
        objects: 0,
        bytes: 0,
        error: None,
        hint: None,
    };
    let copied = tokio::select! {
        biased;
        () = cancellation.cancelled() => Err(Fault::new(FaultKind::Cancelled, "interrupted before it was up to date")),
        copied = copy_missing(from, to, &mut report) => copied,
    };
    if let Err(fault) = copied {
        tracing::info!(sink = to.name(), "the replica is not up to date: {fault}");
        report.error = Some(fault.to_string());
        report.hint = fault.hint;
    }
    report
}

async fn copy_missing(from: &Arc<SinkStore>, to: &Arc<SinkStore>, report: &mut ReplicaReport) -> Result<(), Fault> {
    match to.stat("config").await {
        Ok(Some(_)) => {
            if from.get("config", None).await? != to.get("config", None).await? {
                let fault = Fault::new(FaultKind::Conflict, format!("the sink `{}` holds another vault", to.name()));
                return Err(fault.hint("give this replica a place of its own, or empty it if nothing in it is needed"));
            }
        }
        Ok(None) => begin_replica(from, to).await?,
        Err(fault) if fault.kind == FaultKind::NotFound => begin_replica(from, to).await?,
        Err(fault) => return Err(fault),
    }
    // Listed from the end: whatever a listed object refers to was stored before it, and is in a list that is made after.
    let mut listed = Vec::with_capacity(KINDS.len());
    for kind in KINDS.iter().rev() {
        listed.push(from.list(kind).await?);
    }
    listed.reverse();
    // The vault's `config` marks a store as one: a new replica gets it when everything else is there.
    listed.rotate_left(1);
    for (kind, here) in KINDS.iter().cycle().skip(1).zip(listed) {
        let missing = lacking(here, to.list(kind).await?);
        let copies = stream::iter(missing)
            .map(async |object| copy(from, to, &object.key).await)
            .buffer_unordered(CONCURRENT_COPIES);
        let mut copies = std::pin::pin!(copies);
        while let Some(bytes) = copies.try_next().await? {
            report.objects += 1;
            report.bytes += bytes;
        }
    }
    Ok(())
}

/// Prepares a store without a `config`. One that has keys of this vault only is a replica whose first copy was cut off: it goes on.
async fn begin_replica(from: &SinkStore, to: &SinkStore) -> Result<(), Fault> {
    if goes_on(&from.list("keys/").await?, &to.list("keys/").await?) {
        return Ok(());
    }
    to.initialize().await
}

/// Whether `there`, the keys of a store without a `config`, are some of `here`.
fn goes_on(here: &[ObjectInfo], there: &[ObjectInfo]) -> bool {
    !there.is_empty() && there.iter().all(|key| here.iter().any(|ours| ours.key == key.key))
}

/// What is `here`, but not with the same size `there`.
fn lacking(mut here: Vec<ObjectInfo>, there: Vec<ObjectInfo>) -> Vec<ObjectInfo> {
    let there: HashMap<String, u64> = there.into_iter().map(|object| (object.key, object.size)).collect();
    here.retain(|object| there.get(&object.key) != Some(&object.size));
    here
}

/// Refuses content that is not what its key says: a damaged object must not take the place of a good one, or be spread.
fn check(key: &str, body: &ObjectBody, sink: &str) -> Result<(), Fault> {
    let id = key.rsplit('/').next().unwrap_or(key);
    if key == "config" || id == hex::encode(body.sha256) {
        return Ok(());
    }
    let fault = Fault::new(
        FaultKind::Corrupt,
        format!("the object `{key}` is damaged on the sink `{sink}`, and was not copied"),
    );
    Err(fault.hint("`bulkhead verify --read-data` says what is affected"))
}

/// Reads an object, which must be what its key says.
pub(crate) async fn get_good(from: &SinkStore, key: &str) -> Result<ObjectBody, Fault> {
    let body = ObjectBody::new(from.get(key, None).await?);
    check(key, &body, from.name())?;
    Ok(body)
}

/// Copies one object, which must be what its key says.
pub(crate) async fn copy(from: &SinkStore, to: &SinkStore, key: &str) -> Result<u64, Fault> {
    let body = get_good(from, key).await?;
    let size = body.size();
    to.put(key, body, false).await?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(keys: &[(&str, u64)]) -> Vec<ObjectInfo> {
        let object = |(key, size): &(&str, u64)| ObjectInfo {
            key: (*key).to_owned(),
            size: *size,
        };
        keys.iter().map(object).collect()
    }

    #[test]
    fn a_damaged_object_is_not_spread() {
        let body = ObjectBody::new("content");
        let id = hex::encode(body.sha256);
        assert_eq!(check(&format!("data/{}/{id}", &id[..2]), &body, "one"), Ok(()));
        assert_eq!(check("config", &body, "one"), Ok(()));
        let fault = check(&format!("keys/{id}"), &ObjectBody::new("other"), "one");
        assert_eq!(fault.map_err(|fault| fault.kind), Err(FaultKind::Corrupt));
    }

    #[test]
    fn a_replica_that_was_cut_off_goes_on() {
        let ours = objects(&[("keys/a", 1), ("keys/b", 1)]);
        assert!(goes_on(&ours, &objects(&[("keys/b", 1)])));
        assert!(!goes_on(&ours, &objects(&[])));
        assert!(!goes_on(&ours, &objects(&[("keys/b", 1), ("keys/c", 1)])));
    }
}
