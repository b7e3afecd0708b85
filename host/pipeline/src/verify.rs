//! `bulkhead verify`: whether what is stored is whole, and whether it makes sense to the plugin that stored it.

use std::sync::Arc;

use bulkhead_config::Pipeline;
use bulkhead_model::{Finding, Severity};
use bulkhead_runtime::PluginError;
use bulkhead_vault::{Hint as _, ReadError, SnapshotInfo, Vault, VerifyOptions, VerifyPhase, VerifyProgress};
use serde::Serialize;

use crate::{
    access::{AccessError, vault_site},
    browse::{self, SnapshotError},
    clock,
    failure::{Explain, Failure, FailureClass, Site},
    host::{BuildError, pipeline_site},
    operation::{Interrupted, Operation},
    progress::Progress,
    stored::VaultSnapshot,
};

/// Damage in a vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The object.
    pub object: String,
    /// What is wrong with it.
    pub damage: String,
    /// What that means.
    pub consequence: String,
    /// Snapshots that are affected, where known.
    pub snapshots: Vec<String>,
}

/// What a verification of a vault found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VaultVerification {
    /// The vault.
    pub vault: String,
    /// The sink that was read.
    pub sink: String,
    /// Whether every pack was read.
    pub read_data: bool,
    /// Damage; nothing is good.
    pub damage: Vec<Damage>,
    /// Further damage, left out because there is so much.
    pub further_damage: u64,
    /// Snapshots checked.
    pub snapshots: u64,
    /// Packs that the index names.
    pub packs: u64,
    /// Bytes of packs read.
    pub bytes_read: u64,
    /// Packs that no index names, left by runs that did not finish. Harmless.
    pub unreferenced_packs: u64,
}

/// What a plugin found in a snapshot of its.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotVerification {
    /// The pipeline.
    pub pipeline: String,
    /// The snapshot.
    pub snapshot: String,
    /// When it was taken, RFC 3339.
    pub time: String,
    /// What was found; an error says that it is not worth having.
    pub findings: Vec<Finding>,
}

impl SnapshotVerification {
    /// Whether the snapshot is worth having.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }
}

/// Why a verification could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The vault can't be opened.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The source's plugin can't be used.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A snapshot can't be found or read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The vault can't be checked.
    #[error("cannot check the vault")]
    Vault {
        /// Its table.
        site: Site,
        /// Why.
        source: Box<bulkhead_vault::VerifyError>,
    },
    /// The plugin failed.
    #[error("the plugin failed")]
    Plugin {
        /// The pipeline's table.
        site: Site,
        /// How.
        source: Box<PluginError>,
    },
    /// Cut short.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Explain for VerifyError {
    fn explain(&self) -> Failure {
        match self {
            Self::Access(error) => error.explain(),
            Self::Build(error) => error.explain(),
            Self::Snapshot(error) => error.explain(),
            Self::Vault { site, source } => Failure::of_vault(FailureClass::Internal, self, source.hint()).at(site),
            Self::Plugin { site, source } => Failure::of_plugin(source).at(site),
            Self::Interrupted(error) => crate::run::explain_interrupted(*error, None),
        }
    }
}

struct Watched(Progress);

impl VerifyProgress for Watched {
    fn report(&self, phase: VerifyPhase, done: u64, total: u64) {
        match phase {
            VerifyPhase::Index => self.0.phase(&format!("reading the index, {done} of {total}"), None),
            VerifyPhase::Trees => self.0.phase(&format!("walking snapshots, {done} of {total}"), None),
            VerifyPhase::Packs => {
                self.0.phase("reading packs", Some(total));
                self.0.set(done, total);
            }
        }
    }
}

/// Checks the vault called `name`; with `read_data` every byte of it. Of several sinks the one that the operation reads from: they are replicas, and each
/// can be damaged for itself.
///
/// # Errors
/// When the check could not be made; damage is in the report.
pub async fn verify_vault(operation: &Operation, name: &str, read_data: bool) -> Result<VaultVerification, VerifyError> {
    operation.until_interrupted(None, check_vault(operation, name, read_data)).await?
}

#[tracing::instrument(name = "verify", skip(operation))]
async fn check_vault(operation: &Operation, name: &str, read_data: bool) -> Result<VaultVerification, VerifyError> {
    let config = operation.vault_named(name)?;
    let store = operation.sink_to_read(config).await?;
    let vault = operation.open_on(config, &store).await?;
    let progress = Arc::new(Watched(operation.progress.clone()));
    let report = vault
        .verify(VerifyOptions { read_data }, progress)
        .await
        .map_err(|source| VerifyError::Vault {
            site: vault_site(config),
            source: Box::new(source),
        })?;
    let damage = report.problems.into_iter().map(|problem| Damage {
        object: problem.object,
        damage: problem.damage,
        consequence: problem.consequence,
        snapshots: problem.snapshots.iter().map(ToString::to_string).collect(),
    });
    Ok(VaultVerification {
        vault: name.to_owned(),
        sink: store.name().to_owned(),
        read_data,
        damage: damage.collect(),
        further_damage: report.further_problems,
        snapshots: report.snapshots,
        packs: report.packs,
        bytes_read: report.bytes_read,
        unreferenced_packs: report.unreferenced_packs.len() as u64,
    })
}

/// Lets the plugin of `pipeline` look at the snapshot that `selector` names, as it is on the sink that the operation reads from.
///
/// # Errors
/// When that could not be done; what the plugin found is in the report.
pub async fn verify_snapshot(operation: &Operation, pipeline: &Pipeline, selector: &str) -> Result<SnapshotVerification, VerifyError> {
    operation
        .until_interrupted(None, check_snapshot(operation, pipeline, selector))
        .await?
}

#[tracing::instrument(name = "verify", skip_all, fields(pipeline = pipeline.name, plugin = pipeline.plugin))]
async fn check_snapshot(operation: &Operation, pipeline: &Pipeline, selector: &str) -> Result<SnapshotVerification, VerifyError> {
    let (source, plugin) = operation.host.source(&operation.config, pipeline).await?;
    let vault = operation.open_named(&pipeline.vault).await?;
    let info = browse::resolve(&vault, selector, Some(&pipeline.name)).await?;
    let findings = if plugin.description().operations.contains(bulkhead_runtime::Operation::Verify) {
        operation.progress.phase(&format!("verifying {}", &info.id.to_string()[..8]), None);
        let snapshot = Arc::new(open(&vault, &info).await?);
        let failed = |source| VerifyError::Plugin {
            site: pipeline_site(pipeline),
            source: Box::new(source),
        };
        source.verify(&operation.context(), snapshot).await.map_err(failed)?
    } else {
        let message = format!("the plugin `{}` has no verification of its own", plugin.description().name);
        vec![Finding {
            severity: Severity::Info,
            code: "no-verification".into(),
            message,
            hint: None,
            setting: None,
        }]
    };
    Ok(SnapshotVerification {
        pipeline: pipeline.name.clone(),
        snapshot: info.id.to_string(),
        time: clock::rfc3339(info.time),
        findings,
    })
}

async fn open(vault: &Vault, info: &SnapshotInfo) -> Result<VaultSnapshot, SnapshotError> {
    let failed = |source: ReadError| SnapshotError::Read(Box::new(source));
    VaultSnapshot::open(vault.read(info.id).await.map_err(failed)?)
        .await
        .map_err(failed)
}
