//! `bulkhead copy`: feeding a vault from another one, as its `copy` says; by plan first.
//!
//! A snapshot is copied that its selection chooses and that is not there yet, whatever its tags are here or there. Each is committed by itself, oldest first: a
//! copy that is cut off has copied some, and goes on from there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bulkhead_config as config;
use bulkhead_config::Retention;
use bulkhead_vault::{Copier, CopyError, Hint as _, ReadError, SnapshotIdentity, SnapshotInfo, Vault};
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::{
    access::{AccessError, Sinks, vault_site},
    browse::{self, SnapshotError, UnreadableSnapshot},
    clock,
    failure::{Explain, Failure, FailureClass, Site},
    forget::zone_of,
    host::BuildError,
    maintenance::MaintainError,
    object_lock::{self, LockReport},
    operation::{Interrupted, Operation},
    replicate::{ReplicaReport, replicate},
    retention::{self, Circumstances, Taken},
    run::{class_of_read, class_of_write},
    status::LastSnapshot,
    store::SinkStore,
    verified::Known,
};

/// A snapshot that is to be copied, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CopiedSnapshot {
    /// Its id in the vault that it is copied from.
    pub id: String,
    /// Its id in the vault that it is copied to, once it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<String>,
    /// When it was taken, RFC 3339.
    pub time: String,
    /// The pipeline; `None` where another tool made it.
    pub pipeline: Option<String>,
    /// Why it was not copied: it can't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What a copy does, or did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CopyReport {
    /// The vault that is fed.
    pub vault: String,
    /// The vault that it is fed from.
    pub from: String,
    /// Whether it was carried out.
    pub done: bool,
    /// Snapshots that are chosen and were not there, oldest first.
    pub snapshots: Vec<CopiedSnapshot>,
    /// Snapshots that are chosen and were there.
    pub present: u64,
    /// Snapshots that are not chosen.
    pub left_out: u64,
    /// Snapshots of which no more than the id is known: their files are damaged, and they are not copied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<UnreadableSnapshot>,
    /// Bytes of content that were copied.
    pub bytes: u64,
    /// Bytes that went to the first sink.
    pub stored_bytes: u64,
    /// Each further sink.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaReport>,
    /// What became of the locks, on sinks that lock.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<LockReport>,
    #[serde(skip)]
    missing: Vec<SnapshotInfo>,
}

impl CopyReport {
    /// Whether all that is chosen could be read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unreadable.is_empty() && self.snapshots.iter().all(|snapshot| snapshot.error.is_none())
    }

    /// Whether what is on sinks that lock is locked.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        object_lock::are_extended(&self.locks)
    }

    fn copied(&self) -> usize {
        self.snapshots.iter().filter(|snapshot| snapshot.copy.is_some()).count()
    }
}

/// How far a vault is behind the one that it is fed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CopyStatus {
    /// The vault that is fed.
    pub vault: String,
    /// The vault that it is fed from.
    pub from: String,
    /// Snapshots that are chosen and not there yet: a copy would bring them now.
    pub behind: u64,
    /// The oldest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<LastSnapshot>,
    /// Snapshots of the other vault whose files are damaged: whether they are chosen can't be told.
    pub unreadable: u64,
}

/// Why a vault could not be fed.
#[derive(Debug, thiserror::Error)]
pub enum CopyVaultError {
    /// One of the two can't be opened or listed.
    #[error(transparent)]
    Vault(#[from] MaintainError),
    /// A vault that is fed from none.
    #[error("the vault `{vault}` is not fed from another one")]
    NotFed {
        /// The vault.
        vault: String,
        /// Its table.
        site: Site,
    },
    /// Copying failed, for all snapshots.
    #[error("cannot copy from the vault `{from}` to `{vault}`; {copied} snapshots were copied")]
    Copy {
        /// The vault that is fed.
        vault: String,
        /// The other one.
        from: String,
        /// Snapshots that were copied by then.
        copied: usize,
        /// The table of the one that failed.
        site: Site,
        /// Why.
        source: Box<CopyError>,
    },
    /// Cut short.
    #[error("interrupted; {copied} snapshots were copied")]
    Interrupted {
        /// Snapshots that were copied by then.
        copied: usize,
    },
}

impl From<BuildError> for CopyVaultError {
    fn from(error: BuildError) -> Self {
        Self::Vault(error.into())
    }
}

impl From<AccessError> for CopyVaultError {
    fn from(error: AccessError) -> Self {
        Self::Vault(error.into())
    }
}

impl From<SnapshotError> for CopyVaultError {
    fn from(error: SnapshotError) -> Self {
        Self::Vault(error.into())
    }
}

impl From<Interrupted> for CopyVaultError {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted { copied: 0 }
    }
}

impl Explain for CopyVaultError {
    fn explain(&self) -> Failure {
        match self {
            Self::Vault(error) => error.explain(),
            Self::NotFed { vault, site } => Failure::new(FailureClass::Config, self)
                .at(site)
                .hint(format!("say what it gets: `copy = {{ from = \"VAULT\" }}` in `[vault.{vault}]`")),
            Self::Copy { site, source, .. } => Failure::of_vault(class_of(source), self, source.hint()).at(site),
            Self::Interrupted { .. } => Failure::new(FailureClass::Cancelled, self).hint("call it again: it goes on from where it was"),
        }
    }
}

fn class_of(error: &CopyError) -> FailureClass {
    match error {
        CopyError::SameVault { .. } => FailureClass::Config,
        CopyError::Source(error) => class_of_read(error),
        CopyError::SourceLock(error) | CopyError::Target(error) => class_of_write(error),
        _ => FailureClass::Internal,
    }
}

/// A vault that is fed, and the one that it is fed from.
struct Pair<'o> {
    operation: &'o Operation,
    config: &'o config::Vault,
    from: &'o config::Vault,
    select: Option<&'o Retention>,
    source: Vault,
    source_store: Arc<SinkStore>,
    target: Vault,
    sinks: Sinks,
}

/// Copies into the vault called `name` what its `copy` chooses and it lacks; where `only_planned`, says what that would be.
///
/// # Errors
/// See [`CopyVaultError`]. Snapshots that can't be read are in the report, and the others are copied.
pub async fn copy(operation: &Operation, name: &str, only_planned: bool) -> Result<CopyReport, CopyVaultError> {
    let (pair, mut report) = operation.until_interrupted(None, plan(operation, name)).await??;
    if !only_planned {
        pair.carry_out(&mut report).await?;
    }
    Ok(report)
}

/// How far the vault called `name` is behind the one that it is fed from. Lists the snapshots of both, and reads no more.
///
/// # Errors
/// See [`CopyVaultError`].
pub async fn copy_status(operation: &Operation, name: &str) -> Result<CopyStatus, CopyVaultError> {
    let (pair, report) = operation.until_interrupted(None, plan(operation, name)).await??;
    let oldest = report.missing.first().map(|snapshot| LastSnapshot::of(snapshot, clock::now()));
    Ok(CopyStatus {
        vault: report.vault,
        from: pair.from.name.clone(),
        behind: report.snapshots.len() as u64,
        oldest,
        unreadable: report.unreadable.len() as u64,
    })
}

#[tracing::instrument(name = "copy", skip(operation))]
async fn plan<'o>(operation: &'o Operation, name: &str) -> Result<(Pair<'o>, CopyReport), CopyVaultError> {
    let config = operation.vault_named(name)?;
    let Some(copy) = &config.copy else {
        return Err(CopyVaultError::NotFed {
            vault: name.to_owned(),
            site: vault_site(config),
        });
    };
    let from = operation.vault_named(&copy.from)?;
    operation.progress.phase("reading snapshots", None);
    let sinks = operation.sinks(config).await?;
    let target = operation.open(config, &sinks).await?;
    let (source_store, source) = operation.open_to_read(from).await?;
    let pair = Pair {
        operation,
        config,
        from,
        select: copy.select.as_ref(),
        source,
        source_store,
        target,
        sinks,
    };
    let report = pair.plan().await?;
    Ok((pair, report))
}

impl Pair<'_> {
    async fn plan(&self) -> Result<CopyReport, CopyVaultError> {
        let (mut snapshots, unreadable) = browse::snapshots_and_records(&self.source, &self.source_store).await?;
        let known = Known::take(&mut snapshots, &self.source, self.from);
        let (there, _) = browse::snapshot_files(&self.target, &self.sinks.first).await?;
        let there: BTreeSet<SnapshotIdentity> = there.iter().map(SnapshotInfo::identity).collect();
        let chosen = self.chosen(&snapshots, &known)?;
        let (present, missing): (Vec<_>, Vec<_>) = chosen
            .iter()
            .copied()
            .partition(|snapshot: &&SnapshotInfo| there.contains(&snapshot.identity()));
        Ok(CopyReport {
            vault: self.config.name.clone(),
            from: self.from.name.clone(),
            done: false,
            snapshots: missing.iter().map(|snapshot| planned(snapshot)).collect(),
            present: present.len() as u64,
            left_out: (snapshots.len() - chosen.len()) as u64,
            unreadable: unreadable
                .into_iter()
                .map(|(id, error)| UnreadableSnapshot::new(id, &self.from.name, error))
                .collect(),
            bytes: 0,
            stored_bytes: 0,
            replicas: Vec::new(),
            locks: Vec::new(),
            missing: missing.into_iter().cloned().collect(),
        })
    }

    /// The snapshots that the selection chooses, in their order: of each pipeline those that such a retention would keep, and those alike of each host
    /// and path that no pipeline has taken.
    fn chosen<'s>(&self, snapshots: &'s [SnapshotInfo], known: &Known) -> Result<Vec<&'s SnapshotInfo>, MaintainError> {
        let Some(select) = self.select else {
            return Ok(snapshots.iter().collect());
        };
        let mut lines: BTreeMap<_, Vec<&SnapshotInfo>> = BTreeMap::new();
        for snapshot in snapshots {
            let line = match &snapshot.pipeline {
                Some(pipeline) => (Some(pipeline.as_str()), "", &[][..]),
                None => (None, snapshot.host.as_str(), &snapshot.paths[..]),
            };
            lines.entry(line).or_default().push(snapshot);
        }
        let mut chosen = Vec::new();
        for ((pipeline, ..), line) in lines {
            let pipeline = pipeline.and_then(|name| self.operation.config.pipeline(name));
            let circumstances = Circumstances {
                zone: pipeline.map_or(Ok(TimeZone::UTC), zone_of)?,
                now: clock::now(),
                // Nothing goes by this.
                clock_is_right: true,
                rpo: None,
            };
            // What a snapshot continues matters where one is to go.
            let taken = |snapshot: &&SnapshotInfo| Taken::of(snapshot, None, known.depths(snapshot));
            let reasons = retention::apply(select, &line.iter().map(taken).collect::<Vec<_>>(), &circumstances);
            chosen.extend(
                reasons
                    .iter()
                    .zip(line)
                    .filter(|(reasons, _)| !reasons.is_empty())
                    .map(|(_, snapshot)| snapshot),
            );
        }
        chosen.sort_by_key(|snapshot| snapshot.order());
        Ok(chosen)
    }

    async fn carry_out(&self, report: &mut CopyReport) -> Result<(), CopyVaultError> {
        if !report.missing.is_empty() {
            let host = &self.operation.host.name;
            let begun = self
                .operation
                .until_interrupted(None, self.target.copy_from(&self.source, host))
                .await?;
            let mut copier = begun.map_err(|error| self.failed(error, report))?;
            let copied = self.copy_all(&mut copier, report).await;
            report.stored_bytes = copier.stats().stored_bytes;
            copier.close().await;
            copied?;
        }
        report.done = true;
        for sink in &self.sinks.further {
            self.operation.progress.phase(&format!("copying to {}", sink.name()), None);
            report
                .replicas
                .push(replicate(&self.sinks.first, sink, &self.operation.cancellation).await);
        }
        report.locks = object_lock::extend(&self.target, &self.sinks, self.operation).await;
        Ok(())
    }

    async fn copy_all(&self, copier: &mut Copier, report: &mut CopyReport) -> Result<(), CopyVaultError> {
        let progress = &self.operation.progress;
        let bytes = AtomicU64::new(0);
        let count = |more: u64| {
            bytes.fetch_add(more, Ordering::Relaxed);
            progress.add(more);
        };
        let total = report.missing.len();
        for number in 0..total {
            let id = report.missing[number].id;
            progress.phase(&format!("copying {} ({} of {total})", &id.to_string()[..8], number + 1), None);
            let copied = tokio::select! {
                biased;
                () = self.operation.cancellation.cancelled() => return Err(CopyVaultError::Interrupted { copied: report.copied() }),
                copied = copier.copy(id, &count) => copied,
            };
            report.bytes = bytes.load(Ordering::Relaxed);
            match copied {
                Ok(copy) => report.snapshots[number].copy = Some(copy.id.to_string()),
                Err(CopyError::Source(error)) if is_of_the_snapshot(&error) => {
                    let failure = SnapshotError::from(error).explain();
                    tracing::warn!(snapshot = %id, "not copied: {failure}");
                    report.snapshots[number].error = Some(failure.to_string());
                    report.snapshots[number].hint = failure.hint;
                }
                Err(error) => return Err(self.failed(error, report)),
            }
        }
        Ok(())
    }

    fn failed(&self, error: CopyError, report: &CopyReport) -> CopyVaultError {
        CopyVaultError::Copy {
            vault: self.config.name.clone(),
            from: self.from.name.clone(),
            copied: report.copied(),
            site: vault_site(match error {
                CopyError::Target(_) | CopyError::SameVault { .. } => self.config,
                _ => self.from,
            }),
            source: Box::new(error),
        }
    }
}

/// Whether others may be read though this one can't.
fn is_of_the_snapshot(error: &ReadError) -> bool {
    matches!(class_of_read(error), FailureClass::Damaged | FailureClass::NotFound)
}

fn planned(snapshot: &SnapshotInfo) -> CopiedSnapshot {
    CopiedSnapshot {
        id: snapshot.id.to_string(),
        copy: None,
        time: clock::rfc3339(snapshot.time),
        pipeline: snapshot.pipeline.clone(),
        error: None,
        hint: None,
    }
}
