//! `bulkhead snapshots`, `ls` and `dump`: looking at what is stored.

use bulkhead_config::{self as config, Pipeline};
use bulkhead_model::{EntryPath, Finding, NodeType, Proof, Severity};
use bulkhead_vault::{
    self as vault, EntryReader, Hint as _, ObjectId, ObjectStore as _, ReadError, ResolveError, SnapshotEntry, SnapshotInfo, StoreError,
    Vault,
};
use serde::Serialize;

use crate::{
    access::AccessError,
    clock,
    failure::{Explain, Failure, FailureClass},
    host::BuildError,
    operation::{Interrupted, Operation},
    run::class_of_read,
    store::SinkStore,
    verified::{Known, VerifiedMark},
};

/// A snapshot in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ListedSnapshot {
    /// Its id, in full.
    pub id: String,
    /// When it was taken, RFC 3339.
    pub time: String,
    /// The same in seconds since 1970.
    #[serde(skip)]
    pub seconds: i64,
    /// The pipeline; `None` where another tool made it.
    pub pipeline: Option<String>,
    /// The vault that it is in.
    pub vault: String,
    /// The host that it was taken on.
    pub host: String,
    /// The snapshot that it continues.
    pub parent: Option<String>,
    /// What the source said that it sent; `None` where another tool made it, or it can't be read.
    pub proof: Option<Proof>,
    /// Why the proof can't be read, with its causes: the snapshot is damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How it was verified, at most once for each depth: the last time that it was found whole. Nothing where anything is wrong with it since.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verified: Vec<VerifiedMark>,
}

/// A snapshot of which only the id is known: its file is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnreadableSnapshot {
    /// Its id, in full.
    pub id: String,
    /// The vault that it is in.
    pub vault: String,
    /// Why it can't be read, with its causes.
    pub error: String,
}

impl UnreadableSnapshot {
    pub(crate) fn new(id: ObjectId, vault: &str, error: ReadError) -> Self {
        Self {
            id: id.to_string(),
            vault: vault.to_owned(),
            error: SnapshotError::from(error).explain().to_string(),
        }
    }
}

/// The snapshots in a vault. One that is damaged doesn't keep the others from being found.
#[derive(Debug, Clone, Default)]
pub struct SnapshotList {
    /// Those whose file can be read, oldest first.
    pub snapshots: Vec<ListedSnapshot>,
    /// The others, whichever pipeline's they are: that can't be told.
    pub unreadable: Vec<UnreadableSnapshot>,
    /// How many others can be read that are not of the pipelines which were asked for.
    pub others: usize,
}

/// An entry in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ListedEntry {
    /// Its path; bytes that are no UTF-8 are replaced.
    pub path: String,
    /// `file`, `directory`, `symlink`, `fifo`, `socket`, `character-device`, `block-device`.
    pub r#type: &'static str,
    /// Bytes of content.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, RFC 3339.
    pub modified: Option<String>,
    /// Where a symbolic link points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// Why snapshots could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The vault can't be opened.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The configuration has no such vault.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// No such snapshot.
    #[error(transparent)]
    Resolve(Box<ResolveError>),
    /// Stored content can't be read.
    #[error(transparent)]
    Read(Box<ReadError>),
    /// Cut short.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Explain for SnapshotError {
    fn explain(&self) -> Failure {
        match self {
            Self::Access(error) => error.explain(),
            Self::Build(error) => error.explain(),
            Self::Resolve(error) => {
                let class = match error.as_ref() {
                    ResolveError::Read(error) => class_of_read(error),
                    ResolveError::Ambiguous { .. } | ResolveError::Malformed(_) | ResolveError::NotAnId(_) => FailureClass::Config,
                    _ => FailureClass::NotFound,
                };
                Failure::of_vault(class, error.as_ref(), error.hint())
            }
            Self::Read(error) => Failure::of_vault(class_of_read(error), error.as_ref(), error.hint()),
            Self::Interrupted(error) => crate::run::explain_interrupted(*error, None),
        }
    }
}

impl From<ReadError> for SnapshotError {
    fn from(error: ReadError) -> Self {
        Self::Read(Box::new(error))
    }
}

/// The snapshot that `selector` names.
pub(crate) async fn resolve(vault: &Vault, selector: &str, pipeline: Option<&str>) -> Result<SnapshotInfo, SnapshotError> {
    vault
        .resolve(selector, pipeline)
        .await
        .map_err(|error| SnapshotError::Resolve(Box::new(error)))
}

/// Snapshots in the vault called `name`, oldest first; only those of `pipelines` where that isn't empty.
///
/// # Errors
/// See [`SnapshotError`]; that a single snapshot can't be read is in the list.
pub async fn snapshots(operation: &Operation, name: &str, pipelines: &[String]) -> Result<SnapshotList, SnapshotError> {
    operation
        .until_interrupted(None, list_snapshots(operation, name, pipelines))
        .await?
}

async fn list_snapshots(operation: &Operation, name: &str, pipelines: &[String]) -> Result<SnapshotList, SnapshotError> {
    let config = operation.vault_named(name).map_err(AccessError::from)?;
    let (store, vault) = operation.open_to_read(config).await?;
    snapshots_in(&vault, &store, config, pipelines).await
}

/// The same of a vault that is open.
pub(crate) async fn snapshots_in(
    vault: &Vault,
    store: &SinkStore,
    config: &config::Vault,
    pipelines: &[String],
) -> Result<SnapshotList, SnapshotError> {
    let (mut infos, unreadable) = snapshots_and_records(vault, store).await?;
    let known = Known::take(&mut infos, vault, config);
    let name = &config.name;
    let mut list = SnapshotList {
        unreadable: unreadable
            .into_iter()
            .map(|(id, error)| UnreadableSnapshot::new(id, name, error))
            .collect(),
        ..SnapshotList::default()
    };
    let (infos, others): (Vec<SnapshotInfo>, Vec<_>) = infos.into_iter().partition(|info| is_of(info, pipelines));
    list.others = others.len();
    for reader in vault.read_listed(infos).await? {
        let info = reader.info().clone();
        let (proof, error) = match proof_of(vault, &reader).await {
            Ok(proof) => (proof, None),
            Err(ReadError::NoSuchSnapshot(_)) => continue,
            Err(error) if concerns_one_snapshot(&error) => (None, Some(SnapshotError::from(error).explain().to_string())),
            Err(error) => return Err(error.into()),
        };
        list.snapshots.push(ListedSnapshot {
            id: info.id.to_string(),
            time: clock::rfc3339(info.time),
            seconds: info.time.seconds,
            vault: name.clone(),
            verified: known.marks(&info),
            pipeline: info.pipeline,
            parent: info.parent.map(|parent| parent.to_string()),
            host: info.host,
            proof,
            error,
        });
    }
    Ok(list)
}

/// Whether a snapshot is of one of `pipelines`; where none is named, of any and of other tools.
pub(crate) fn is_of(info: &SnapshotInfo, pipelines: &[String]) -> bool {
    pipelines.is_empty() || info.pipeline.as_ref().is_some_and(|pipeline| pipelines.contains(pipeline))
}

async fn proof_of(vault: &Vault, reader: &vault::SnapshotReader) -> Result<Option<Proof>, ReadError> {
    let proof = |record: Option<vault::SnapshotRecord>| record.map(|record| record.proof);
    match reader.record().await {
        // It may have been forgotten, and what it had pruned, since it was listed: asking for it once more tells.
        Err(error) if concerns_one_snapshot(&error) => Ok(vault.read(reader.info().id).await?.record().await.map(proof)?),
        record => record.map(proof),
    }
}

/// What the snapshot files say, oldest first, and why some can't be read.
pub(crate) async fn snapshot_files(
    vault: &Vault,
    store: &SinkStore,
) -> Result<(Vec<SnapshotInfo>, Vec<(ObjectId, ReadError)>), SnapshotError> {
    let (mut snapshots, unreadable) = snapshots_and_records(vault, store).await?;
    snapshots.retain(|snapshot| !snapshot.is_record());
    Ok((snapshots, unreadable))
}

/// The same, and the records of verifications.
pub(crate) async fn snapshots_and_records(
    vault: &Vault,
    store: &SinkStore,
) -> Result<(Vec<SnapshotInfo>, Vec<(ObjectId, ReadError)>), SnapshotError> {
    match vault.snapshots_and_records().await {
        Ok(infos) => return Ok((infos, Vec::new())),
        Err(error) if !concerns_one_snapshot(&error) => return Err(error.into()),
        // One by one tells which it is.
        Err(_) => {}
    }
    let (mut infos, mut unreadable) = (Vec::new(), Vec::new());
    for id in snapshot_ids(store).await? {
        match vault.read(id).await {
            Ok(reader) => infos.push(reader.info().clone()),
            Err(ReadError::NoSuchSnapshot(_)) => {}
            Err(error) if concerns_one_snapshot(&error) => unreadable.push((id, error)),
            Err(error) => return Err(error.into()),
        }
    }
    infos.sort_by_key(SnapshotInfo::order);
    Ok((infos, unreadable))
}

/// The snapshots that there are, readable or not.
pub(crate) async fn snapshot_ids(store: &SinkStore) -> Result<Vec<ObjectId>, ReadError> {
    const PREFIX: &str = "snapshots/";
    let objects = store.list(PREFIX).await.map_err(|fault| StoreError {
        operation: "listing",
        key: PREFIX.to_owned(),
        location: store.location(),
        fault: Box::new(fault),
    })?;
    let ids = objects.iter().filter_map(|object| object.key.strip_prefix(PREFIX)?.parse().ok());
    Ok(ids.collect())
}

/// Whether the next snapshot may be readable in spite of `error`: not where the sink is gone, or its plugin can't go on.
fn concerns_one_snapshot(error: &ReadError) -> bool {
    let failure = Failure::of_vault(class_of_read(error), error, None);
    matches!(
        failure.class,
        FailureClass::Damaged | FailureClass::NotFound | FailureClass::Plugin | FailureClass::Credentials
    )
}

/// A snapshot that is open for looking into it.
pub struct OpenSnapshot {
    reader: vault::SnapshotReader,
    operation: Operation,
}

/// Where a snapshot is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The vault.
    pub vault: &'a str,
    /// Whose snapshots; of any in the vault, whatever wrote it, where there is none.
    pub pipeline: Option<&'a str>,
}

impl<'a> From<&'a Pipeline> for Place<'a> {
    fn from(pipeline: &'a Pipeline) -> Self {
        Self {
            vault: &pipeline.vault,
            pipeline: Some(&pipeline.name),
        }
    }
}

/// Opens the snapshot in `place` that `selector` names: `latest`, or the beginning of its id.
///
/// # Errors
/// See [`SnapshotError`].
pub async fn open_snapshot<'a>(operation: &Operation, place: impl Into<Place<'a>>, selector: &str) -> Result<OpenSnapshot, SnapshotError> {
    let place = place.into();
    let open = async {
        let vault = operation.open_named(place.vault).await?;
        snapshot_in(operation, &vault, place.pipeline, selector).await
    };
    operation.until_interrupted(None, open).await?
}

/// The same in a vault that is open.
pub(crate) async fn snapshot_in(
    operation: &Operation,
    vault: &Vault,
    pipeline: Option<&str>,
    selector: &str,
) -> Result<OpenSnapshot, SnapshotError> {
    let info = resolve(vault, selector, pipeline).await?;
    Ok(OpenSnapshot {
        reader: vault.read_found(info).await?,
        operation: operation.clone(),
    })
}

impl OpenSnapshot {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> String {
        self.reader.info().id.to_string()
    }

    /// The pipeline that took it; `None` where another tool made it.
    #[must_use]
    pub fn pipeline(&self) -> Option<&str> {
        self.reader.info().pipeline.as_deref()
    }

    /// What there is to say of restoring it.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let finding = Finding {
            severity: Severity::Warning,
            code: "repaired-snapshot".to_owned(),
            message: format!("the snapshot {} is what remained of one that was damaged", self.id()),
            hint: Some(
                "what ends in `.repaired` has lost a part, and folders may be missing: compare with another snapshot (`bulkhead diff`)"
                    .to_owned(),
            ),
            setting: None,
        };
        self.reader.info().is_repaired().then_some(finding).into_iter().collect()
    }

    pub(crate) fn reader(&self) -> &vault::SnapshotReader {
        &self.reader
    }

    /// Begins to list the entries at and below `path`.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub async fn list(&self, path: &EntryPath) -> Result<Listing, SnapshotError> {
        Ok(Listing {
            walk: self.operation.until_interrupted(None, self.reader.walk(path)).await??,
            operation: self.operation.clone(),
        })
    }

    /// Opens the content of the entry at `path`.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub async fn content(&self, path: &EntryPath) -> Result<Content, SnapshotError> {
        let reader = self.operation.until_interrupted(None, self.reader.open(path)).await??;
        Ok(Content {
            reader,
            operation: self.operation.clone(),
        })
    }
}

/// A listing in progress.
pub struct Listing {
    walk: vault::Walk,
    operation: Operation,
}

impl Listing {
    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub async fn next(&mut self) -> Result<Option<ListedEntry>, SnapshotError> {
        let next = self.operation.until_interrupted(None, self.walk.next()).await??;
        Ok(next.map(listed))
    }
}

/// The content of an entry.
pub struct Content {
    reader: EntryReader,
    operation: Operation,
}

impl Content {
    /// Bytes in it.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.reader.size()
    }

    /// The next bytes, at most `max`; `None` at the end.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub async fn read(&mut self, max: usize) -> Result<Option<bytes::Bytes>, SnapshotError> {
        Ok(self.operation.until_interrupted(None, self.reader.read_next(max)).await??)
    }
}

/// An entry of a snapshot as it is told.
pub(crate) fn listed(entry: SnapshotEntry) -> ListedEntry {
    let metadata = entry.metadata;
    let target = match &metadata.node_type {
        NodeType::Symlink(target) => Some(String::from_utf8_lossy(target).into_owned()),
        _ => None,
    };
    ListedEntry {
        path: entry.path.to_string(),
        r#type: type_name(&metadata.node_type),
        size: entry.size,
        mode: metadata.mode,
        uid: metadata.uid,
        gid: metadata.gid,
        modified: metadata.modified.map(clock::rfc3339),
        target,
    }
}

/// The word for a type.
pub(crate) fn type_name(node_type: &NodeType) -> &'static str {
    match node_type {
        NodeType::File => "file",
        NodeType::Directory => "directory",
        NodeType::Symlink(_) => "symlink",
        NodeType::Fifo => "fifo",
        NodeType::Socket => "socket",
        NodeType::CharacterDevice(_) => "character-device",
        NodeType::BlockDevice(_) => "block-device",
    }
}
