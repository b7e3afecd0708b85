//! `bulkhead prune`: removing what no snapshot needs. Planned and done on the first sink; the others, which are its replicas, then follow.

use std::time::Duration;

use bulkhead_config as config;
use bulkhead_vault::{PruneOptions, PrunePlan};
use serde::Serialize;

use crate::{
    failure::Explain as _,
    maintenance::{MaintainError, Replica, SinkOutcome, catch_up, failed},
    operation::{Interrupted, Operation},
};

/// What was planned or done with a vault.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PruneReport {
    /// The vault.
    pub vault: String,
    /// Whether it was done, or only planned.
    pub done: bool,
    /// Whether packs are deleted at once, without a grace time.
    pub at_once: bool,
    /// The numbers, of the first sink.
    #[serde(flatten)]
    pub plan: PrunePlan,
    /// Whether there is nothing to do on the first sink.
    pub nothing_to_do: bool,
    /// Each further sink.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<SinkOutcome>,
}

impl PruneReport {
    fn new(vault: &str, done: bool, options: PruneOptions, plan: PrunePlan) -> Self {
        Self {
            vault: vault.to_owned(),
            done,
            at_once: options.grace.is_zero(),
            nothing_to_do: plan.is_empty(),
            plan,
            sinks: Vec::new(),
        }
    }
}

/// What [`prune`] would do. Changes nothing, but nobody may be at work in the vault.
///
/// # Errors
/// See [`MaintainError`].
pub async fn plan_prune(operation: &Operation, name: &str, options: PruneOptions) -> Result<PruneReport, MaintainError> {
    operation.until_interrupted(None, plan(operation, name, options)).await?
}

#[tracing::instrument(name = "prune", skip(operation, options))]
async fn plan(operation: &Operation, name: &str, options: PruneOptions) -> Result<PruneReport, MaintainError> {
    let vault = operation.vault_named(name)?;
    let store = operation.sinks(vault).await?;
    let opened = operation.open(vault, &store).await?;
    operation.progress.phase("looking for what nobody needs", None);
    let stop = operation.stop();
    let plan = opened.plan_prune(options, &operation.host.name, &stop.stop).await;
    let plan = plan.map_err(|error| failed(format!("prune the vault `{name}`"), vault, error))?;
    Ok(PruneReport::new(name, false, options, plan))
}

/// Prunes the vault called `name`. `agrees` is asked with the plan of the first sink before anything is removed. What couldn't be done on a further sink is
/// in the report.
///
/// # Errors
/// See [`MaintainError`]: the first sink failed, and no other one was touched.
pub async fn prune(
    operation: &Operation,
    name: &str,
    options: PruneOptions,
    agrees: impl FnOnce(&PruneReport) -> bool + Send + 'static,
) -> Result<PruneReport, MaintainError> {
    operation
        .until_interrupted(None, carry_out(operation, name, options, agrees))
        .await?
}

#[tracing::instrument(name = "prune", skip(operation, options, agrees))]
async fn carry_out(
    operation: &Operation,
    name: &str,
    options: PruneOptions,
    agrees: impl FnOnce(&PruneReport) -> bool + Send + 'static,
) -> Result<PruneReport, MaintainError> {
    let vault = operation.vault_named(name)?;
    let replicas = operation.open_replicas(vault).await?;
    operation.progress.phase("pruning", None);
    let (stop, host) = (operation.stop(), &operation.host.name);
    let first = &replicas.first;
    let owned = name.to_owned();
    let agrees = move |plan: &PrunePlan| agrees(&PruneReport::new(&owned, false, options, plan.clone()));
    let done = first.vault.prune(options, agrees, host, &stop.stop).await;
    let done = done.map_err(|error| failed(format!("prune the vault `{name}`"), vault, error))?;
    let mut report = PruneReport::new(name, true, options, done);
    for replica in &replicas.further {
        operation.progress.phase(&format!("pruning {}", replica.name()), None);
        report
            .sinks
            .push(follow(operation, vault, (first, replica), options.patience).await);
    }
    report.sinks.extend(replicas.unusable);
    if operation.cancellation.is_cancelled() {
        return Err(Interrupted::Cancelled.into());
    }
    Ok(report)
}

/// Gives a replica what the first sink has, then takes from it what that has no more.
async fn follow(operation: &Operation, vault: &config::Vault, (first, replica): (&Replica, &Replica), patience: Duration) -> SinkOutcome {
    if let Err(behind) = catch_up(operation, first, replica).await {
        return behind;
    }
    let stop = operation.stop();
    let mirrored = replica.vault.mirror(&first.vault, patience, &operation.host.name, &stop.stop);
    match mirrored.await {
        Ok(mirrored) => SinkOutcome::done(replica.name(), mirrored.objects),
        Err(error) => SinkOutcome::failed(replica.name(), 0, &failed("prune it", vault, error).explain()),
    }
}
