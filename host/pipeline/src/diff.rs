//! `bulkhead diff`: what differs between two snapshots of a vault.

use bulkhead_config::Pipeline;
use bulkhead_vault::{self as vault, Change, SnapshotInfo, Vault};
use serde::Serialize;

use crate::{
    browse::{self, ListedEntry, SnapshotError, listed},
    failure::Explain as _,
    find::{Appearance, UnreadableFolder},
    operation::Operation,
};

/// Which snapshots to compare, and how.
#[derive(Debug, Clone)]
pub struct DiffRequest {
    /// The one before: `latest`, `latest~1` of the pipeline, or the beginning of the id of any in its vault.
    pub before: String,
    /// The one after, in the same way.
    pub after: String,
    /// Tell also of entries that differ in metadata only.
    pub metadata: bool,
}

/// In what an entry differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceKind {
    /// Only the snapshot after has it.
    Added,
    /// Only the snapshot before has it.
    Removed,
    /// Other content: bytes, target of a link, number of a device.
    Modified,
    /// Of another type.
    Retyped,
    /// Other mode, owner, times, links or extended attributes; the same content.
    Metadata,
}

/// An entry that is not the same in both snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryDifference {
    /// In what.
    pub change: DifferenceKind,
    /// Its path.
    pub path: String,
    /// As it was, where it was there.
    pub before: Option<ListedEntry>,
    /// As it is, where it is there.
    pub after: Option<ListedEntry>,
}

/// What a comparison comes upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compared {
    /// An entry.
    Entry(Box<EntryDifference>),
    /// A folder that is damaged in one of them: what is in it was not compared.
    Unreadable(UnreadableFolder),
}

/// Entries that only one snapshot has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct EntryTotals {
    /// Files.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Everything else.
    pub others: u64,
    /// Bytes of the files' content.
    pub bytes: u64,
}

/// How much differs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DiffTotals {
    /// Only in the snapshot after.
    pub added: EntryTotals,
    /// Only in the one before.
    pub removed: EntryTotals,
    /// Entries with other content.
    pub modified: u64,
    /// Entries of another type.
    pub retyped: u64,
    /// Entries that differ in metadata only, whether or not they are told.
    pub metadata: u64,
}

/// Stored blobs: content of files, and folders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoredAmount {
    /// How many.
    pub blobs: u64,
    /// Bytes that they take in the vault.
    pub stored_bytes: u64,
    /// Bytes that they are.
    pub bytes: u64,
}

/// What both snapshots consist of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DiffData {
    /// Only in the snapshot after.
    pub added: StoredAmount,
    /// Only in the one before.
    pub removed: StoredAmount,
    /// In both.
    pub shared: StoredAmount,
    /// Folders that can't be read, and were not counted.
    pub unreadable_folders: u64,
    /// Blobs that no index names.
    pub missing_blobs: u64,
}

impl From<vault::Amount> for StoredAmount {
    fn from(amount: vault::Amount) -> Self {
        Self {
            blobs: amount.blobs,
            stored_bytes: amount.stored,
            bytes: amount.content,
        }
    }
}

/// A comparison in progress.
pub struct Diff {
    operation: Operation,
    name: String,
    vault: Vault,
    before: SnapshotInfo,
    after: SnapshotInfo,
    metadata: bool,
    comparison: vault::Comparison,
    totals: DiffTotals,
}

/// Begins to compare two snapshots in the vault of `pipeline`.
///
/// # Errors
/// See [`SnapshotError`].
pub async fn diff(operation: &Operation, pipeline: &Pipeline, request: &DiffRequest) -> Result<Diff, SnapshotError> {
    operation.until_interrupted(None, begin(operation, pipeline, request)).await?
}

async fn begin(operation: &Operation, pipeline: &Pipeline, request: &DiffRequest) -> Result<Diff, SnapshotError> {
    let vault = operation.open_named(&pipeline.vault).await?;
    // What has an id may be of another pipeline.
    let of = |selector: &str| selector.starts_with("latest").then_some(pipeline.name.as_str());
    let before = browse::resolve(&vault, &request.before, of(&request.before)).await?;
    let after = browse::resolve(&vault, &request.after, of(&request.after)).await?;
    operation.progress.phase("comparing", None);
    let comparison = vault.compare(&before, &after).await?;
    Ok(Diff {
        operation: operation.clone(),
        name: pipeline.vault.clone(),
        vault,
        before,
        after,
        metadata: request.metadata,
        comparison,
        totals: DiffTotals::default(),
    })
}

impl Diff {
    /// The snapshot before.
    #[must_use]
    pub fn before(&self) -> Appearance {
        Appearance::of(&self.before)
    }

    /// The snapshot after.
    #[must_use]
    pub fn after(&self) -> Appearance {
        Appearance::of(&self.after)
    }

    /// How much differs, as far as it was compared.
    #[must_use]
    pub fn totals(&self) -> DiffTotals {
        self.totals
    }

    /// The next difference, in the order of paths; `None` at the end.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub async fn next(&mut self) -> Result<Option<Compared>, SnapshotError> {
        loop {
            let Some(difference) = self.operation.until_interrupted(None, self.comparison.next()).await?? else {
                return Ok(None);
            };
            let compared = self.told(difference);
            let is_asked_for = |difference: &EntryDifference| self.metadata || difference.change != DifferenceKind::Metadata;
            match compared {
                Compared::Entry(difference) if !is_asked_for(&difference) => {}
                told => return Ok(Some(told)),
            }
        }
    }

    /// How much of what both consist of is only in one of them. Reads every folder of both.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub async fn data(&self) -> Result<DiffData, SnapshotError> {
        self.operation.progress.phase("counting stored data", None);
        let counted = self.vault.shared_data(&self.before, &self.after);
        let data = self.operation.until_interrupted(None, counted).await??;
        Ok(DiffData {
            added: data.added.into(),
            removed: data.removed.into(),
            shared: data.shared.into(),
            unreadable_folders: data.unreadable,
            missing_blobs: data.missing,
        })
    }

    fn told(&mut self, difference: vault::Difference) -> Compared {
        use vault::Difference::{Added, Changed, Removed, Unreadable};
        let (change, before, after) = match difference {
            Added(entry) => (DifferenceKind::Added, None, Some(listed(*entry))),
            Removed(entry) => (DifferenceKind::Removed, Some(listed(*entry)), None),
            Changed(change, pair) => (kind(change), Some(listed(pair.0)), Some(listed(pair.1))),
            Unreadable { path, error, snapshot } => {
                return Compared::Unreadable(UnreadableFolder {
                    path: path.to_string(),
                    vault: self.name.clone(),
                    snapshots: vec![snapshot.to_string()],
                    error: SnapshotError::from(error).explain().to_string(),
                });
            }
        };
        let path = after.as_ref().or(before.as_ref()).map(|entry| entry.path.clone());
        let difference = EntryDifference {
            change,
            path: path.unwrap_or_default(),
            before,
            after,
        };
        self.totals.count(&difference);
        Compared::Entry(Box::new(difference))
    }
}

fn kind(change: Change) -> DifferenceKind {
    match change {
        Change::Type => DifferenceKind::Retyped,
        Change::Content => DifferenceKind::Modified,
        Change::Metadata => DifferenceKind::Metadata,
    }
}

impl DiffTotals {
    fn count(&mut self, difference: &EntryDifference) {
        match difference.change {
            DifferenceKind::Added => difference.after.iter().for_each(|entry| self.added.count(entry)),
            DifferenceKind::Removed => difference.before.iter().for_each(|entry| self.removed.count(entry)),
            DifferenceKind::Modified => self.modified += 1,
            DifferenceKind::Retyped => self.retyped += 1,
            DifferenceKind::Metadata => self.metadata += 1,
        }
    }

    /// Whether anything differs; in metadata only, where that matters.
    #[must_use]
    pub fn differs(&self, metadata: bool) -> bool {
        let ignored = if metadata { 0 } else { self.metadata };
        *self
            != Self {
                metadata: ignored,
                ..Self::default()
            }
    }
}

impl EntryTotals {
    fn count(&mut self, entry: &ListedEntry) {
        match entry.r#type {
            "file" => self.files += 1,
            "directory" => self.folders += 1,
            _ => self.others += 1,
        }
        self.bytes += entry.size;
    }
}
