//! `bulkhead stats`: what a vault holds, what each pipeline has of it, and what each snapshot added.

use bulkhead_vault::{self as vault, Census, SnapshotInfo};
use serde::Serialize;

use crate::{
    access::AccessError,
    browse::{self, SnapshotError, UnreadableSnapshot},
    clock,
    diff::StoredAmount,
    failure::Explain as _,
    find::Appearance,
    operation::Operation,
};

/// Errors that are told; a vault that lost its packs would have one for each folder.
const MAX_ERRORS: usize = 100;

/// Objects on a sink.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct StoredObjects {
    /// How many.
    pub count: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// What a snapshot is, and what it added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotGrowth {
    /// Its id, in full.
    pub snapshot: String,
    /// When it was taken, RFC 3339.
    pub time: String,
    /// The pipeline; `None` where another tool made it.
    pub pipeline: Option<String>,
    /// Entries in it, Bulkhead's own included.
    pub entries: u64,
    /// Bytes of content in it: what a restore writes.
    pub bytes: u64,
    /// What no earlier snapshot of the vault has.
    pub added: StoredAmount,
}

/// What a pipeline has in a vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PipelineStats {
    /// The pipeline; `None` for all that other tools made.
    pub pipeline: Option<String>,
    /// Its snapshots.
    pub snapshots: u64,
    /// The oldest one.
    pub first: Appearance,
    /// The newest one.
    pub last: Appearance,
    /// Entries in the newest one.
    pub entries: u64,
    /// Bytes of content in the newest one.
    pub bytes: u64,
    /// What no snapshot of another pipeline has: what would be freed without it.
    pub exclusive: StoredAmount,
}

/// What a vault holds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VaultStats {
    /// The vault.
    pub vault: String,
    /// The sink that was read.
    pub sink: String,
    /// Snapshots counted.
    pub snapshots: u64,
    /// Packs.
    pub packs: StoredObjects,
    /// Index files.
    pub index: StoredObjects,
    /// Snapshot files.
    pub snapshot_files: StoredObjects,
    /// Distinct content that snapshots have.
    pub data: StoredAmount,
    /// Distinct folders that snapshots have.
    pub folders: StoredAmount,
    /// Bytes in packs that no snapshot needs.
    pub unused_bytes: u64,
    /// Bytes that restoring every snapshot would write.
    pub restore_bytes: u64,
    /// How many times larger what is stored was before it was compressed; `None` where there is nothing.
    pub compression_ratio: Option<f64>,
    /// How many times over distinct content is restored by all snapshots together; `None` where there is nothing.
    pub deduplication_ratio: Option<f64>,
    /// Its pipelines, in the order of their first snapshots.
    pub pipelines: Vec<PipelineStats>,
    /// Its snapshots, oldest first.
    pub growth: Vec<SnapshotGrowth>,
    /// Snapshots that can't be read; nothing of them is counted.
    pub unreadable: Vec<UnreadableSnapshot>,
    /// Why folders can't be read, with their causes; they are not counted, nor what is below them.
    pub damage: Vec<String>,
    /// Further ones, left out because there are so many.
    pub further_damage: u64,
    /// References to blobs that no index names.
    pub missing_blobs: u64,
}

impl VaultStats {
    /// Whether everything could be counted.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.unreadable.is_empty() && self.damage.is_empty() && self.missing_blobs == 0
    }
}

/// Counts what is in the vault called `name`.
///
/// # Errors
/// See [`SnapshotError`]; damage is in the result.
pub async fn stats(operation: &Operation, name: &str) -> Result<VaultStats, SnapshotError> {
    operation.until_interrupted(None, count(operation, name)).await?
}

async fn count(operation: &Operation, name: &str) -> Result<VaultStats, SnapshotError> {
    let config = operation.vault_named(name).map_err(AccessError::from)?;
    let (store, vault) = operation.open_to_read(config).await?;
    let (infos, unreadable) = browse::snapshot_files(&vault, &store).await?;
    let mut pipelines: Vec<Option<String>> = Vec::new();
    let mut snapshots = Vec::with_capacity(infos.len());
    for info in infos {
        let known = pipelines.iter().position(|pipeline| *pipeline == info.pipeline);
        let group = known.unwrap_or_else(|| {
            pipelines.push(info.pipeline.clone());
            pipelines.len() - 1
        });
        snapshots.push((info, u32::try_from(group).unwrap_or(u32::MAX)));
    }
    let groups = u32::try_from(pipelines.len()).unwrap_or(u32::MAX);
    let total = snapshots.len();
    let progress = |done| operation.progress.phase(&format!("counting, {done} of {total} snapshots"), None);
    let census = vault.census(&snapshots, groups, progress).await?;
    let unreadable = unreadable.into_iter().map(|(id, error)| UnreadableSnapshot::new(id, name, error));
    let place = (name, store.name());
    Ok(summary(place, &census, &snapshots, &pipelines, unreadable.collect()))
}

fn summary(
    (vault, sink): (&str, &str),
    census: &Census,
    snapshots: &[(SnapshotInfo, u32)],
    pipelines: &[Option<String>],
    unreadable: Vec<UnreadableSnapshot>,
) -> VaultStats {
    let stored = census.data.stored + census.trees.stored;
    let restore_bytes = census.snapshots.iter().map(|snapshot| snapshot.bytes).fold(0, u64::saturating_add);
    let damage = census.unreadable.iter().take(MAX_ERRORS);
    VaultStats {
        vault: vault.to_owned(),
        sink: sink.to_owned(),
        snapshots: snapshots.len() as u64,
        packs: census.packs.into(),
        index: census.index.into(),
        snapshot_files: census.snapshot_files.into(),
        data: census.data.into(),
        folders: census.trees.into(),
        unused_bytes: census.unused,
        restore_bytes,
        compression_ratio: ratio(census.data.content + census.trees.content, stored),
        deduplication_ratio: ratio(restore_bytes, census.data.content),
        pipelines: (0..)
            .zip(pipelines)
            .filter_map(|(group, name)| pipeline(group, name, census, snapshots))
            .collect(),
        growth: snapshots.iter().zip(&census.snapshots).map(growth).collect(),
        unreadable,
        damage: damage
            .map(|error| SnapshotError::from(error.clone()).explain().to_string())
            .collect(),
        further_damage: census.unreadable.len().saturating_sub(MAX_ERRORS) as u64,
        missing_blobs: census.missing,
    }
}

fn pipeline(group: u32, name: &Option<String>, census: &Census, snapshots: &[(SnapshotInfo, u32)]) -> Option<PipelineStats> {
    let of_it = || snapshots.iter().zip(&census.snapshots).filter(move |((_, of), _)| *of == group);
    let ((first, _), _) = of_it().next()?;
    let ((last, _), newest) = of_it().next_back()?;
    Some(PipelineStats {
        pipeline: name.clone(),
        snapshots: of_it().count() as u64,
        first: Appearance::of(first),
        last: Appearance::of(last),
        entries: newest.entries,
        bytes: newest.bytes,
        exclusive: census.exclusive.get(group as usize).copied().unwrap_or_default().into(),
    })
}

fn growth(((info, _), cost): (&(SnapshotInfo, u32), &vault::SnapshotCost)) -> SnapshotGrowth {
    SnapshotGrowth {
        snapshot: info.id.to_string(),
        time: clock::rfc3339(info.time),
        pipeline: info.pipeline.clone(),
        entries: cost.entries,
        bytes: cost.bytes,
        added: cost.added.into(),
    }
}

impl From<vault::Objects> for StoredObjects {
    fn from(objects: vault::Objects) -> Self {
        Self {
            count: objects.count,
            bytes: objects.bytes,
        }
    }
}

/// To two decimals.
#[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
fn ratio(whole: u64, part: u64) -> Option<f64> {
    (part > 0).then(|| (whole as f64 / part as f64 * 100.0).round() / 100.0)
}
