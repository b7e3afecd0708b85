//! What the operations that maintain a vault share: its sinks, opened, of which the first decides and the others follow; and how they fail.

use std::sync::Arc;

use bulkhead_config as config;
use bulkhead_model::Fault;
use bulkhead_runtime::Cancellation;
use bulkhead_vault::{Hint as _, MaintenanceError, ObjectId, OpenError, SnapshotInfo, Stop, Vault};
use serde::Serialize;

use crate::{
    access::{AccessError, vault_site},
    browse::SnapshotError,
    failure::{Explain, Failure, FailureClass, Site},
    hold::NamedHold,
    host::BuildError,
    operation::{Interrupted, Operation},
    replicate::replicate,
    run::{class_of_read, class_of_write},
    store::SinkStore,
};

/// Why a vault could not be maintained.
#[derive(Debug, thiserror::Error)]
pub enum MaintainError {
    /// The vault can't be opened.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A plugin could not be made ready.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A snapshot can't be found or read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The vault can't be changed.
    #[error("cannot {action}")]
    Vault {
        /// What was to be done.
        action: String,
        /// The vault's table.
        site: Site,
        /// Why not.
        source: Box<MaintenanceError>,
    },
    /// A pipeline, or a vault, without a `retention`.
    #[error("the {of} has no `retention`: nothing of it is forgotten by rule")]
    NoRetention {
        /// Which one, in words.
        of: String,
        /// Its table.
        site: Site,
    },
    /// A time zone that this system doesn't know.
    #[error("the time zone `{zone}` is not on this system")]
    NoTimeZone {
        /// The zone.
        zone: String,
        /// The pipeline's table.
        site: Site,
    },
    /// A vault without a second sink.
    #[error("the vault `{vault}` has one sink only, and what that has lost is nowhere else")]
    OneSink {
        /// The vault.
        vault: String,
        /// Its table.
        site: Site,
    },
    /// A sink failed.
    #[error("cannot {action}")]
    Sink {
        /// What was to be done.
        action: &'static str,
        /// The sink's table.
        sink: Site,
        /// Why not.
        source: Fault,
    },
    /// A base backup that stays would lose the log that brings it forward.
    #[error("the base backup {base} of `{pipeline}` needs the log in {snapshot}")]
    LogNeeded {
        /// The pipeline that stores the log.
        log: String,
        /// Its snapshot.
        snapshot: String,
        /// The base backup's.
        base: String,
        /// The base backup's pipeline.
        pipeline: String,
    },
    /// A snapshot that somebody holds was to be forgotten.
    #[error("the snapshot {snapshot} is held{}", by(.holds))]
    Held {
        /// The vault.
        vault: String,
        /// The snapshot.
        snapshot: String,
        /// Who holds it.
        holds: Vec<NamedHold>,
    },
    /// One of the last snapshots of a pipeline that were verified was to be forgotten by name.
    #[error("the snapshot {snapshot} is among the last of `{pipeline}` that were verified")]
    LastVerified {
        /// The snapshot.
        snapshot: String,
        /// The pipeline.
        pipeline: String,
    },
    /// Cut short.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// By whom, and why.
fn by(holds: &[NamedHold]) -> String {
    let each = holds
        .iter()
        .map(|hold| format!(" by {} ({}), hold {}", hold.name, hold.reason, hold.id));
    each.collect::<Vec<_>>().join(",")
}

impl Explain for MaintainError {
    fn explain(&self) -> Failure {
        match self {
            Self::Access(error) => error.explain(),
            Self::Build(error) => error.explain(),
            Self::Snapshot(error) => error.explain(),
            Self::Vault { site, source, .. } => Failure::of_vault(class_of(source), self, source.hint()).at(site),
            Self::NoRetention { site, .. } => Failure::new(FailureClass::Config, self)
                .at(site)
                .hint("say what to keep, `retention = { last = 7, weekly = 4 }`, or name snapshots with `--snapshot`"),
            Self::NoTimeZone { site, .. } => Failure::new(FailureClass::Config, self)
                .at(site)
                .setting("schedule.timezone")
                .hint("install the system's time zones (package `tzdata`)"),
            Self::OneSink { site, .. } => Failure::new(FailureClass::Config, self)
                .at(site)
                .setting("sinks")
                .hint("`bulkhead repair index`, then `bulkhead repair snapshots` make the best of what is left"),
            Self::Sink { sink, .. } => Failure::of_vault(FailureClass::Internal, self, None).at(sink),
            Self::LogNeeded { log, base, pipeline, .. } => Failure::new(FailureClass::Conflict, self).hint(format!(
                "forget the base backup first, `bulkhead forget {pipeline} --snapshot {}`; or leave a snapshot of `{log}` that has as much",
                base.chars().take(8).collect::<String>()
            )),
            Self::Held { vault, snapshot, .. } => Failure::new(FailureClass::Conflict, self).hint(format!(
                "nobody can forget it until it is released: `bulkhead hold release --vault {vault} --snapshot {}`",
                snapshot.chars().take(8).collect::<String>()
            )),
            Self::LastVerified { pipeline, .. } => Failure::new(FailureClass::Conflict, self).hint(format!(
                "verify a newer one first, `bulkhead verify {pipeline} --read-data`; or forget it all the same with `--verified`"
            )),
            Self::Interrupted(error) => crate::run::explain_interrupted(*error, None),
        }
    }
}

fn class_of(error: &MaintenanceError) -> FailureClass {
    match error {
        MaintenanceError::Lock(error) => class_of_write(error),
        MaintenanceError::Read(error) => class_of_read(error),
        MaintenanceError::Repository(_) => FailureClass::Damaged,
        MaintenanceError::Changed | MaintenanceError::Behind(_) | MaintenanceError::Strays(_) => FailureClass::Conflict,
        MaintenanceError::NotHeld => FailureClass::NotFound,
        MaintenanceError::ReservedTag(_)
        | MaintenanceError::MalformedTag(_)
        | MaintenanceError::MalformedHold(_)
        | MaintenanceError::SeveralHolds(_) => FailureClass::Config,
        MaintenanceError::Stopped => FailureClass::Cancelled,
        _ => FailureClass::Internal,
    }
}

/// What was done on one sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SinkOutcome {
    /// The sink.
    pub sink: String,
    /// Objects that were removed from it.
    pub removed: u64,
    /// Why it isn't where the first sink is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl SinkOutcome {
    pub(crate) fn done(sink: &str, removed: u64) -> Self {
        Self {
            sink: sink.to_owned(),
            removed,
            error: None,
            hint: None,
        }
    }

    pub(crate) fn failed(sink: &str, removed: u64, failure: &Failure) -> Self {
        tracing::info!(sink, "a replica was not maintained: {failure}");
        Self {
            sink: sink.to_owned(),
            removed,
            error: Some(failure.to_string()),
            hint: failure.hint.clone(),
        }
    }
}

/// Whether it was done on all sinks.
#[must_use]
pub fn is_everywhere(sinks: &[SinkOutcome]) -> bool {
    sinks.iter().all(|sink| sink.error.is_none())
}

/// A vault on its sinks.
pub(crate) struct Replicas {
    pub(crate) first: Replica,
    pub(crate) further: Vec<Replica>,
    /// Further ones that could not be opened.
    pub(crate) unusable: Vec<SinkOutcome>,
}

/// A vault on one sink.
pub(crate) struct Replica {
    pub(crate) store: Arc<SinkStore>,
    pub(crate) vault: Vault,
}

impl Replica {
    pub(crate) fn name(&self) -> &str {
        self.store.name()
    }
}

impl Operation {
    /// Opens `vault` on all of its sinks. A further one on which it isn't yet is left out: the next run makes it.
    pub(crate) async fn open_replicas(&self, vault: &config::Vault) -> Result<Replicas, MaintainError> {
        let sinks = self.sinks(vault).await?;
        let mut replicas = Replicas {
            first: Replica {
                vault: self.open(vault, &sinks).await?,
                store: sinks.first,
            },
            further: Vec::new(),
            unusable: Vec::new(),
        };
        for store in sinks.further {
            match self.open_on(vault, &store).await {
                Ok(vault) => replicas.further.push(Replica { store, vault }),
                Err(AccessError::Open { source, .. }) if matches!(*source, OpenError::NotAVault { .. }) => {}
                Err(error) => replicas.unusable.push(SinkOutcome::failed(store.name(), 0, &error.explain())),
            }
        }
        Ok(replicas)
    }

    /// A switch that stops the vault when the operation is cancelled, until it is dropped.
    pub(crate) fn stop(&self) -> StopOnCancel {
        let stop = Stop::default();
        let (cancellation, cancelled): (Cancellation, Stop) = (self.cancellation.clone(), stop.clone());
        let task = tokio::spawn(async move {
            cancellation.cancelled().await;
            cancelled.stop();
        });
        StopOnCancel { stop, task }
    }
}

/// See [`Operation::stop`].
pub(crate) struct StopOnCancel {
    pub(crate) stop: Stop,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for StopOnCancel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A failure of the vault in doing `action`.
pub(crate) fn failed(action: impl Into<String>, vault: &config::Vault, source: MaintenanceError) -> MaintainError {
    MaintainError::Vault {
        action: action.into(),
        site: vault_site(vault),
        source: Box::new(source),
    }
}

/// Gives a replica what it lacks of the first sink's; fails with what became of it.
pub(crate) async fn catch_up(operation: &Operation, first: &Replica, replica: &Replica) -> Result<(), SinkOutcome> {
    let copied = replicate(&first.store, &replica.store, &operation.cancellation).await;
    match copied.error {
        None => Ok(()),
        Some(error) => Err(SinkOutcome {
            sink: copied.sink,
            removed: 0,
            error: Some(error),
            hint: copied.hint,
        }),
    }
}

/// Gives a replica the new snapshots, then takes the old ones from it.
pub(crate) async fn replace_snapshots(
    operation: &Operation,
    vault: &config::Vault,
    first: &Replica,
    replica: &Replica,
    gone: &[ObjectId],
) -> SinkOutcome {
    match catch_up(operation, first, replica).await {
        Ok(()) => forget_on(operation, vault, replica, gone).await,
        Err(behind) => behind,
    }
}

/// Takes snapshots from a replica.
pub(crate) async fn forget_on(operation: &Operation, vault: &config::Vault, replica: &Replica, gone: &[ObjectId]) -> SinkOutcome {
    let stop = operation.stop();
    let forgotten = replica.vault.forget(gone, &operation.host.name, &stop.stop).await;
    let removed = forgotten.removed.len() as u64;
    match forgotten.error {
        None => SinkOutcome::done(replica.name(), removed),
        Some(error) => SinkOutcome::failed(replica.name(), removed, &failed("forget snapshots", vault, error).explain()),
    }
}

/// Whether `snapshot` is one of `others` under another name: with the tags that it had before, or has now.
pub(crate) fn is_one_of<'s>(snapshot: &SnapshotInfo, others: impl IntoIterator<Item = &'s SnapshotInfo>) -> bool {
    others.into_iter().any(|other| {
        other.time == snapshot.time && other.tree == snapshot.tree && other.pipeline == snapshot.pipeline && other.host == snapshot.host
    })
}
