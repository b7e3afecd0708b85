//! `bulkhead tag`: changing the tags of snapshots, on all sinks.

use std::collections::HashSet;

use bulkhead_vault::{ObjectId, SnapshotInfo, TagChange, Tagged};
use serde::Serialize;

use crate::{
    browse::{self, SnapshotError},
    failure::Explain as _,
    maintenance::{MaintainError, Replica, SinkOutcome, failed, is_one_of, replace_snapshots},
    operation::Operation,
};

/// A snapshot and its tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TaggedSnapshot {
    /// Its id before.
    pub before: String,
    /// Its id now: a snapshot is named by what is said about it, its tags included.
    pub snapshot: String,
    /// Its tags.
    pub tags: Vec<String>,
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TagReport {
    /// The vault.
    pub vault: String,
    /// The snapshots, in the order in which they were named.
    pub snapshots: Vec<TaggedSnapshot>,
    /// Each further sink.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<SinkOutcome>,
}

/// Changes the tags of the snapshots that `selectors` name, in the vault called `name`, of `pipeline` where one is given.
///
/// # Errors
/// See [`MaintainError`]; what couldn't be done on a further sink is in the report.
pub async fn tag(
    operation: &Operation,
    name: &str,
    pipeline: Option<&str>,
    selectors: &[String],
    change: &TagChange,
) -> Result<TagReport, MaintainError> {
    operation
        .until_interrupted(None, change_tags(operation, name, pipeline, selectors, change))
        .await?
}

#[tracing::instrument(name = "tag", skip(operation, selectors, change))]
async fn change_tags(
    operation: &Operation,
    name: &str,
    pipeline: Option<&str>,
    selectors: &[String],
    change: &TagChange,
) -> Result<TagReport, MaintainError> {
    let vault = operation.vault_named(name)?;
    let cannot = |error| failed("change tags", vault, error);
    change.check().map_err(cannot)?;
    let replicas = operation.open_replicas(vault).await?;
    let first = &replicas.first;
    let mut chosen: Vec<SnapshotInfo> = Vec::with_capacity(selectors.len());
    for selector in selectors {
        let snapshot = browse::resolve(&first.vault, selector, pipeline).await?;
        if !chosen.contains(&snapshot) {
            chosen.push(snapshot);
        }
    }
    let ids: Vec<ObjectId> = chosen.iter().map(|snapshot| snapshot.id).collect();
    let there = browse::snapshot_ids(&first.store).await.map_err(SnapshotError::from)?;
    let mut there: HashSet<ObjectId> = there.into_iter().collect();
    let stop = operation.stop();
    let tagged = first
        .vault
        .tag(&ids, change, &operation.host.name, &stop.stop)
        .await
        .map_err(cannot)?;
    for tagged in &tagged {
        there.remove(&tagged.before);
        there.insert(tagged.now);
    }
    let mut sinks = Vec::new();
    for replica in &replicas.further {
        sinks.push(match replaced(replica, &chosen, &there).await {
            Ok(replaced) => replace_snapshots(operation, vault, first, replica, &replaced).await,
            Err(error) => SinkOutcome::failed(replica.name(), 0, &error.explain()),
        });
    }
    sinks.extend(replicas.unusable);
    Ok(TagReport {
        vault: name.to_owned(),
        snapshots: tagged.iter().map(told).collect(),
        sinks,
    })
}

/// The snapshots on a replica that are some of `chosen` under the names that they had before, whenever that was; `there` are those of the first sink.
async fn replaced(replica: &Replica, chosen: &[SnapshotInfo], there: &HashSet<ObjectId>) -> Result<Vec<ObjectId>, SnapshotError> {
    let (snapshots, _) = browse::snapshot_files(&replica.vault, &replica.store).await?;
    let replaced = snapshots
        .iter()
        .filter(|snapshot| !there.contains(&snapshot.id) && is_one_of(snapshot, chosen));
    Ok(replaced.map(|snapshot| snapshot.id).collect())
}

fn told(tagged: &Tagged) -> TaggedSnapshot {
    TaggedSnapshot {
        before: tagged.before.to_string(),
        snapshot: tagged.now.to_string(),
        tags: tagged.tags.clone(),
    }
}
