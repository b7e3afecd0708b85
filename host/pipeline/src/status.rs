//! `bulkhead status`: how old the last snapshot of each pipeline is, and what the further sinks of its vault lack of it.

use std::{collections::HashSet, sync::Arc};

use bulkhead_config as config;
use bulkhead_config::Pipeline;
use bulkhead_model::{Finding, Timestamp};
use bulkhead_vault::{KeyInfo, ObjectStore as _, ReadError, SnapshotInfo, Vault};
use serde::Serialize;

use crate::{
    access::{AccessError, Sinks},
    browse::{self, SnapshotError, UnreadableSnapshot},
    clock,
    operation::Operation,
    store::SinkStore,
    verified::{Known, VerifiedMark},
};

/// How a pipeline stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Its last snapshot is not older than its RPO, where it has one.
    Good,
    /// Its last snapshot is older than its RPO.
    Overdue,
    /// It has no snapshot.
    None,
}

/// How the pipelines of a vault stand.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VaultStatus {
    /// Each that was asked about.
    pub pipelines: Vec<PipelineStatus>,
    /// Snapshots whose files are damaged: whose they are can't be told, and one may be somebody's last.
    pub unreadable: Vec<UnreadableSnapshot>,
}

/// A pipeline, and where its snapshots are.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PipelineStatus {
    /// The pipeline.
    pub pipeline: String,
    /// Its vault.
    pub vault: String,
    /// How it stands.
    pub standing: Standing,
    /// How old its last snapshot may be, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpo_seconds: Option<u64>,
    /// Its snapshots on the first sink.
    pub snapshots: u64,
    /// The last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastSnapshot>,
    /// The last of them that was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_verified: Option<VerifiedSnapshot>,
    /// The further sinks.
    pub replicas: Vec<ReplicaStatus>,
}

/// A snapshot, and how old it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LastSnapshot {
    /// Its id.
    pub id: String,
    /// When it was taken, RFC 3339.
    pub time: String,
    /// The same, in seconds since 1970.
    #[serde(skip)]
    pub seconds: i64,
    /// How long ago that was, in seconds; 0 for one of the future.
    pub age_seconds: u64,
}

impl LastSnapshot {
    pub(crate) fn of(snapshot: &SnapshotInfo, now: Timestamp) -> Self {
        Self {
            id: snapshot.id.to_string(),
            time: clock::rfc3339(snapshot.time),
            seconds: snapshot.time.seconds,
            age_seconds: u64::try_from(now.seconds - snapshot.time.seconds).unwrap_or(0),
        }
    }
}

/// A snapshot that was found whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VerifiedSnapshot {
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: LastSnapshot,
    /// How it was verified, at most once for each depth.
    pub verified: Vec<VerifiedMark>,
}

/// What a further sink has of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReplicaStatus {
    /// The sink.
    pub sink: String,
    /// Snapshots that the first sink has and this one lacks.
    pub behind: u64,
    /// The last snapshot that it has, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastSnapshot>,
    /// Why it can't be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl PipelineStatus {
    /// Whether a further sink lacks something, or can't be asked.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.replicas.iter().any(|replica| replica.behind > 0 || replica.error.is_some())
    }
}

/// How `pipelines`, all of the vault called `name`, stand.
///
/// # Errors
/// See [`SnapshotError`]; that a further sink can't be asked is in the result.
pub async fn status(operation: &Operation, name: &str, pipelines: &[&Pipeline]) -> Result<VaultStatus, SnapshotError> {
    operation.until_interrupted(None, look(operation, name, pipelines)).await?
}

async fn look(operation: &Operation, name: &str, pipelines: &[&Pipeline]) -> Result<VaultStatus, SnapshotError> {
    let vault = operation.vault_named(name).map_err(AccessError::from)?;
    let sinks = operation.sinks(vault).await.map_err(AccessError::from)?;
    let opened = operation.open(vault, &sinks).await?;
    standings(&opened, &sinks, vault, pipelines).await
}

/// What is looked at for monitoring: beside how the pipelines stand, what their last snapshots remarked, and how old the vault's keys are.
#[derive(Debug, Clone)]
pub struct VaultFigures {
    /// The vault.
    pub vault: String,
    /// How they stand.
    pub status: VaultStatus,
    /// For each pipeline that has a snapshot, what its last one remarked.
    pub findings: Vec<(String, Vec<Finding>)>,
    /// The age of the vault's oldest key, in seconds, where key files say when they were made.
    pub oldest_key_seconds: Option<u64>,
    /// How old a key may get, in seconds.
    pub key_max_age_seconds: u64,
    /// What could not be told of that, and why.
    pub untold: Vec<String>,
}

/// The figures of `pipelines`, all of the vault called `name`. Reads the vault's index, its key files and the record of each last snapshot.
///
/// # Errors
/// See [`SnapshotError`].
pub async fn figures(operation: &Operation, name: &str, pipelines: &[&Pipeline]) -> Result<VaultFigures, SnapshotError> {
    let measure = async {
        let vault = operation.vault_named(name).map_err(AccessError::from)?;
        let sinks = operation.sinks(vault).await.map_err(AccessError::from)?;
        let opened = operation.open(vault, &sinks).await?;
        let status = standings(&opened, &sinks, vault, pipelines).await?;
        let mut figures = VaultFigures {
            vault: name.to_owned(),
            status,
            findings: Vec::new(),
            oldest_key_seconds: None,
            key_max_age_seconds: vault.key_max_age.0.as_secs(),
            untold: Vec::new(),
        };
        for pipeline in &figures.status.pipelines {
            let Some(last) = &pipeline.last else { continue };
            match remarked(&opened, &last.id).await {
                Ok(findings) => figures.findings.push((pipeline.pipeline.clone(), findings)),
                Err(error) => figures
                    .untold
                    .push(format!("what the last snapshot of {} remarked: {error}", pipeline.pipeline)),
            }
        }
        match opened.keys().await {
            Ok(keys) => figures.oldest_key_seconds = keys.iter().filter_map(age_of).max(),
            Err(error) => figures.untold.push(format!("how old the keys of the vault {name} are: {error}")),
        }
        Ok(figures)
    };
    operation.until_interrupted(None, measure).await?
}

/// What the snapshot's record remarks; nothing where restic wrote it.
async fn remarked(vault: &Vault, id: &str) -> Result<Vec<Finding>, ReadError> {
    let id = id
        .parse()
        .map_err(|_| ReadError::Internal(format!("{id} is no id of a snapshot")))?;
    let record = vault.read(id).await?.record().await?;
    Ok(record.map(|record| record.findings).unwrap_or_default())
}

/// In seconds; nothing where the key file does not say when it was made.
pub(crate) fn age_of(key: &KeyInfo) -> Option<u64> {
    let made: jiff::Timestamp = key.created.as_deref()?.parse().ok()?;
    u64::try_from(clock::now().seconds - made.as_second()).ok()
}

async fn standings(opened: &Vault, sinks: &Sinks, config: &config::Vault, pipelines: &[&Pipeline]) -> Result<VaultStatus, SnapshotError> {
    let (mut snapshots, unreadable) = browse::snapshots_and_records(opened, &sinks.first).await?;
    let known = Known::take(&mut snapshots, opened, config);
    let replicas = replicas(&sinks.further).await;
    let now = clock::now();
    let unreadable = unreadable
        .into_iter()
        .map(|(id, error)| UnreadableSnapshot::new(id, &config.name, error));
    Ok(VaultStatus {
        pipelines: pipelines
            .iter()
            .map(|pipeline| of(pipeline, (&snapshots, &known), &replicas, now))
            .collect(),
        unreadable: unreadable.collect(),
    })
}

/// What a further sink says that it has.
type Has = Result<HashSet<String>, String>;

async fn replicas(stores: &[Arc<SinkStore>]) -> Vec<(String, Has)> {
    let mut replicas = Vec::with_capacity(stores.len());
    for store in stores {
        let has = match store.list("snapshots/").await {
            Ok(objects) => Ok(objects.into_iter().map(|object| object.key).collect()),
            Err(fault) => Err(fault.to_string()),
        };
        replicas.push((store.name().to_owned(), has));
    }
    replicas
}

fn of(pipeline: &Pipeline, (all, known): (&[SnapshotInfo], &Known), replicas: &[(String, Has)], now: Timestamp) -> PipelineStatus {
    let own: Vec<&SnapshotInfo> = all
        .iter()
        .filter(|snapshot| snapshot.pipeline.as_deref() == Some(&pipeline.name))
        .collect();
    let last_verified = own.iter().rev().find_map(|snapshot| last_verified(snapshot, known, now));
    let last = own.last().map(|snapshot| LastSnapshot::of(snapshot, now));
    let rpo = pipeline.objectives.as_ref().and_then(|objectives| objectives.rpo);
    let rpo_seconds = rpo.map(|rpo| rpo.0.as_secs());
    let standing = match (&last, rpo_seconds) {
        (None, _) => Standing::None,
        (Some(last), Some(rpo)) if last.age_seconds > rpo => Standing::Overdue,
        _ => Standing::Good,
    };
    PipelineStatus {
        pipeline: pipeline.name.clone(),
        vault: pipeline.vault.clone(),
        standing,
        rpo_seconds,
        snapshots: own.len() as u64,
        last,
        last_verified,
        replicas: replicas.iter().map(|(name, has)| replica(name, has, &own, now)).collect(),
    }
}

fn replica(name: &str, has: &Has, own: &[&SnapshotInfo], now: Timestamp) -> ReplicaStatus {
    let has_it = |snapshot: &&&SnapshotInfo| has.as_ref().is_ok_and(|has| has.contains(&format!("snapshots/{}", snapshot.id)));
    let there = own.iter().filter(has_it).count();
    ReplicaStatus {
        sink: name.to_owned(),
        behind: if has.is_ok() { (own.len() - there) as u64 } else { 0 },
        last: own.iter().rev().find(has_it).map(|snapshot| LastSnapshot::of(snapshot, now)),
        error: has.as_ref().err().cloned(),
    }
}

fn last_verified(snapshot: &SnapshotInfo, known: &Known, now: Timestamp) -> Option<VerifiedSnapshot> {
    let verified = known.marks(snapshot);
    (!verified.is_empty()).then(|| VerifiedSnapshot {
        snapshot: LastSnapshot::of(snapshot, now),
        verified,
    })
}
