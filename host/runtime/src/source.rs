//! Operations of a source plugin, each in an instance of its own.

use std::sync::Arc;

use bulkhead_model::{EntryPath, Fact, Finding, Proof};
use bytes::Bytes;

use crate::ports::{EntryStore, SnapshotStore};
use crate::{OperationContext, Plugin, PluginError, PluginSetup, UnusedGrant};

/// What a backup gets.
#[derive(Clone)]
pub struct BackupInput {
    /// Where its entries go.
    pub entries: Arc<dyn EntryStore>,
    /// The snapshot that it continues, whose checkpoint the plugin gets and whose entries it may keep or read.
    pub parent: Option<Arc<dyn SnapshotStore>>,
}

/// What a backup returned. Nothing is committed yet: the caller compares the proof with what it stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupOutcome {
    /// What the source says that it sent.
    pub proof: Proof,
    /// Opaque; comes back to the next run. At most 1 MiB.
    pub checkpoint: Option<Bytes>,
    /// What went right, but not without remark.
    pub findings: Vec<Finding>,
}

/// What to restore.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// Paths, with all below them; empty for everything.
    pub paths: Vec<EntryPath>,
    /// The `config` of the operator's restore target: a JSON object.
    pub options: serde_json::Value,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreOutcome {
    /// Entries restored.
    pub entries: u64,
    /// Bytes restored.
    pub bytes: u64,
    /// Statements of the plugin.
    pub facts: Vec<Fact>,
    /// Remarks.
    pub findings: Vec<Finding>,
}

/// What to list of an entry's inside.
#[derive(Debug, Clone)]
pub struct BrowseRequest {
    /// The entry.
    pub entry: EntryPath,
    /// Only names with this prefix.
    pub prefix: String,
    /// Only names after this one.
    pub after: Option<String>,
}

/// One thing inside an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// "/"-separated name inside the entry.
    pub name: String,
    /// Bytes, where known.
    pub size: Option<u64>,
    /// Further statements.
    pub facts: Vec<Fact>,
}

/// A source plugin with its grants and limits. Every operation runs in a fresh instance; several may run at once. Cheap to clone.
#[derive(Clone)]
pub struct Source(Arc<()>);

impl Source {
    /// Pairs a plugin with what it may use. No I/O.
    ///
    /// # Errors
    /// When the plugin is no source, or imports a capability that it neither asks for nor was granted.
    pub fn new(plugin: Plugin, setup: PluginSetup) -> Result<Self, PluginError> {
        todo!()
    }

    /// Grants that the plugin does not ask for and did not get.
    #[must_use]
    pub fn unused_grants(&self) -> &[UnusedGrant] {
        todo!()
    }

    /// Preflight: connects, authenticates, reads a little, changes nothing.
    ///
    /// # Errors
    /// When the check itself could not be made.
    pub async fn check(&self, context: &OperationContext) -> Result<Vec<Finding>, PluginError> {
        todo!()
    }

    /// Reads the source and writes entries.
    ///
    /// # Errors
    /// See [`PluginError`]; the caller must then commit nothing.
    pub async fn backup(&self, context: &OperationContext, input: BackupInput) -> Result<BackupOutcome, PluginError> {
        todo!()
    }

    /// Brings a snapshot back into the granted directories and endpoints.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn restore(
        &self,
        context: &OperationContext,
        snapshot: Arc<dyn SnapshotStore>,
        request: RestoreRequest,
    ) -> Result<RestoreOutcome, PluginError> {
        todo!()
    }

    /// Whether the stored content makes sense; a finding of severity `error` says that it does not.
    ///
    /// # Errors
    /// When the verification itself could not be made.
    pub async fn verify(&self, context: &OperationContext, snapshot: Arc<dyn SnapshotStore>) -> Result<Vec<Finding>, PluginError> {
        todo!()
    }

    /// Lists what is inside an entry: at most 10,000 items a call.
    ///
    /// # Errors
    /// See [`PluginError`].
    pub async fn browse(
        &self,
        context: &OperationContext,
        snapshot: Arc<dyn SnapshotStore>,
        request: BrowseRequest,
    ) -> Result<Vec<Item>, PluginError> {
        todo!()
    }
}
