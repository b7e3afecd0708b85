//! `bulkhead run`: one snapshot of one pipeline, committed only when everything holds.
//!
//! ```text
//! plugins loaded ─▶ vault opened ─▶ source writes entries ─▶ proof and expectations ─▶ commit ─▶ further sinks
//! ```
//!
//! The first failure ends it, wherever it happens; a run that ends before its commit leaves no snapshot. What was committed by then (a continuous source
//! commits as it goes, and a run can be interrupted while its snapshot is copied) is kept in a [`Journal`], so that a failure says what is safe.

use std::{sync::Arc, time::Duration};

use bulkhead_config::Pipeline;
use bulkhead_model::{Finding, Proof, Severity, Timestamp};
use bulkhead_runtime::{BackupInput, BackupOutcome, Plugin, PluginError, Source};
use bulkhead_vault::{self as vault, BeginSnapshot, CommittedSnapshot, Hint as _, ReadError, ResolveError, RunStats, Vault, WriteError};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::{
    access::{AccessError, Opened, Sinks, vault_site},
    clock,
    entries::{RecordTemplate, VaultEntries, is_committed},
    failure::{Explain, Failure, FailureClass, Site},
    hooks::{HookError, Hooks},
    host::{BuildError, pipeline_site},
    journal::Journal,
    log_needs::Handed,
    object_lock::{self, LockReport},
    operation::{Ending, Interrupted, Operation},
    proof::{self, ProofError, Stored},
    replicate::{ReplicaReport, replicate},
    setup,
    stored::VaultSnapshot,
};

/// How long a source may take to say why it gave up an entry. Whatever it still wants of the vault fails by then, so it has nothing else left to do.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a run differs from a usual one.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Without the last snapshot: the source sends everything.
    pub full: bool,
    /// Even if the snapshot is much smaller than the last one.
    pub accept_small: bool,
    /// Without locking for longer what the sinks hold: that can take long, and somebody waits.
    pub leave_locks: bool,
}

/// What a run did: for people, for programs and for the audit log.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunReport {
    /// The pipeline.
    pub pipeline: String,
    /// The vault.
    pub vault: String,
    /// The snapshot.
    pub snapshot: String,
    /// The snapshot that it continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Snapshots that the source committed before the last one, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<String>,
    /// When it began, RFC 3339.
    pub started: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Entries with content.
    pub entries: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Bytes of content that the vault did not have.
    pub added_bytes: u64,
    /// Bytes that went to the first sink.
    pub stored_bytes: u64,
    /// What the source says that it sent.
    pub proof: Proof,
    /// What went right, but not without remark.
    pub findings: Vec<Finding>,
    /// The source's plugin: name, version, digest.
    pub plugin: vault::PluginIdentity,
    /// What became of the further sinks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaReport>,
    /// What became of the locks, on sinks that lock.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<LockReport>,
}

impl RunReport {
    /// Whether something went wrong after the commit that somebody must put in order: the command `hooks.after` failed, or objects could not be locked.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        let failed = self.findings.iter().any(|finding| finding.severity == Severity::Error);
        !failed && object_lock::are_extended(&self.locks)
    }

    /// Whether all sinks have the snapshot.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        self.replicas.iter().all(|replica| replica.error.is_none())
    }
}

/// A run that failed, and what of it is safe all the same.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct FailedRun {
    /// Why it failed.
    #[source]
    pub error: RunError,
    /// Snapshots that it had committed by then, oldest first.
    pub committed: Vec<String>,
    /// Whether it was cut off in the middle of a commit: only the vault knows how that ended.
    pub unsure: bool,
}

impl Explain for FailedRun {
    fn explain(&self) -> Failure {
        self.error.explain()
    }
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The vault can't be opened, or a sink's plugin can't be used.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The source's plugin can't be used.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The operator's command before the run failed.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// The last snapshot can't be read.
    #[error("cannot read the last snapshot")]
    Parent {
        /// The vault's table.
        site: Site,
        /// Why.
        source: Box<ReadError>,
    },
    /// The source failed.
    #[error("the source failed")]
    Source {
        /// The pipeline's table.
        site: Site,
        /// How.
        source: Box<PluginError>,
    },
    /// The vault, or a sink under it, failed.
    #[error("the snapshot could not be written")]
    Write {
        /// The table of the vault's first sink; of the pipeline where its source asked for something that can't be.
        site: Site,
        /// How.
        source: Box<WriteError>,
    },
    /// What was stored is not believed.
    #[error(transparent)]
    Proof(Box<UnbelievableSnapshot>),
    /// Cut short.
    #[error(transparent)]
    Interrupted(Interrupted),
    /// The pipeline's own limit passed.
    #[error("the run took longer than {} s, its `wall-clock` limit", limit.as_secs())]
    WallClock {
        /// The pipeline's table.
        site: Site,
        /// The limit.
        limit: Duration,
    },
}

/// A snapshot that is not believed.
#[derive(Debug, thiserror::Error)]
#[error("the snapshot is not believed, and was not committed")]
pub struct UnbelievableSnapshot {
    site: Site,
    #[source]
    source: ProofError,
}

impl Explain for RunError {
    fn explain(&self) -> Failure {
        match self {
            Self::Access(error) => error.explain(),
            Self::Build(error) => error.explain(),
            Self::Hook(error) => error.explain(),
            Self::Parent { site, source } => Failure::of_vault(class_of_read(source), self, source.hint()).at(site),
            Self::Source { site, source } => Failure::of_plugin(source).at(site),
            Self::Write { site, source } => Failure::of_vault(class_of_write(source), self, source.hint()).at(site),
            Self::Proof(error) => {
                let (setting, hint) = error.source.advice();
                let failure = Failure::new(FailureClass::Proof, &error.source).at(&error.site).hint(hint);
                match setting {
                    Some(setting) => failure.setting(setting),
                    None => failure,
                }
            }
            Self::Interrupted(error) => explain_interrupted(*error, None),
            Self::WallClock { site, limit } => explain_interrupted(Interrupted::WallClock(*limit), Some(site)),
        }
    }
}

pub(crate) fn explain_interrupted(error: Interrupted, site: Option<&Site>) -> Failure {
    let failure = match error {
        Interrupted::Cancelled => Failure::new(FailureClass::Cancelled, &error),
        Interrupted::WallClock(_) => Failure::new(FailureClass::Limit, &error)
            .setting("limits.wall-clock")
            .hint("if it may take that long, raise `limits.wall-clock`"),
    };
    match site {
        Some(site) => failure.at(site),
        None => failure,
    }
}

pub(crate) fn class_of_read(error: &ReadError) -> FailureClass {
    match error {
        ReadError::NoSuchEntry { .. } | ReadError::NoSuchSnapshot(_) => FailureClass::NotFound,
        ReadError::NotAFile(_) => FailureClass::Conflict,
        ReadError::Corrupt(_) | ReadError::BlobMissing { .. } => FailureClass::Damaged,
        _ => FailureClass::Internal,
    }
}

pub(crate) fn class_of_write(error: &WriteError) -> FailureClass {
    match error {
        WriteError::Locked { .. } => FailureClass::Conflict,
        WriteError::KeptContentMissing { .. } => FailureClass::Damaged,
        WriteError::ObjectTooLarge { .. } => FailureClass::Limit,
        WriteError::Read(error) => class_of_read(error),
        WriteError::Internal(_) => FailureClass::Internal,
        WriteError::Cancelled {
            cause: vault::Cause::Failed(error),
        } => class_of_write(error),
        WriteError::Cancelled {
            cause: vault::Cause::Aborted | vault::Cause::RunDropped,
        } => FailureClass::Cancelled,
        _ => FailureClass::Plugin,
    }
}

/// Whether the source gave up an entry, and may say why.
fn was_given_up(error: &WriteError) -> bool {
    matches!(
        error,
        WriteError::Cancelled {
            cause: vault::Cause::EntryDropped(_) | vault::Cause::CallDropped(_)
        }
    )
}

/// Whether the source asked for something that no vault and no sink could do, or gave up an entry: it then knows better than the vault what went wrong.
fn is_the_sources(error: &WriteError) -> bool {
    match error {
        WriteError::DuplicateEntry(_)
        | WriteError::NotAFolder { .. }
        | WriteError::ReservedPath(_)
        | WriteError::WrongType { .. }
        | WriteError::NothingToKeep { .. }
        | WriteError::TooLate(_)
        | WriteError::Unfinished(_)
        | WriteError::TooManyChunks { .. } => true,
        WriteError::Cancelled { cause } => match cause {
            vault::Cause::Failed(error) => is_the_sources(error),
            _ => was_given_up(error),
        },
        _ => false,
    }
}

/// Takes a snapshot of `pipeline`.
///
/// # Errors
/// See [`FailedRun`]. A further sink that failed, or that an interruption left behind, is in the report.
pub async fn run(operation: &Operation, pipeline: &Pipeline, options: RunOptions) -> Result<RunReport, FailedRun> {
    run_in(operation, pipeline, options, None).await
}

/// The same, in the pipeline's vault where that is open already.
pub(crate) async fn run_in(
    operation: &Operation,
    pipeline: &Pipeline,
    options: RunOptions,
    opened: Option<Opened>,
) -> Result<RunReport, FailedRun> {
    let limit = setup::limits(&pipeline.limits, setup::source_defaults()).wall_clock;
    let journal = Journal::default();
    let hooks = Hooks::of(pipeline);
    let ending = operation
        .watch(Some(limit), take_snapshot(operation, pipeline, options, opened, &journal, &hooks))
        .await;
    // Where the run ended before it came to that.
    let put_in_order = hooks.after().await;
    let error = match ending {
        Ending::Done(Ok(mut report)) | Ending::Interrupted(_, Some(Ok(mut report))) => {
            report.findings.extend(put_in_order.err().map(|error| not_in_order(&error)));
            return Ok(report);
        }
        Ending::Done(Err(error)) => error,
        Ending::Interrupted(Interrupted::Cancelled, _) => RunError::Interrupted(Interrupted::Cancelled),
        Ending::Interrupted(Interrupted::WallClock(limit), _) => RunError::WallClock {
            site: pipeline_site(pipeline),
            limit,
        },
    };
    if let Err(error) = put_in_order {
        tracing::error!("{error}");
    }
    Err(FailedRun {
        error,
        committed: journal.committed(),
        unsure: journal.is_unsure(),
    })
}

fn not_in_order(error: &HookError) -> Finding {
    Finding {
        severity: Severity::Error,
        code: "after-hook-failed".to_owned(),
        message: format!("the snapshot is committed, but {error}"),
        hint: error.explain().hint,
        setting: Some("hooks.after".to_owned()),
    }
}

#[tracing::instrument(name = "run", skip_all, fields(pipeline = pipeline.name, plugin = pipeline.plugin))]
async fn take_snapshot(
    operation: &Operation,
    pipeline: &Pipeline,
    options: RunOptions,
    opened: Option<Opened>,
    journal: &Journal,
    hooks: &Hooks<'_>,
) -> Result<RunReport, RunError> {
    let clock = Instant::now();
    let started = clock::now();
    operation.progress.phase("opening", None);
    let vault_config = operation.vault_named(&pipeline.vault)?;
    let handed = Handed::to_run(operation, pipeline, opened.as_ref()).await;
    let (source, plugin) = operation.host.source(&operation.config, &handed.pipeline).await?;
    let Opened { sinks, vault, .. } = match opened {
        Some(opened) => opened,
        None => operation.open_with_sinks(vault_config).await?,
    };
    let (last, without_parent) = parent(&vault, pipeline, &vault_site(vault_config)).await?;
    let last_record = last.as_ref().and_then(|last| last.snapshot.record());
    // A log that becomes smaller because nobody needs its beginning is as it is expected to be.
    let comparable = last_record.filter(|record| !handed.leaves_out(&record.proof));
    let last_bytes = comparable.map(|record| record.proof.bytes);
    let parent = last.filter(|_| !options.full);

    let mut run = Run {
        operation,
        pipeline,
        options,
        started,
        vault,
        sinks,
        parent,
        last_bytes,
        without_parent,
        plugin: identity(&plugin),
        journal: journal.clone(),
    };
    operation.progress.phase("preparing", None);
    hooks.before().await?;
    let (outcome, committed, stats) = run.backup(&source).await?;
    // Copying may take hours: the source needn't stay as it is for that.
    let put_in_order = hooks.after().await;
    let replicas = run.replicate().await;
    let locks = match options.leave_locks {
        true => Vec::new(),
        false => object_lock::extend(&run.vault, &run.sinks, operation).await,
    };
    let mut report = run.report(clock.elapsed(), outcome, committed, stats, replicas, locks);
    report.findings.extend(put_in_order.err().map(|error| not_in_order(&error)));
    Ok(report)
}

/// A snapshot of the same pipeline to continue from.
struct Parent {
    id: vault::ObjectId,
    snapshot: Arc<VaultSnapshot>,
}

/// The last snapshot, or why it is there but of no use: what was lost of an old snapshot must not keep new ones from being taken.
async fn parent(vault: &Vault, pipeline: &Pipeline, site: &Site) -> Result<(Option<Parent>, Option<Finding>), RunError> {
    let error = match find_parent(vault, pipeline).await {
        Ok(parent) => return Ok((parent, None)),
        Err(error) => error,
    };
    // What may pass fails the run instead: a snapshot that is compared with nothing would be the next one's measure.
    if matches!(class_of_read(&error), FailureClass::Damaged | FailureClass::NotFound) {
        tracing::info!(error = &error as &dyn std::error::Error, "the last snapshot is damaged");
        return Ok((None, Some(damaged_parent(&error))));
    }
    Err(RunError::Parent {
        site: site.clone(),
        source: Box::new(error),
    })
}

async fn find_parent(vault: &Vault, pipeline: &Pipeline) -> Result<Option<Parent>, ReadError> {
    let info = match vault.resolve("latest", Some(&pipeline.name)).await {
        Ok(info) => info,
        Err(ResolveError::Empty { .. } | ResolveError::NotFound { .. }) => return Ok(None),
        Err(ResolveError::Read(error)) => return Err(error),
        Err(error) => return Err(ReadError::Internal(error.to_string())),
    };
    let id = info.id;
    let reader = vault.read_found(info).await?;
    Ok(Some(Parent {
        id,
        snapshot: Arc::new(VaultSnapshot::open(reader).await?),
    }))
}

fn damaged_parent(error: &ReadError) -> Finding {
    Finding {
        severity: Severity::Warning,
        code: "parent-damaged".to_owned(),
        message: format!(
            "the last snapshot is damaged, so everything was read anew and `expect.max-shrink` had nothing to compare with: {error}"
        ),
        hint: Some("`bulkhead verify --read-data` says what else is damaged".to_owned()),
        setting: None,
    }
}

fn identity(plugin: &Plugin) -> vault::PluginIdentity {
    let description = plugin.description();
    vault::PluginIdentity {
        name: description.name.clone(),
        version: description.version.clone(),
        digest: plugin.digest().to_string(),
    }
}

/// A digest of what the operator asked of the source, so that two snapshots can be told to come from the same configuration.
fn config_digest(pipeline: &Pipeline) -> String {
    let asked = serde_json::json!({ "plugin": pipeline.plugin, "config": pipeline.config, "grants": pipeline.grants });
    format!("sha256:{}", hex::encode(Sha256::digest(asked.to_string())))
}

struct Run<'o> {
    operation: &'o Operation,
    pipeline: &'o Pipeline,
    options: RunOptions,
    started: Timestamp,
    vault: Vault,
    sinks: Sinks,
    parent: Option<Parent>,
    /// Bytes of the last snapshot, where the new one can be compared with it.
    last_bytes: Option<u64>,
    /// Why there is none, where there should be one.
    without_parent: Option<Finding>,
    plugin: vault::PluginIdentity,
    journal: Journal,
}

impl Run<'_> {
    /// Lets the source write, and commits. Whatever fails, the writer is told, so that its threads and its lock are gone when this returns.
    async fn backup(&mut self, source: &Source) -> Result<(BackupOutcome, Vec<CommittedSnapshot>, RunStats), RunError> {
        let begin = BeginSnapshot {
            pipeline: self.pipeline.name.clone(),
            host: self.operation.host.name.clone(),
            time: self.started,
            parent: self.parent.as_ref().map(|parent| parent.id),
        };
        let template = RecordTemplate {
            bulkhead_version: env!("CARGO_PKG_VERSION").to_owned(),
            plugin: self.plugin.clone(),
            config_digest: config_digest(self.pipeline),
            expect: self.pipeline.expect.clone(),
            parent_bytes: self.parent_bytes(),
        };
        let entries = VaultEntries::begin(self.vault.clone(), begin, template.clone(), self.journal.clone())
            .await
            .map_err(|error| self.write_error(error))?;
        let entries = Arc::new(entries);
        self.operation.progress.follow(entries.watch());
        let result = self.write_and_commit(source, &entries, &template).await;
        self.operation.progress.unfollow();
        if result.is_err() {
            entries.writer().abort().await;
        }
        result
    }

    async fn write_and_commit(
        &self,
        source: &Source,
        entries: &Arc<VaultEntries>,
        template: &RecordTemplate,
    ) -> Result<(BackupOutcome, Vec<CommittedSnapshot>, RunStats), RunError> {
        let mut outcome = self.write(source, entries).await?;
        outcome.findings.splice(..0, self.without_parent.clone());
        let writer = entries.writer();
        let mut stats = writer.stats();
        let mut committed = entries.committed();
        self.believe(&outcome, stats, committed.is_empty())?;
        let unchanged = outcome.checkpoint.is_none() || outcome.checkpoint == entries.last_checkpoint();
        let nothing_left = !committed.is_empty() && !entries.has_new() && unchanged;
        if nothing_left {
            writer.check().map_err(|error| self.write_error(error))?;
            writer.abort().await;
            // The report is of the last snapshot.
            stats = committed.last().map_or(stats, |last| last.stats);
        } else {
            self.operation.progress.phase("committing", None);
            let mut record = template.record(self.started, outcome.proof.clone(), outcome.checkpoint.clone());
            record.findings.clone_from(&outcome.findings);
            let taken = if committed.is_empty() { self.started } else { clock::now() };
            let commit = self.journal.commit(&writer, record, taken).await;
            committed.push(commit.map_err(|error| self.write_error(error))?);
        }
        Ok((outcome, committed, stats))
    }

    /// The source's part. A failure of the vault comes first: what the source then says is its consequence. It is the other way round where the vault only
    /// says what the source did wrong.
    async fn write(&self, source: &Source, entries: &Arc<VaultEntries>) -> Result<BackupOutcome, RunError> {
        self.operation.progress.phase("starting the source", None);
        let input = BackupInput {
            entries: entries.clone(),
            parent: self.parent.as_ref().map(|parent| parent.snapshot.clone() as _),
        };
        let context = self.operation.context();
        let mut backup = std::pin::pin!(source.backup(&context, input));
        let result = tokio::select! {
            biased;
            error = entries.failed() => {
                if !is_the_sources(&error) {
                    return Err(self.write_error(error));
                }
                match tokio::time::timeout(LAST_WORDS, &mut backup).await {
                    // What it claims of an entry that it gave up is looked at as ever: a commit cannot follow.
                    Ok(result) if result.is_err() || was_given_up(&error) => result,
                    _ => return Err(self.write_error(error)),
                }
            }
            result = &mut backup => result,
        };
        result.map_err(|error| self.source_error(error, entries))
    }

    /// Why the source failed: it may have met a failure of the vault before anybody else has.
    fn source_error(&self, error: PluginError, entries: &VaultEntries) -> RunError {
        if let Some(refused) = entries.refused() {
            return self.unbelievable(refused);
        }
        match entries.writer().check() {
            Err(failure) if !is_committed(&failure) && !is_the_sources(&failure) => self.write_error(failure),
            _ => RunError::Source {
                site: pipeline_site(self.pipeline),
                source: Box::new(error),
            },
        }
    }

    /// Bytes of the last snapshot, where the new one is compared with it: also where all is read anew.
    fn parent_bytes(&self) -> Option<u64> {
        self.last_bytes.filter(|_| !self.options.accept_small)
    }

    /// What is expected is expected of the first snapshot of a run: those that the source commits after it are what came in the meantime.
    fn believe(&self, outcome: &BackupOutcome, stats: RunStats, is_first: bool) -> Result<(), RunError> {
        let stored = Stored {
            entries: stats.entries,
            bytes: stats.bytes,
        };
        let believed = proof::agrees(&outcome.proof, stored)
            .and_then(|()| proof::no_error_among(&outcome.findings))
            .and_then(|()| {
                if is_first {
                    proof::is_expected(&self.pipeline.expect, stored, self.parent_bytes())
                } else {
                    Ok(())
                }
            });
        believed.map_err(|error| self.unbelievable(error))
    }

    fn unbelievable(&self, source: ProofError) -> RunError {
        RunError::Proof(Box::new(UnbelievableSnapshot {
            site: pipeline_site(self.pipeline),
            source,
        }))
    }

    fn write_error(&self, error: WriteError) -> RunError {
        let site = if is_the_sources(&error) {
            pipeline_site(self.pipeline)
        } else {
            self.sinks.first.site().clone()
        };
        RunError::Write {
            site,
            source: Box::new(error),
        }
    }

    async fn replicate(&self) -> Vec<ReplicaReport> {
        let mut reports = Vec::with_capacity(self.sinks.further.len());
        for sink in &self.sinks.further {
            self.operation.progress.phase(&format!("copying to {}", sink.name()), None);
            reports.push(replicate(&self.sinks.first, sink, &self.operation.cancellation).await);
        }
        reports
    }

    fn report(
        &self,
        elapsed: Duration,
        outcome: BackupOutcome,
        mut committed: Vec<CommittedSnapshot>,
        stats: RunStats,
        replicas: Vec<ReplicaReport>,
        locks: Vec<LockReport>,
    ) -> RunReport {
        let last = committed.pop();
        RunReport {
            pipeline: self.pipeline.name.clone(),
            vault: self.pipeline.vault.clone(),
            snapshot: last.as_ref().map(|last| last.snapshot.id.to_string()).unwrap_or_default(),
            parent: self.parent.as_ref().map(|parent| parent.id.to_string()),
            earlier: committed.iter().map(|earlier| earlier.snapshot.id.to_string()).collect(),
            started: clock::rfc3339(self.started),
            seconds: elapsed.as_secs_f64(),
            entries: stats.entries,
            bytes: stats.bytes,
            added_bytes: last.as_ref().map_or(stats.added_bytes, |last| last.stats.added_bytes),
            stored_bytes: last.as_ref().map_or(stats.stored_bytes, |last| last.stats.stored_bytes),
            proof: outcome.proof,
            findings: outcome.findings,
            plugin: self.plugin.clone(),
            replicas,
            locks,
        }
    }
}
