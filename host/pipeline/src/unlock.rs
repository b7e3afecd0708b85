//! `bulkhead unlock`: removing locks that nobody holds any more, on all sinks.

use serde::Serialize;

use crate::{
    failure::Explain as _,
    maintenance::{MaintainError, SinkOutcome, failed},
    operation::Operation,
};

/// What was done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct UnlockReport {
    /// The vault.
    pub vault: String,
    /// Each sink, the first one first: how many locks were removed.
    pub sinks: Vec<SinkOutcome>,
}

/// Removes the locks of the vault called `name` whose holders have died; with `all` every lock.
///
/// # Errors
/// See [`MaintainError`]; what couldn't be done on a further sink is in the report.
pub async fn unlock(operation: &Operation, name: &str, all: bool) -> Result<UnlockReport, MaintainError> {
    operation.until_interrupted(None, remove(operation, name, all)).await?
}

#[tracing::instrument(name = "unlock", skip(operation))]
async fn remove(operation: &Operation, name: &str, all: bool) -> Result<UnlockReport, MaintainError> {
    let vault = operation.vault_named(name)?;
    let replicas = operation.open_replicas(vault).await?;
    let host = &operation.host.name;
    let cannot = |error| failed("remove locks", vault, error);
    let first = replicas.first.vault.unlock(host, all).await.map_err(cannot)?;
    let mut sinks = vec![SinkOutcome::done(replicas.first.name(), first.len() as u64)];
    for replica in &replicas.further {
        sinks.push(match replica.vault.unlock(host, all).await {
            Ok(removed) => SinkOutcome::done(replica.name(), removed.len() as u64),
            Err(error) => SinkOutcome::failed(replica.name(), 0, &cannot(error).explain()),
        });
    }
    sinks.extend(replicas.unusable);
    Ok(UnlockReport {
        vault: name.to_owned(),
        sinks,
    })
}
