//! `bulkhead repair`: making the best of what damage has left.

use bulkhead_config as config;
use bulkhead_vault::{IndexRepair, ObjectId, ReadError, SnapshotRepair, UnreadableObject};
use serde::Serialize;

use crate::{
    browse::{self, UnreadableSnapshot},
    clock,
    failure::Explain as _,
    maintenance::{MaintainError, Replica, SinkOutcome, failed, replace_snapshots},
    operation::Operation,
};

/// What the repair of an index does, or has done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct IndexRepairReport {
    /// The vault.
    pub vault: String,
    /// The sink: replicas are damaged each for itself.
    pub sink: String,
    /// Whether it was done, or only planned.
    pub done: bool,
    /// Packs that get into the index.
    pub added: Vec<String>,
    /// Packs that are gone, and leave it.
    pub dropped: Vec<String>,
    /// Index files that can't be read, and go.
    pub unreadable_index: Vec<UnreadableFile>,
    /// Packs that are in no index and can't be read. They stay.
    pub unreadable_packs: Vec<UnreadableFile>,
    /// Whether the index is as it should be.
    pub nothing_to_do: bool,
    #[serde(skip)]
    repair: IndexRepair,
}

/// An object that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnreadableFile {
    /// Its key.
    pub object: String,
    /// Why not.
    pub reason: String,
}

impl IndexRepairReport {
    fn new(vault: &str, sink: &str, done: bool, repair: IndexRepair) -> Self {
        let texts = |ids: &[bulkhead_vault::ObjectId]| ids.iter().map(ToString::to_string).collect();
        let files = |objects: &[UnreadableObject]| {
            let file = |object: &UnreadableObject| UnreadableFile {
                object: object.key.clone(),
                reason: object.reason.clone(),
            };
            objects.iter().map(file).collect()
        };
        Self {
            vault: vault.to_owned(),
            sink: sink.to_owned(),
            done,
            added: texts(&repair.added),
            dropped: texts(&repair.dropped),
            unreadable_index: files(&repair.unreadable_index),
            unreadable_packs: files(&repair.unreadable_packs),
            nothing_to_do: repair.is_empty(),
            repair,
        }
    }
}

/// What [`repair_index`] would do with the vault called `name`, on the sink that the operation reads from.
///
/// # Errors
/// See [`MaintainError`].
pub async fn plan_index_repair(operation: &Operation, name: &str) -> Result<IndexRepairReport, MaintainError> {
    operation.until_interrupted(None, repair(operation, name, None, false)).await?
}

/// Repairs the index of the vault called `name`; `agreed` is the plan that was shown, where one was.
///
/// # Errors
/// See [`MaintainError`].
pub async fn repair_index(
    operation: &Operation,
    name: &str,
    agreed: Option<&IndexRepairReport>,
) -> Result<IndexRepairReport, MaintainError> {
    operation.until_interrupted(None, repair(operation, name, agreed, true)).await?
}

#[tracing::instrument(name = "repair index", skip(operation, agreed))]
async fn repair(
    operation: &Operation,
    name: &str,
    agreed: Option<&IndexRepairReport>,
    done: bool,
) -> Result<IndexRepairReport, MaintainError> {
    let config = operation.vault_named(name)?;
    let store = operation.sink_to_read(config).await?;
    let vault = operation.open_on(config, &store).await?;
    operation.progress.phase("comparing the index with the packs", None);
    let (stop, host) = (operation.stop(), &operation.host.name);
    let repair = if done {
        vault.repair_index(agreed.map(|agreed| &agreed.repair), host, &stop.stop).await
    } else {
        vault.plan_index_repair(host, &stop.stop).await
    };
    let repair = repair.map_err(|error| failed("repair the index", config, error))?;
    Ok(IndexRepairReport::new(name, store.name(), done, repair))
}

/// A snapshot that is not whole, and what it becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RepairedSnapshot {
    /// Its id.
    pub id: String,
    /// When it was taken, RFC 3339.
    pub time: String,
    /// The pipeline; `None` where another tool made it.
    pub pipeline: Option<String>,
    /// Files and folders that are damaged or lost, the first hundred.
    pub damaged: Vec<String>,
    /// All of them.
    pub damaged_count: u64,
    /// Whether nothing of it is left.
    pub is_lost: bool,
    /// The id of the snapshot with what remains, where it was made.
    pub repaired: Option<String>,
}

/// What the repair of snapshots does, or has done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotRepairReport {
    /// The vault.
    pub vault: String,
    /// Whether it was done, or only planned.
    pub done: bool,
    /// Whether the damaged snapshots go.
    pub forget: bool,
    /// Snapshots that are not whole.
    pub snapshots: Vec<RepairedSnapshot>,
    /// Snapshots whose own files are damaged: nothing of them is left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableSnapshot>,
    /// Each further sink.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<SinkOutcome>,
    #[serde(skip)]
    repairs: Vec<SnapshotRepair>,
    #[serde(skip)]
    unreadable_ids: Vec<ObjectId>,
}

impl SnapshotRepairReport {
    fn new(vault: &str, done: bool, forget: bool, repairs: Vec<SnapshotRepair>) -> Self {
        let told = |repair: &SnapshotRepair| RepairedSnapshot {
            id: repair.snapshot.id.to_string(),
            time: clock::rfc3339(repair.snapshot.time),
            pipeline: repair.snapshot.pipeline.clone(),
            damaged: repair.damaged.clone(),
            damaged_count: repair.damaged_count,
            is_lost: repair.is_lost,
            repaired: repair.repaired.map(|id| id.to_string()),
        };
        Self {
            vault: vault.to_owned(),
            done,
            forget,
            snapshots: repairs.iter().map(told).collect(),
            unreadable: Vec::new(),
            sinks: Vec::new(),
            repairs,
            unreadable_ids: Vec::new(),
        }
    }

    /// Whether there is nothing to do: what nothing is left of can only be forgotten.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.snapshots.is_empty() && (self.unreadable.is_empty() || !self.forget)
    }
}

/// Which snapshots of the vault called `name` are not whole on its first sink, and what [`repair_snapshots`] would do with them.
///
/// # Errors
/// See [`MaintainError`].
pub async fn plan_snapshot_repair(operation: &Operation, name: &str, forget: bool) -> Result<SnapshotRepairReport, MaintainError> {
    operation
        .until_interrupted(None, look_at_snapshots(operation, name, forget))
        .await?
}

#[tracing::instrument(name = "repair snapshots", skip(operation, forget))]
async fn look_at_snapshots(operation: &Operation, name: &str, forget: bool) -> Result<SnapshotRepairReport, MaintainError> {
    let config = operation.vault_named(name)?;
    let sinks = operation.sinks(config).await?;
    let vault = operation.open(config, &sinks).await?;
    operation.progress.phase("walking snapshots", None);
    let stop = operation.stop();
    let repairs = vault.plan_snapshot_repair(&operation.host.name, &stop.stop).await;
    let repairs = repairs.map_err(|error| failed("repair snapshots", config, error))?;
    let mut report = SnapshotRepairReport::new(name, false, forget, repairs);
    let (_, unreadable) = browse::snapshot_files(&vault, &sinks.first).await?;
    // What can't be had for another reason is no damage.
    for (id, error) in unreadable.into_iter().filter(|(_, error)| matches!(error, ReadError::Corrupt(_))) {
        report.unreadable_ids.push(id);
        report.unreadable.push(UnreadableSnapshot::new(id, name, error));
    }
    Ok(report)
}

/// Makes snapshots of what remains, as `agreed`, the plan that was shown; the further sinks of the vault follow.
///
/// # Errors
/// See [`MaintainError`]; what couldn't be done on a further sink is in the report.
pub async fn repair_snapshots(operation: &Operation, agreed: &SnapshotRepairReport) -> Result<SnapshotRepairReport, MaintainError> {
    operation.until_interrupted(None, carry_out(operation, agreed)).await?
}

#[tracing::instrument(name = "repair snapshots", skip_all, fields(vault = agreed.vault))]
async fn carry_out(operation: &Operation, agreed: &SnapshotRepairReport) -> Result<SnapshotRepairReport, MaintainError> {
    let config = operation.vault_named(&agreed.vault)?;
    let replicas = operation.open_replicas(config).await?;
    operation.progress.phase("repairing snapshots", None);
    let (stop, host) = (operation.stop(), &operation.host.name);
    let first = &replicas.first;
    let repairs = first
        .vault
        .repair_snapshots(Some(&agreed.repairs), agreed.forget, host, &stop.stop)
        .await
        .map_err(|error| failed("repair snapshots", config, error))?;
    let mut gone = Vec::new();
    if agreed.forget {
        let forgotten = first.vault.forget(&agreed.unreadable_ids, host, &stop.stop).await;
        if let Some(error) = forgotten.error {
            return Err(failed("forget snapshots that can't be read", config, error));
        }
        gone.extend(repairs.iter().map(|repair| repair.snapshot.id));
        gone.extend(&agreed.unreadable_ids);
    }
    let mut report = SnapshotRepairReport::new(&agreed.vault, true, agreed.forget, repairs);
    report.unreadable.clone_from(&agreed.unreadable);
    for replica in &replicas.further {
        report.sinks.push(follow(operation, config, first, replica, &gone).await);
    }
    report.sinks.extend(replicas.unusable);
    Ok(report)
}

/// Gives a replica the repaired snapshots, and takes from it the damaged ones, `gone`; but not those that it has whole: nobody else has them any more.
async fn follow(operation: &Operation, vault: &config::Vault, first: &Replica, replica: &Replica, gone: &[ObjectId]) -> SinkOutcome {
    let whole = if gone.is_empty() {
        Vec::new()
    } else {
        let stop = operation.stop();
        match replica.vault.whole_snapshots(gone, &operation.host.name, &stop.stop).await {
            Ok(whole) => whole,
            Err(error) => {
                let failure = failed("look for damage on it", vault, error).explain();
                return SinkOutcome::failed(replica.name(), 0, &failure);
            }
        }
    };
    let gone: Vec<ObjectId> = gone.iter().filter(|id| !whole.contains(id)).copied().collect();
    let mut outcome = replace_snapshots(operation, vault, first, replica, &gone).await;
    if outcome.error.is_none() && !whole.is_empty() {
        let (sink, vault) = (replica.name(), &vault.name);
        outcome.error = Some(format!("it has {} of the damaged snapshots whole, and keeps them", whole.len()));
        outcome.hint = Some(format!(
            "restore them from it (`--sink {sink}`) before `bulkhead forget --vault {vault} --snapshot ID` takes them from it, too"
        ));
    }
    outcome
}
