//! [`SnapshotReader`]: one snapshot, open for reading.

use std::sync::{Arc, Mutex};

use bulkhead_model::{EntryMetadata, EntryPath, NodeType};
use sha2::{Digest, Sha256};

use crate::{
    buffers::ChunkBuffers,
    error::{Corruption, ReadError},
    format::node::Node,
    id::ObjectId,
    reader::{
        ahead::Ahead,
        content_walk::{ContentFilter, ContentWalk},
        entry_reader::EntryReader,
        nearby::Nearby,
        recent::Recent,
        request::REQUEST,
        together::{GroupedWalk, Together},
        walk::{self, Walk},
    },
    record::{CHECKPOINT_ENTRY, RECORD_ENTRY, SnapshotRecord},
    snapshots::SnapshotInfo,
    sync::lock,
    vault::{Core, Vault},
};

/// Bytes that the record and the checkpoint may have: the ABI allows 1 MiB of checkpoint, a record is far smaller.
const MAX_RECORD: u64 = 16 << 20;
/// Requests that a walk may be ahead, however many are worth running at once: 32 MiB.
const MOST_REQUESTS: usize = 8;

/// A snapshot open for reading. Cheap to clone.
#[derive(Clone)]
pub struct SnapshotReader {
    vault: Vault,
    info: Arc<SnapshotInfo>,
    /// The folders on the way to what was asked for last, from the root: sources look up many neighbours.
    last: Arc<Mutex<Vec<Folder>>>,
    /// Folders that stand around those that were read last.
    nearby: Arc<Nearby>,
    buffers: Arc<ChunkBuffers>,
    recent: Arc<Mutex<Recent>>,
    together: Arc<tokio::sync::Mutex<Together>>,
}

/// A tree and its name.
type Folder = (ObjectId, Arc<Vec<Node>>);

/// An entry of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// Where it is.
    pub path: EntryPath,
    /// What it is.
    pub metadata: EntryMetadata,
    /// Bytes of content; 0 for others than files.
    pub size: u64,
    /// SHA-256 over the names of the chunks that a file's content consists of, in order; `None` for others than files. Costs no read of the content.
    ///
    /// Entries with the same digest have the same content. The opposite does not hold: the same content may have been cut elsewhere (when memory for
    /// unfinished chunks was short, or by another tool), and then has another digest.
    pub content: Option<ObjectId>,
}

/// See [`SnapshotEntry::content`].
pub(crate) fn content_digest(node: &Node) -> Option<ObjectId> {
    if node.metadata.node_type != NodeType::File {
        return None;
    }
    let mut digest = Sha256::new();
    node.content.iter().for_each(|id| digest.update(id.as_bytes()));
    Some(ObjectId::from(<[u8; 32]>::from(digest.finalize())))
}

impl Vault {
    /// Opens a snapshot for reading.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read(&self, snapshot: ObjectId) -> Result<SnapshotReader, ReadError> {
        // The snapshot before the index: whoever wrote it had written the index by then.
        let info = self.core.load_snapshot(snapshot).await?;
        self.core.refresh_index().await?;
        Ok(self.reader(info))
    }

    /// Opens all of some snapshots that were listed, in their order: the index is brought up to date once.
    ///
    /// # Errors
    /// [`ReadError`]. That a snapshot has gone since it was listed shows when it is read.
    pub async fn read_listed(&self, snapshots: Vec<SnapshotInfo>) -> Result<Vec<SnapshotReader>, ReadError> {
        self.core.refresh_index().await?;
        Ok(snapshots.into_iter().map(|info| self.reader(info)).collect())
    }

    /// Opens a snapshot that was read just now, for reading what is in it.
    ///
    /// # Errors
    /// As [`Self::read_listed`].
    pub async fn read_found(&self, snapshot: SnapshotInfo) -> Result<SnapshotReader, ReadError> {
        self.core.refresh_index().await?;
        Ok(self.reader(snapshot))
    }

    fn reader(&self, info: SnapshotInfo) -> SnapshotReader {
        SnapshotReader {
            vault: self.clone(),
            info: Arc::new(info),
            last: Arc::default(),
            nearby: Arc::default(),
            buffers: Arc::default(),
            recent: Arc::default(),
            together: Arc::default(),
        }
    }
}

impl SnapshotReader {
    /// The snapshot.
    #[must_use]
    pub fn info(&self) -> &SnapshotInfo {
        &self.info
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.vault.core
    }

    /// What Bulkhead recorded, with the checkpoint; `None` for a snapshot that another tool made.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn record(&self) -> Result<Option<SnapshotRecord>, ReadError> {
        let Some(json) = self.read_own(RECORD_ENTRY).await? else {
            return Ok(None);
        };
        let malformed = |error: serde_json::Error| Corruption {
            object: RECORD_ENTRY.to_owned(),
            blob: None,
            reason: error.to_string(),
        };
        let mut record: SnapshotRecord = serde_json::from_slice(&json).map_err(malformed)?;
        record.checkpoint = self.read_own(CHECKPOINT_ENTRY).await?;
        Ok(Some(record))
    }

    async fn read_own(&self, path: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let path = EntryPath::new(path).map_err(|error| ReadError::Internal(error.to_string()))?;
        let mut reader = match self.open(&path).await {
            Ok(reader) if reader.size() <= MAX_RECORD => reader,
            Ok(_) => {
                return Err(Corruption {
                    object: path.to_string(),
                    blob: None,
                    reason: "it is too large".to_owned(),
                }
                .into());
            }
            Err(ReadError::NoSuchEntry { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut content = Vec::new();
        while let Some(part) = reader.read_next(1 << 20).await? {
            content.extend_from_slice(&part);
        }
        Ok(Some(content))
    }

    /// The entry at `path`; the root is a folder.
    ///
    /// # Errors
    /// [`ReadError::NoSuchEntry`], and what can happen to folders on the way.
    pub async fn stat(&self, path: &EntryPath) -> Result<SnapshotEntry, ReadError> {
        let node = self.node(path).await?;
        Ok(SnapshotEntry {
            path: path.clone(),
            content: content_digest(&node),
            metadata: node.metadata,
            size: node.size,
        })
    }

    /// Entries at and below `path` in order of their components' bytes, a folder before what is in it. The root itself and Bulkhead's own folder are
    /// left out.
    ///
    /// # Errors
    /// [`ReadError::NoSuchEntry`], and what can happen to folders on the way.
    pub async fn walk(&self, path: &EntryPath) -> Result<Walk, ReadError> {
        let node = self.node(path).await?;
        Walk::new(Arc::clone(self.core()), Arc::clone(&self.nearby), path.clone(), node)
    }

    /// As [`Self::walk`], for whoever opens small files as they come: their contents are fetched together. Of several walks, the one that was asked last counts.
    ///
    /// # Errors
    /// As [`Self::walk`].
    pub async fn walk_grouped(&self, path: &EntryPath) -> Result<GroupedWalk, ReadError> {
        Ok(GroupedWalk::new(self.walk(path).await?, Arc::clone(&self.together)))
    }

    /// As [`Self::walk`], with the content of what `filter` wants: read ahead, neighbours in one request. For a restore.
    ///
    /// # Errors
    /// As [`Self::walk`].
    pub async fn walk_content(&self, path: &EntryPath, filter: impl ContentFilter + 'static) -> Result<ContentWalk, ReadError> {
        let walk = self.walk(path).await?;
        let ahead = Ahead::new(Arc::clone(self.core()), Arc::clone(&self.buffers), self.walk_ahead());
        Ok(ContentWalk::new(walk, ahead, filter))
    }

    /// Bytes that a walk may be ahead: there is one of them at a time, and a store that is far away answers many requests in the time of one.
    fn walk_ahead(&self) -> usize {
        let requests = self.core().concurrency().min(MOST_REQUESTS);
        self.vault.options.read_ahead.max(requests * REQUEST as usize)
    }

    /// Opens a file.
    ///
    /// # Errors
    /// [`ReadError::NoSuchEntry`], [`ReadError::NotAFile`], [`ReadError::BlobMissing`].
    pub async fn open(&self, path: &EntryPath) -> Result<EntryReader, ReadError> {
        let node = self.node(path).await?;
        if node.metadata.node_type != NodeType::File {
            return Err(ReadError::NotAFile(path.clone()));
        }
        EntryReader::new(
            Arc::clone(self.core()),
            Arc::clone(&self.buffers),
            Arc::clone(&self.recent),
            Arc::clone(&self.together),
            path,
            &node,
            self.vault.options.read_ahead,
        )
    }

    /// The node at `path`.
    pub(crate) async fn node(&self, path: &EntryPath) -> Result<Node, ReadError> {
        let missing = || ReadError::NoSuchEntry {
            path: path.clone(),
            snapshot: self.info.id,
        };
        let metadata = EntryMetadata {
            modified: Some(self.info.time),
            ..EntryMetadata::private(NodeType::Directory)
        };
        let mut node = Node {
            name: Box::default(),
            metadata,
            size: 0,
            content: Box::default(),
            subtree: Some(self.info.tree),
        };
        for (depth, name) in path.components().enumerate() {
            let folder = walk::subtree(&node, path)?.ok_or_else(missing)?;
            let tree = self.tree(depth, folder).await?;
            let found = tree.binary_search_by(|node| (*node.name).cmp(name)).map_err(|_| missing())?;
            node = tree.get(found).cloned().ok_or_else(missing)?;
        }
        Ok(node)
    }

    /// The folder `id`, which is `depth` levels below the root.
    async fn tree(&self, depth: usize, id: ObjectId) -> Result<Arc<Vec<Node>>, ReadError> {
        let last = lock(&self.last).get(depth).cloned();
        if let Some((_, tree)) = last.filter(|(last, _)| *last == id) {
            return Ok(tree);
        }
        let tree = Arc::new(self.nearby.load_tree(self.core(), &id).await?);
        let mut last = lock(&self.last);
        last.truncate(depth);
        // Somebody who looks elsewhere at the same time may have left a shorter way.
        if last.len() == depth {
            last.push((id, Arc::clone(&tree)));
        }
        drop(last);
        Ok(tree)
    }
}
