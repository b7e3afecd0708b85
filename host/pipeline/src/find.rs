//! `bulkhead find`: which snapshots have an entry, and what stored blobs belong to.
//!
//! The vault walks all snapshots together ([`bulkhead_vault::Search`]); here its hits are told for each pipeline with the first and the last snapshot that
//! has them.

mod filter;

use std::collections::{HashSet, VecDeque};

use bulkhead_vault::{self as vault, Appearances, Blob, BlobKind, Found, Hint as _, Hit, ReadError, SearchError, SnapshotInfo, Vault};
use serde::Serialize;

pub use filter::{EntryFilter, FilterError};

use crate::{
    access::AccessError,
    browse::{self, ListedEntry, SnapshotError, UnreadableSnapshot, is_of, listed},
    clock,
    failure::{Explain, Failure, FailureClass},
    operation::{Interrupted, Operation},
    run::class_of_read,
};

/// What is looked for, and where.
#[derive(Debug, Clone)]
pub struct FindRequest {
    /// What.
    pub sought: Sought,
    /// Only in snapshots of these pipelines; in all, also other tools', where it is empty.
    pub pipelines: Vec<String>,
    /// Only in these snapshots (`latest`, `latest~1`, beginnings of ids); in all where it is empty.
    pub snapshots: Vec<String>,
}

/// What is looked for.
#[derive(Debug, Clone)]
pub enum Sought {
    /// Entries of these names, times and types.
    Entries(EntryFilter),
    /// Entries that consist of these.
    Blobs(Vec<BlobSelector>),
}

/// Stored blobs, by the beginnings of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobSelector {
    /// All that is in a pack.
    Pack(String),
    /// Content of files.
    Data(String),
    /// Folders.
    Tree(String),
}

/// A snapshot in which something is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Appearance {
    /// Its id, in full.
    pub id: String,
    /// When it was taken, RFC 3339.
    pub time: String,
}

/// A stored blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundBlob {
    /// `data` or `tree`.
    pub r#type: &'static str,
    /// Its id, in full.
    pub id: String,
}

/// An entry that was found: the same in kind, content, mode and owner in all snapshots that are named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FoundEntry {
    /// As the newest snapshot has it.
    #[serde(flatten)]
    pub entry: ListedEntry,
    /// The vault.
    pub vault: String,
    /// The pipeline; `None` where another tool made the snapshots.
    pub pipeline: Option<String>,
    /// The first snapshot that has it.
    pub first: Appearance,
    /// The last one.
    pub last: Appearance,
    /// All of them, oldest first.
    pub snapshots: Vec<String>,
    /// What of it was looked for, where blobs were.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<FoundBlob>,
}

/// A folder that could not be searched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnreadableFolder {
    /// Its path; the empty one is the snapshot's root.
    pub path: String,
    /// The vault.
    pub vault: String,
    /// The snapshots that have it.
    pub snapshots: Vec<String>,
    /// Why it can't be read, with its causes.
    pub error: String,
}

/// What a search comes upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// An entry.
    Entry(Box<FoundEntry>),
    /// A folder that is damaged.
    Unreadable(UnreadableFolder),
}

/// Why nothing could be searched.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The vault or a snapshot can't be opened.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// No such blob.
    #[error(transparent)]
    Search(Box<SearchError>),
}

impl Explain for FindError {
    fn explain(&self) -> Failure {
        match self {
            Self::Snapshot(error) => error.explain(),
            Self::Search(error) => {
                let class = match error.as_ref() {
                    SearchError::Read(error) => class_of_read(error),
                    SearchError::Malformed(_) => FailureClass::Config,
                    _ => FailureClass::NotFound,
                };
                Failure::of_vault(class, error.as_ref(), error.hint())
            }
        }
    }
}

impl From<ReadError> for FindError {
    fn from(error: ReadError) -> Self {
        Self::Snapshot(error.into())
    }
}

impl From<SearchError> for FindError {
    fn from(error: SearchError) -> Self {
        Self::Search(Box::new(error))
    }
}

impl From<AccessError> for FindError {
    fn from(error: AccessError) -> Self {
        Self::Snapshot(error.into())
    }
}

impl From<Interrupted> for FindError {
    fn from(interrupted: Interrupted) -> Self {
        Self::Snapshot(interrupted.into())
    }
}

/// A search in progress.
pub struct EntrySearch {
    operation: Operation,
    vault: String,
    snapshots: Vec<SnapshotInfo>,
    unreadable: Vec<UnreadableSnapshot>,
    search: vault::Search,
    /// Hits of further pipelines.
    waiting: VecDeque<FoundEntry>,
}

/// Begins to search the vault called `name`.
///
/// # Errors
/// See [`FindError`].
pub async fn find(operation: &Operation, name: &str, request: &FindRequest) -> Result<EntrySearch, FindError> {
    operation.until_interrupted(None, begin(operation, name, request)).await?
}

async fn begin(operation: &Operation, name: &str, request: &FindRequest) -> Result<EntrySearch, FindError> {
    let config = operation.vault_named(name).map_err(AccessError::from)?;
    let (store, vault) = operation.open_to_read(config).await?;
    let (snapshots, unreadable) = if request.snapshots.is_empty() {
        browse::snapshot_files(&vault, &store).await?
    } else {
        (chosen(&vault, request).await?, Vec::new())
    };
    let snapshots: Vec<SnapshotInfo> = snapshots.into_iter().filter(|info| is_of(info, &request.pipelines)).collect();
    operation.progress.phase(&format!("searching {} snapshots", snapshots.len()), None);
    let search = match &request.sought {
        Sought::Entries(filter) => {
            let filter = filter.clone();
            vault.search(&snapshots, move |entry| filter.takes(entry)).await?
        }
        Sought::Blobs(selectors) => vault.search_blobs(&snapshots, blobs(&vault, selectors).await?).await?,
    };
    Ok(EntrySearch {
        operation: operation.clone(),
        vault: name.to_owned(),
        snapshots,
        unreadable: unreadable
            .into_iter()
            .map(|(id, error)| UnreadableSnapshot::new(id, name, error))
            .collect(),
        search,
        waiting: VecDeque::new(),
    })
}

/// The snapshots that were named, oldest first, each once.
async fn chosen(vault: &Vault, request: &FindRequest) -> Result<Vec<SnapshotInfo>, FindError> {
    let pipeline = match &request.pipelines[..] {
        [one] => Some(one.as_str()),
        _ => None,
    };
    let mut chosen: Vec<SnapshotInfo> = Vec::new();
    for selector in &request.snapshots {
        chosen.push(browse::resolve(vault, selector, pipeline).await?);
    }
    chosen.sort_by_key(SnapshotInfo::order);
    chosen.dedup_by_key(|info| info.id);
    Ok(chosen)
}

async fn blobs(vault: &Vault, selectors: &[BlobSelector]) -> Result<HashSet<Blob>, SearchError> {
    let mut all = HashSet::new();
    for selector in selectors {
        all.extend(match selector {
            BlobSelector::Pack(prefix) => vault.blobs_of_pack(prefix).await?,
            BlobSelector::Data(prefix) => vault.blobs_named(BlobKind::Data, prefix).await?,
            BlobSelector::Tree(prefix) => vault.blobs_named(BlobKind::Tree, prefix).await?,
        });
    }
    Ok(all)
}

impl EntrySearch {
    /// Snapshots that are searched.
    #[must_use]
    pub fn snapshots(&self) -> usize {
        self.snapshots.len()
    }

    /// Snapshots of the vault that can't be searched, because their file is damaged.
    #[must_use]
    pub fn unreadable(&self) -> &[UnreadableSnapshot] {
        &self.unreadable
    }

    /// The next discovery, in the order of paths; `None` at the end.
    ///
    /// # Errors
    /// See [`FindError`].
    pub async fn next(&mut self) -> Result<Option<Discovery>, FindError> {
        loop {
            if let Some(entry) = self.waiting.pop_front() {
                self.operation.progress.add_entry();
                return Ok(Some(Discovery::Entry(Box::new(entry))));
            }
            match self.operation.until_interrupted(None, self.search.next()).await?? {
                None => return Ok(None),
                Some(Found::Entry(hit)) => self.waiting = self.by_pipeline(*hit),
                Some(Found::Unreadable { path, error, snapshots }) => {
                    return Ok(Some(Discovery::Unreadable(UnreadableFolder {
                        path: path.to_string(),
                        vault: self.vault.clone(),
                        snapshots: self.ids(&snapshots),
                        error: SnapshotError::from(error).explain().to_string(),
                    })));
                }
            }
        }
    }

    fn ids(&self, snapshots: &Appearances) -> Vec<String> {
        snapshots.iter().map(|number| self.snapshots[number].id.to_string()).collect()
    }

    /// A hit told once for each pipeline, in the order of their first snapshots.
    fn by_pipeline(&self, hit: Hit) -> VecDeque<FoundEntry> {
        let mut pipelines: Vec<(&Option<String>, Vec<&SnapshotInfo>)> = Vec::new();
        for info in hit.snapshots.iter().map(|number| &self.snapshots[number]) {
            match pipelines.iter_mut().find(|(pipeline, _)| **pipeline == info.pipeline) {
                Some((_, infos)) => infos.push(info),
                None => pipelines.push((&info.pipeline, vec![info])),
            }
        }
        let blobs: Vec<FoundBlob> = hit.blobs.iter().map(found_blob).collect();
        let entry = listed(hit.entry);
        let found = pipelines.into_iter().filter_map(|(pipeline, infos)| {
            Some(FoundEntry {
                entry: entry.clone(),
                vault: self.vault.clone(),
                pipeline: pipeline.clone(),
                first: Appearance::of(infos.first()?),
                last: Appearance::of(infos.last()?),
                snapshots: infos.iter().map(|info| info.id.to_string()).collect(),
                blobs: blobs.clone(),
            })
        });
        found.collect()
    }
}

impl Appearance {
    pub(crate) fn of(info: &SnapshotInfo) -> Self {
        Self {
            id: info.id.to_string(),
            time: clock::rfc3339(info.time),
        }
    }
}

fn found_blob(blob: &Blob) -> FoundBlob {
    FoundBlob {
        r#type: match blob.kind {
            BlobKind::Data => "data",
            BlobKind::Tree => "tree",
        },
        id: blob.id.to_string(),
    }
}
