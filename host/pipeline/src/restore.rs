//! `bulkhead restore`: a snapshot back into a folder, or through its plugin into a target.
//!
//! Into a folder the host writes itself ([`restore_to_folder`]), whatever plugin took the snapshot. A target has grants of its own, and the plugin does what
//! its kind of data needs.

mod decide;
mod into_folder;
mod into_target;
mod patterns;

use std::path::PathBuf;

use bulkhead_config::Period;
use bulkhead_model::{EntryPath, Fact, Finding, Severity};
use bulkhead_runtime::PluginError;
use serde::Serialize;

use crate::{
    browse::SnapshotError,
    failure::{Explain, Failure, FailureClass, Site},
    folder::{self, Changes, FolderError, Owners, SurplusItem},
    host::BuildError,
    operation::{Interrupted, Operation},
    recovery::{RecoveryError, RecoveryOptions, RecoveryRange},
    run::explain_interrupted,
};

pub use into_folder::{Attendant, Confirm, Tell, restore_to_folder};
pub use into_target::restore_to_target;
pub use patterns::{PatternError, Patterns};

pub(crate) use patterns::{Selected, Selection};

/// What a restore did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RestoreReport {
    /// The pipeline that took the snapshot; `None` where another tool made it.
    pub pipeline: Option<String>,
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
    /// Whether nothing was written, and everything else is what would have been.
    pub dry_run: bool,
    /// What was done in the folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    /// What was removed from the folder, because the snapshot does not have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub surplus: Vec<SurplusItem>,
    /// What can be reached from the snapshot with its log, where a moment was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryRange>,
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
    /// To which moment what is restored is brought by its log; into a target only.
    pub recovery: Option<RecoveryOptions>,
    /// Whether, and how, what a target has is brought up to the snapshot; into a folder [`ExistingFiles`] says it.
    pub delta: Option<TargetDelta>,
}

/// How what a target has is brought up to a snapshot: what differs is written, and what the snapshot does not have is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetDelta {
    /// Whether to say what would be done, and do nothing.
    pub dry_run: bool,
}

/// Where a restore into a folder goes, and how.
#[derive(Debug, Clone)]
pub struct FolderOptions {
    /// The folder.
    pub folder: PathBuf,
    /// What of the paths is restored.
    pub patterns: Patterns,
    /// What is done with what is there already.
    pub existing: ExistingFiles,
    /// Whether to say what would be done, and do nothing.
    pub dry_run: bool,
    /// Whose the entries are.
    pub owners: Owners,
    /// Whether device nodes are made: they give whoever may open them the device.
    pub devices: bool,
}

/// What a restore does with a folder that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingFiles {
    /// It refuses.
    Refuse,
    /// It writes what differs.
    Delta {
        /// Whether files of the same size and time are compared, too.
        checksum: bool,
        /// Whether what the snapshot does not have is removed.
        delete: bool,
    },
}

/// That a restore has to wait for what it reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retrieval {
    /// The sink that is read first.
    pub sink: String,
    /// How long its store takes to bring back an object, as its table says.
    pub time: Period,
}

/// Whether the sink that a restore from `vault` reads first is one whose objects must be brought back before they can be read.
#[must_use]
pub fn retrieval(operation: &Operation, vault: &str) -> Option<Retrieval> {
    let vault = operation.config.vault(vault)?;
    let sink = operation.config.sink(operation.read_from.as_ref().or(vault.sinks.first())?)?;
    Some(Retrieval {
        sink: sink.name.clone(),
        time: sink.retrieval?,
    })
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
    /// The moment that was asked for can't be reached.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
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
    /// The plugin, or its mode, only writes where there is nothing.
    #[error("the plugin `{plugin}` cannot write over what a target has")]
    NoDelta {
        /// The plugin.
        plugin: String,
        /// The target's table.
        site: Site,
    },
    /// Cut short.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// Patterns that take nothing.
    #[error("nothing in the snapshot {snapshot} matches `{}`", patterns.join("`, `"))]
    NothingMatches {
        /// The snapshot.
        snapshot: String,
        /// The patterns.
        patterns: Vec<String>,
    },
    /// Whoever was asked did not want anything to be removed.
    #[error("nothing was restored: what the snapshot does not have was not to be removed")]
    Declined,
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
            Self::Recovery(error) => error.explain(),
            Self::Folder(error) => explain_folder(error),
            Self::Plugin { site, source } => Failure::of_plugin(source).at(site),
            Self::NoDelta { site, .. } => Failure::new(FailureClass::Config, self)
                .at(site)
                .hint("`--delta` into a target is for base backups of PostgreSQL (mode `physical`), `--delta` with `--into` for folders"),
            Self::Interrupted(error) => explain_interrupted(*error, None),
            Self::NothingMatches { .. } => Failure::new(FailureClass::NotFound, self)
                .hint("patterns match whole paths, as `bulkhead ls` prints them: `*` stays within a folder, `**` crosses folders"),
            Self::Declined => Failure::new(FailureClass::Cancelled, self),
            Self::Writer => Failure::new(FailureClass::Internal, self),
        }
    }
}

fn explain_folder(error: &FolderError) -> Failure {
    use std::io::ErrorKind;
    let failure = |class| Failure::new(class, error);
    match error.source.kind() {
        ErrorKind::DirectoryNotEmpty if error.action == folder::INTO => failure(FailureClass::Conflict)
            .hint("give a folder that is empty or does not exist yet, or have what differs in it updated with `--delta`"),
        ErrorKind::DirectoryNotEmpty => failure(FailureClass::Conflict)
            .hint("the snapshot has no folder there: move it away, or restore with `--delete`, which plans to remove it"),
        ErrorKind::ResourceBusy => {
            failure(FailureClass::Conflict).hint("something else changes the folder: stop it, and restore again with `--delta`")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            failure(FailureClass::StorageFull).hint("make room, and restore again with `--delta`, which goes on where this ended")
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            failure(FailureClass::Credentials).hint("give a folder that this user may write to")
        }
        _ => failure(FailureClass::Internal),
    }
}
