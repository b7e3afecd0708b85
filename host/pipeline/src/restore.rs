//! `bulkhead restore`: a snapshot back into a folder, or through its plugin into a target.
//!
//! Into a folder the host writes itself ([`FolderWriter`]), whatever plugin took the snapshot. A target has grants of its own, and the plugin does what
//! its kind of data needs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bulkhead_config::{Pipeline, Target};
use bulkhead_model::{EntryPath, Fact, Finding, NodeType, Severity};
use bulkhead_runtime::{PluginError, RestoreRequest};
use bulkhead_vault::{Piece, ReadError, SnapshotEntry, SnapshotReader};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{
    browse::{SnapshotError, open_snapshot},
    failure::{Explain, Failure, FailureClass, Site},
    folder::{FolderError, FolderWriter},
    host::{BuildError, target_site},
    operation::{Interrupted, Operation},
    run::explain_interrupted,
    setup,
    stored::VaultSnapshot,
};

/// Steps between reading and writing. Content among them is what the vault had ahead anyway, except for one window (4 MiB, or a chunk of 8).
const STEPS_AHEAD: usize = 16;

/// What a restore did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RestoreReport {
    /// The pipeline.
    pub pipeline: String,
    /// The snapshot.
    pub snapshot: String,
    /// The folder, or the name of the target.
    pub target: String,
    /// Entries restored.
    pub entries: u64,
    /// Bytes restored.
    pub bytes: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Statements of the plugin.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
    /// What went right, but not without remark.
    pub findings: Vec<Finding>,
}

/// What to restore.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// `latest`, or the beginning of a snapshot's id.
    pub snapshot: String,
    /// Paths, with all below them; empty for everything.
    pub paths: Vec<EntryPath>,
}

/// Why a restore failed. What it wrote so far is still there.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The snapshot can't be found or read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The plugin can't be used.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The folder can't be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The plugin failed.
    #[error("the plugin failed")]
    Plugin {
        /// The target's table.
        site: Site,
        /// How.
        source: Box<PluginError>,
    },
    /// Cut short.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// A thread died.
    #[error("the thread that writes the folder died")]
    Writer,
}

impl RestoreReport {
    /// Whether no finding is an error.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }
}

impl Explain for RestoreError {
    fn explain(&self) -> Failure {
        match self {
            Self::Snapshot(error) => error.explain(),
            Self::Build(error) => error.explain(),
            Self::Folder(error) => explain_folder(error),
            Self::Plugin { site, source } => Failure::of_plugin(source).at(site),
            Self::Interrupted(error) => explain_interrupted(*error, None),
            Self::Writer => Failure::new(FailureClass::Internal, self),
        }
    }
}

fn explain_folder(error: &FolderError) -> Failure {
    use std::io::ErrorKind;
    let failure = |class| Failure::new(class, error);
    match error.source.kind() {
        ErrorKind::DirectoryNotEmpty => failure(FailureClass::Conflict).hint("give a folder that is empty or does not exist yet"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            failure(FailureClass::StorageFull).hint("make room, empty the folder, and restore again")
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            failure(FailureClass::Credentials).hint("give a folder that this user may write to")
        }
        _ => failure(FailureClass::Internal),
    }
}

/// Restores a snapshot of `pipeline` into the folder `target`, which must be empty or not exist.
///
/// # Errors
/// See [`RestoreError`].
pub async fn restore_to_folder(
    operation: &Operation,
    pipeline: &Pipeline,
    options: &RestoreOptions,
    target: &Path,
) -> Result<RestoreReport, RestoreError> {
    operation
        .until_interrupted(None, to_folder(operation, pipeline, options, target))
        .await?
}

#[tracing::instrument(name = "restore", skip_all, fields(pipeline = pipeline.name, target = %target.display()))]
async fn to_folder(
    operation: &Operation,
    pipeline: &Pipeline,
    options: &RestoreOptions,
    target: &Path,
) -> Result<RestoreReport, RestoreError> {
    let clock = tokio::time::Instant::now();
    operation.progress.phase("opening", None);
    let target: PathBuf = target.to_owned();
    let writer = {
        let target = target.clone();
        tokio::task::spawn_blocking(move || FolderWriter::open(&target))
            .await
            .map_err(|_| RestoreError::Writer)??
    };
    let snapshot = open_snapshot(operation, pipeline, &options.snapshot).await?;
    let (steps, received) = mpsc::channel(STEPS_AHEAD);
    let writing = tokio::task::spawn_blocking({
        let progress = operation.progress.clone();
        move || write_steps(writer, received, &progress)
    });
    operation
        .progress
        .phase("restoring", total_bytes(snapshot.reader(), &options.paths).await?);
    let sent = send_steps(snapshot.reader(), &options.paths, &steps).await;
    drop(steps);
    // The writer's own failure is the cause where sending ended because nobody received.
    let written = writing.await.map_err(|_| RestoreError::Writer)??;
    sent.map_err(SnapshotError::from)?;
    let Some(written) = written else {
        return Err(RestoreError::Interrupted(Interrupted::Cancelled));
    };
    Ok(RestoreReport {
        pipeline: pipeline.name.clone(),
        snapshot: snapshot.id(),
        target: target.display().to_string(),
        entries: written.entries,
        bytes: written.bytes,
        seconds: clock.elapsed().as_secs_f64(),
        facts: Vec::new(),
        findings: written.findings,
    })
}

/// From the reading half of a restore to the writing half.
enum Step {
    /// A folder above what is restored.
    Ancestor(SnapshotEntry),
    Begin(SnapshotEntry),
    Content(Bytes),
    FinishFile,
    /// Everything was sent: a channel that merely ends is a restore that was cut short.
    Done,
}

struct Written {
    entries: u64,
    bytes: u64,
    findings: Vec<Finding>,
}

fn write_steps(
    mut writer: FolderWriter,
    mut steps: mpsc::Receiver<Step>,
    progress: &crate::Progress,
) -> Result<Option<Written>, FolderError> {
    while let Some(step) = steps.blocking_recv() {
        match step {
            Step::Ancestor(entry) => writer.enter(&entry.path, entry.metadata)?,
            Step::Begin(entry) => {
                writer.begin(entry)?;
                progress.add_entry();
            }
            Step::Content(data) => {
                progress.add(data.len() as u64);
                writer.write(&data)?;
            }
            Step::FinishFile => writer.finish_file()?,
            Step::Done => {
                let (entries, bytes) = (writer.entries, writer.bytes);
                return Ok(Some(Written {
                    entries,
                    bytes,
                    findings: writer.finish()?,
                }));
            }
        }
    }
    Ok(None)
}

/// Paths without those that lie below another one.
fn outermost(paths: &[EntryPath]) -> Vec<EntryPath> {
    if paths.is_empty() {
        return vec![EntryPath::default()];
    }
    let mut paths: Vec<EntryPath> = paths.to_vec();
    paths.sort_unstable();
    paths.dedup();
    let all = paths.clone();
    paths.retain(|path| !all.iter().any(|other| other != path && path.starts_with(other)));
    paths
}

async fn total_bytes(reader: &SnapshotReader, paths: &[EntryPath]) -> Result<Option<u64>, SnapshotError> {
    if paths.is_empty() {
        return Ok(reader.record().await?.map(|record| record.proof.bytes));
    }
    let mut total = 0;
    for path in outermost(paths) {
        let mut walk = reader.walk(&path).await?;
        while let Some(entry) = walk.next().await? {
            total += entry.size;
        }
    }
    Ok(Some(total))
}

async fn send_steps(reader: &SnapshotReader, paths: &[EntryPath], steps: &mpsc::Sender<Step>) -> Result<(), ReadError> {
    let mut entered: Vec<EntryPath> = Vec::new();
    for path in outermost(paths) {
        for ancestor in ancestors(&path) {
            if !entered.contains(&ancestor) {
                let entry = reader.stat(&ancestor).await?;
                entered.push(ancestor);
                if steps.send(Step::Ancestor(entry)).await.is_err() {
                    return Ok(());
                }
            }
        }
        if !send_content(reader, &path, steps).await? {
            return Ok(());
        }
    }
    // Nobody receives where the writer failed, which then says so itself.
    let _ = steps.send(Step::Done).await;
    Ok(())
}

/// Whether somebody still receives.
async fn send_content(reader: &SnapshotReader, path: &EntryPath, steps: &mpsc::Sender<Step>) -> Result<bool, ReadError> {
    let mut walk = reader
        .walk_content(path, |entry| entry.metadata.node_type == NodeType::File)
        .await?;
    let mut in_file = false;
    while let Some(piece) = walk.next().await? {
        let (step, before) = match piece {
            Piece::Entry(entry) => {
                let before = in_file.then_some(Step::FinishFile);
                in_file = entry.metadata.node_type == NodeType::File;
                (Step::Begin(*entry), before)
            }
            Piece::Content(data) => (Step::Content(data), None),
        };
        for step in before.into_iter().chain([step]) {
            if steps.send(step).await.is_err() {
                return Ok(false);
            }
        }
    }
    Ok(!in_file || steps.send(Step::FinishFile).await.is_ok())
}

fn ancestors(path: &EntryPath) -> Vec<EntryPath> {
    let bytes = path.as_bytes();
    let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes.filter_map(|at| EntryPath::new(&bytes[..at]).ok()).collect()
}

/// Restores a snapshot of `pipeline` through its plugin into `target`.
///
/// # Errors
/// See [`RestoreError`].
pub async fn restore_to_target(
    operation: &Operation,
    pipeline: &Pipeline,
    options: &RestoreOptions,
    target: &Target,
) -> Result<RestoreReport, RestoreError> {
    let limit = setup::limits(&target.limits, setup::source_defaults()).wall_clock;
    operation
        .until_interrupted(Some(limit), to_target(operation, pipeline, options, target))
        .await?
}

#[tracing::instrument(name = "restore", skip_all, fields(pipeline = pipeline.name, plugin = pipeline.plugin, target = target.name))]
async fn to_target(
    operation: &Operation,
    pipeline: &Pipeline,
    options: &RestoreOptions,
    target: &Target,
) -> Result<RestoreReport, RestoreError> {
    let clock = tokio::time::Instant::now();
    operation.progress.phase("opening", None);
    let (source, _) = operation.host.target(&operation.config, pipeline, target).await?;
    let opened = open_snapshot(operation, pipeline, &options.snapshot).await?;
    let snapshot = Arc::new(VaultSnapshot::open(opened.reader().clone()).await.map_err(SnapshotError::from)?);
    for path in &options.paths {
        opened.reader().stat(path).await.map_err(SnapshotError::from)?;
    }
    operation.progress.phase("restoring", None);
    let request = RestoreRequest {
        paths: options.paths.clone(),
        options: target.config.clone().into(),
    };
    let outcome = source
        .restore(&operation.context(), snapshot, request)
        .await
        .map_err(|error| RestoreError::Plugin {
            site: target_site(pipeline, target),
            source: Box::new(error),
        })?;
    let mut findings = outcome.findings;
    if outcome.entries == 0 {
        findings.push(nothing_restored());
    }
    Ok(RestoreReport {
        pipeline: pipeline.name.clone(),
        snapshot: opened.id(),
        target: target.name.clone(),
        entries: outcome.entries,
        bytes: outcome.bytes,
        seconds: clock.elapsed().as_secs_f64(),
        facts: outcome.facts,
        findings,
    })
}

fn nothing_restored() -> Finding {
    Finding {
        severity: Severity::Warning,
        code: "nothing-restored".to_owned(),
        message: "the plugin restored nothing".to_owned(),
        hint: Some("look at what the target's `config` leaves out, and at `bulkhead ls`".to_owned()),
        setting: None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn paths(texts: &[&str]) -> Vec<EntryPath> {
        texts.iter().map(|text| EntryPath::new(*text).unwrap()).collect()
    }

    #[test]
    fn a_path_below_another_is_restored_once() {
        assert_eq!(outermost(&paths(&["a/b", "a", "ab", "c/d", "a"])), paths(&["a", "ab", "c/d"]));
        assert_eq!(outermost(&[]), paths(&[""]));
    }

    #[test]
    fn ancestors_come_from_the_outside_in() {
        assert_eq!(ancestors(&EntryPath::new("a/b/c").unwrap()), paths(&["a", "a/b"]));
        assert_eq!(ancestors(&EntryPath::default()), paths(&[]));
    }
}
