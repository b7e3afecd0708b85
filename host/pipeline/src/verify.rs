//! `bulkhead verify`: whether what is stored is whole, and whether it makes sense to the plugin that stored it.

use std::sync::Arc;

use bulkhead_config as config;
use bulkhead_config::Pipeline;
use bulkhead_model::{Finding, Severity, Timestamp};
use bulkhead_runtime::{Plugin, PluginError, Source};
use bulkhead_vault::{
    Depth, Hint as _, ObjectId, ReadError, SnapshotInfo, Vault, VerifyOptions, VerifyPhase, VerifyProgress, VerifyReport,
};
use serde::Serialize;

use crate::{
    access::{AccessError, vault_site},
    browse::{self, SnapshotError},
    clock,
    failure::{Explain, Failure, FailureClass, Site},
    host::{BuildError, pipeline_site},
    operation::{Interrupted, Operation},
    progress::Progress,
    store::SinkStore,
    stored::VaultSnapshot,
    subset::ReadContent,
    verified::{self, Verdicts},
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
    /// What of the packs was read, as it was asked for, where it wasn't all of them.
    pub subset: Option<String>,
    /// Damage; nothing is good.
    pub damage: Vec<Damage>,
    /// Further damage, left out because there is so much.
    pub further_damage: u64,
    /// Snapshots checked.
    pub snapshots: u64,
    /// Packs that the index names.
    pub packs: u64,
    /// Bytes in these packs.
    pub pack_bytes: u64,
    /// Packs read.
    pub packs_read: u64,
    /// Bytes of packs read.
    pub bytes_read: u64,
    /// Packs that no index names, left by runs that did not finish. Harmless.
    pub unreferenced_packs: u64,
    /// Why the vault doesn't know of it: snapshots that are whole count for as verified as before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_recorded: Option<String>,
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
        is_good(&self.findings)
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

/// Checks the vault called `name`, and `content` of its packs, and keeps in the vault what was found. Of several sinks the one that the operation reads from: they are replicas, and each
/// can be damaged for itself.
///
/// # Errors
/// When the check could not be made; damage is in the report, and so is why it could not be kept.
#[tracing::instrument(name = "verify", skip(operation))]
pub async fn verify_vault(operation: &Operation, name: &str, content: &ReadContent) -> Result<VaultVerification, VerifyError> {
    let config = operation.vault_named(name)?;
    let mut checked = operation.until_interrupted(None, check_vault(operation, config, content)).await??;
    operation.progress.phase("recording", None);
    let recorded = verified::record(operation, config, (checked.store.name(), &checked.vault), checked.found);
    checked.report.not_recorded = recorded.await;
    Ok(checked.report)
}

/// A vault that was checked, and what is to be kept of it.
struct Checked {
    vault: Vault,
    store: Arc<SinkStore>,
    report: VaultVerification,
    found: Vec<Verdicts>,
}

async fn check_vault(operation: &Operation, config: &config::Vault, content: &ReadContent) -> Result<Checked, VerifyError> {
    let began = clock::now();
    let store = operation.sink_to_read(config).await?;
    let vault = operation.open_on(config, &store).await?;
    let progress = Arc::new(Watched(operation.progress.clone()));
    let checked = match content {
        ReadContent::None => vault.verify(VerifyOptions { read_data: false }, progress).await,
        ReadContent::All => vault.verify(VerifyOptions { read_data: true }, progress).await,
        ReadContent::Subset(subset) => vault.verify_subset(subset.packs, progress).await,
    };
    let report = checked.map_err(|source| VerifyError::Vault {
        site: vault_site(config),
        source: Box::new(source),
    })?;
    let found = verdicts(&report, content, began);
    let damage = report.problems.into_iter().map(|problem| Damage {
        object: problem.object,
        damage: problem.damage,
        consequence: problem.consequence,
        snapshots: problem.snapshots.iter().map(ToString::to_string).collect(),
    });
    let report = VaultVerification {
        vault: config.name.clone(),
        sink: store.name().to_owned(),
        read_data: matches!(content, ReadContent::All),
        subset: content.subset(),
        damage: damage.collect(),
        further_damage: report.further_problems,
        snapshots: report.snapshots,
        packs: report.packs,
        pack_bytes: report.pack_bytes,
        packs_read: report.packs_read,
        bytes_read: report.bytes_read,
        unreferenced_packs: report.unreferenced_packs.len() as u64,
        not_recorded: None,
    };
    Ok(Checked {
        vault,
        store,
        report,
        found,
    })
}

/// What a verification says of snapshots. Where some packs were read, those that are whole are so as far as all were looked at; what is damaged may be so in its bytes.
fn verdicts(report: &VerifyReport, content: &ReadContent, began: Timestamp) -> Vec<Verdicts> {
    let of = |depth, sound: &[ObjectId], damaged: &[ObjectId]| Verdicts {
        depth,
        began,
        sound: sound.to_vec(),
        damaged: damaged.to_vec(),
    };
    match content {
        ReadContent::None => vec![of(Depth::Structure, &report.sound, &report.damaged)],
        ReadContent::All => vec![of(Depth::Data, &report.sound, &report.damaged)],
        ReadContent::Subset(_) => vec![of(Depth::Structure, &report.sound, &[]), of(Depth::Data, &[], &report.damaged)],
    }
}

/// A pipeline whose plugin is to look at its snapshots, as they are on the sink that the operation reads from: plugin and vault are opened once for all.
pub struct SnapshotVerifier {
    pipeline: Pipeline,
    source: Source,
    plugin: Plugin,
    vault: Vault,
    store: Arc<SinkStore>,
    found: Verdicts,
}

impl SnapshotVerifier {
    /// Opens plugin and vault of `pipeline`.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub async fn open(operation: &Operation, pipeline: &Pipeline) -> Result<Self, VerifyError> {
        let began = clock::now();
        let open = async {
            let (source, plugin) = operation.host.source(&operation.config, pipeline).await?;
            let config = operation.vault_named(&pipeline.vault)?;
            let store = operation.sink_to_read(config).await?;
            let vault = operation.open_on(config, &store).await?;
            Ok(Self {
                pipeline: pipeline.clone(),
                source,
                plugin,
                vault,
                store,
                found: Verdicts {
                    depth: Depth::Plugin,
                    began,
                    sound: Vec::new(),
                    damaged: Vec::new(),
                },
            })
        };
        operation.until_interrupted(None, open).await?
    }

    /// Ids of the pipeline's snapshots, oldest first; without those whose file is damaged, which the vault's verification tells.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub async fn snapshots(&self, operation: &Operation) -> Result<Vec<String>, VerifyError> {
        let listed = operation
            .until_interrupted(None, browse::snapshot_files(&self.vault, &self.store))
            .await?;
        let of_it = |info: &SnapshotInfo| info.pipeline.as_deref() == Some(&self.pipeline.name);
        Ok(listed?.0.into_iter().filter(of_it).map(|info| info.id.to_string()).collect())
    }

    /// Lets the plugin look at the snapshot that `selector` names.
    ///
    /// # Errors
    /// When that could not be done; what the plugin found is in the report.
    pub async fn verify(&mut self, operation: &Operation, selector: &str) -> Result<SnapshotVerification, VerifyError> {
        operation.until_interrupted(None, self.check(operation, selector)).await?
    }

    /// Keeps in the vault what the plugin found. Returns why it could not be kept.
    pub async fn record(self, operation: &Operation) -> Option<String> {
        let config = match operation.vault_named(&self.pipeline.vault) {
            Ok(config) => config,
            Err(error) => return Some(error.to_string()),
        };
        verified::record(operation, config, (self.store.name(), &self.vault), vec![self.found]).await
    }

    #[tracing::instrument(name = "verify", skip_all, fields(pipeline = self.pipeline.name, plugin = self.pipeline.plugin))]
    async fn check(&mut self, operation: &Operation, selector: &str) -> Result<SnapshotVerification, VerifyError> {
        let info = browse::resolve(&self.vault, selector, Some(&self.pipeline.name)).await?;
        let description = self.plugin.description();
        let findings = if description.operations.contains(bulkhead_runtime::Operation::Verify) {
            operation.progress.phase(&format!("verifying {}", &info.id.to_string()[..8]), None);
            let looked = self.look(operation, &info).await;
            self.found.add(info.tree, &looked);
            looked?
        } else {
            vec![Finding {
                severity: Severity::Info,
                code: "no-verification".into(),
                message: format!("the plugin `{}` has no verification of its own", description.name),
                hint: None,
                setting: None,
            }]
        };
        Ok(SnapshotVerification {
            pipeline: self.pipeline.name.clone(),
            snapshot: info.id.to_string(),
            time: clock::rfc3339(info.time),
            findings,
        })
    }

    async fn look(&self, operation: &Operation, info: &SnapshotInfo) -> Result<Vec<Finding>, VerifyError> {
        let snapshot = Arc::new(open(&self.vault, info).await?);
        let looked = self.source.verify(&operation.context(), snapshot).await;
        looked.map_err(|source| VerifyError::Plugin {
            site: pipeline_site(&self.pipeline),
            source: Box::new(source),
        })
    }
}

impl Verdicts {
    /// What the plugin's look at a snapshot says of it; nothing where it failed for other reasons than what is stored.
    fn add(&mut self, tree: ObjectId, looked: &Result<Vec<Finding>, VerifyError>) {
        match looked {
            Ok(findings) if is_good(findings) => self.sound.push(tree),
            Ok(_) => self.damaged.push(tree),
            Err(error) if error.explain().class == FailureClass::Damaged => self.damaged.push(tree),
            Err(_) => {}
        }
    }
}

fn is_good(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity != Severity::Error)
}

async fn open(vault: &Vault, info: &SnapshotInfo) -> Result<VaultSnapshot, SnapshotError> {
    let failed = |source: ReadError| SnapshotError::Read(Box::new(source));
    VaultSnapshot::open(vault.read(info.id).await.map_err(failed)?)
        .await
        .map_err(failed)
}
