//! Bringing the further sinks of a vault up to date: copying the objects that they lack, snapshots last.
//!
//! Objects never change once stored, so what is there under a key and has the right size is right. Snapshots come last, so that a replica that was
//! cut off is one that lacks the newest snapshots, never one that lacks parts of those it shows.

use std::{collections::HashMap, sync::Arc};

use bulkhead_model::{Fault, FaultKind};
use bulkhead_vault::{ObjectBody, ObjectInfo, ObjectStore as _};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use crate::store::SinkStore;

/// Copies in flight at once: a few packs of some MiB each.
const CONCURRENT_COPIES: usize = 4;
/// Everything but locks, which belong to the store that they lock. In the order in which objects refer to each other.
const KINDS: [&str; 5] = ["config", "keys/", "data/", "index/", "snapshots/"];

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
pub(crate) async fn replicate(from: &Arc<SinkStore>, to: &Arc<SinkStore>) -> ReplicaReport {
    let mut report = ReplicaReport {
        sink: to.name().to_owned(),
        objects: 0,
        bytes: 0,
        error: None,
        hint: None,
    };
    if let Err(fault) = copy_missing(from, to, &mut report).await {
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
        Ok(None) => to.initialize().await?,
        Err(fault) if fault.kind == FaultKind::NotFound => to.initialize().await?,
        Err(fault) => return Err(fault),
    }
    // The vault's `config` marks a store as one: a new replica gets it when everything else is there.
    for kind in KINDS.iter().skip(1).chain(KINDS.first()) {
        let missing = missing(from, to, kind).await?;
        let copies = stream::iter(missing)
            .map(|object| copy(from, to, object))
            .buffer_unordered(CONCURRENT_COPIES);
        let mut copies = std::pin::pin!(copies);
        while let Some(bytes) = copies.try_next().await? {
            report.objects += 1;
            report.bytes += bytes;
        }
    }
    Ok(())
}

async fn missing(from: &SinkStore, to: &SinkStore, prefix: &str) -> Result<Vec<ObjectInfo>, Fault> {
    let there: HashMap<String, u64> = to.list(prefix).await?.into_iter().map(|object| (object.key, object.size)).collect();
    let mut here = from.list(prefix).await?;
    here.retain(|object| there.get(&object.key) != Some(&object.size));
    Ok(here)
}

async fn copy(from: &SinkStore, to: &SinkStore, object: ObjectInfo) -> Result<u64, Fault> {
    let content = from.get(&object.key, None).await?;
    let size = content.len() as u64;
    to.put(&object.key, ObjectBody::new(content), false).await?;
    Ok(size)
}
