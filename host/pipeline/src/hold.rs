//! `bulkhead hold`: snapshots that somebody wants to stay, by name and reason.

use bulkhead_vault::{Hold, SnapshotInfo, TagChange};
use serde::Serialize;

use crate::{
    browse::{self, SnapshotError, UnreadableSnapshot},
    clock,
    maintenance::MaintainError,
    operation::Operation,
    tag::{self, TagReport},
};

/// Who wants a snapshot to stay, since when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedHold {
    /// What it is called, to tell it from others of the same snapshot.
    pub id: String,
    /// Who says so.
    pub name: String,
    /// Why.
    pub reason: String,
    /// Since when, RFC 3339.
    pub since: String,
}

impl From<Hold> for NamedHold {
    fn from(hold: Hold) -> Self {
        Self {
            id: hold.id(),
            since: clock::rfc3339(hold.since),
            name: hold.name,
            reason: hold.reason,
        }
    }
}

/// The holds of a snapshot.
pub(crate) fn of(snapshot: &SnapshotInfo) -> Vec<NamedHold> {
    snapshot.holds().into_iter().map(NamedHold::from).collect()
}

/// A snapshot that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldSnapshot {
    /// Its id, in full.
    pub id: String,
    /// When it was taken, RFC 3339.
    pub time: String,
    /// The pipeline; `None` where another tool made it.
    pub pipeline: Option<String>,
    /// Who holds it; none where only the tag `held` says so, which other tools may have given it.
    pub holds: Vec<NamedHold>,
}

/// What is held in a vault, as the sink has it that is read from.
#[derive(Debug, Clone, Serialize)]
pub struct HoldList {
    /// The vault.
    pub vault: String,
    /// Its snapshots that are held, oldest first.
    pub snapshots: Vec<HeldSnapshot>,
    /// Snapshots whose files are damaged: whether they are held can't be told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableSnapshot>,
}

/// Which holds there are in the vault called `name`.
///
/// # Errors
/// See [`SnapshotError`].
pub async fn holds(operation: &Operation, name: &str) -> Result<HoldList, SnapshotError> {
    operation.until_interrupted(None, list(operation, name)).await?
}

async fn list(operation: &Operation, name: &str) -> Result<HoldList, SnapshotError> {
    let (store, vault) = operation.open_to_read(operation.vault_named(name)?).await?;
    let (snapshots, unreadable) = browse::snapshot_files(&vault, &store).await?;
    let held = |snapshot: &SnapshotInfo| HeldSnapshot {
        id: snapshot.id.to_string(),
        time: clock::rfc3339(snapshot.time),
        pipeline: snapshot.pipeline.clone(),
        holds: of(snapshot),
    };
    Ok(HoldList {
        vault: name.to_owned(),
        snapshots: snapshots.iter().filter(|snapshot| snapshot.is_held()).map(held).collect(),
        unreadable: unreadable
            .into_iter()
            .map(|(id, error)| UnreadableSnapshot::new(id, name, error))
            .collect(),
    })
}

/// Holds the snapshots that `selectors` name, in the vault called `vault`, for `name`, because of `reason`, from now on.
///
/// # Errors
/// See [`MaintainError`]; what couldn't be done on a further sink is in the report.
pub async fn hold(
    operation: &Operation,
    vault: &str,
    pipeline: Option<&str>,
    selectors: &[String],
    (name, reason): (&str, &str),
) -> Result<TagReport, MaintainError> {
    tag::tag(operation, vault, pipeline, selectors, &TagChange::Hold(now(name, reason))).await
}

/// Ends the hold of the snapshots that `selectors` name whose id begins with `hold`, or their only one.
///
/// # Errors
/// See [`MaintainError`]; what couldn't be done on a further sink is in the report.
pub async fn release(
    operation: &Operation,
    vault: &str,
    pipeline: Option<&str>,
    (selectors, hold): (&[String], Option<&str>),
    (name, reason): (&str, &str),
) -> Result<TagReport, MaintainError> {
    let change = TagChange::Release {
        hold: hold.map(str::to_owned),
        by: now(name, reason),
    };
    tag::tag(operation, vault, pipeline, selectors, &change).await
}

fn now(name: &str, reason: &str) -> Hold {
    Hold {
        name: name.to_owned(),
        reason: reason.to_owned(),
        since: clock::now(),
    }
}
