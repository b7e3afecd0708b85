//! Reading what is shared by all operations: the index, and single blobs and trees.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bulkhead_model::FaultKind;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use crate::{
    access, blob,
    crew::Tools,
    error::{Corruption, ReadError, StoreError},
    format::{
        document,
        index_file::IndexFile,
        node::{self, Node},
    },
    id::ObjectId,
    index::{BlobKind, Index, Location},
    sync::{read, write},
    vault::{Core, Vault},
};

/// How often the index is listed again when index files vanish while they are read.
const REFRESH_ATTEMPTS: usize = 5;
/// Bytes of index files, as they are stored, that are read at once: small ones together, a large one by itself, which takes some eight times its size while
/// it is parsed.
const INDEX_AT_ONCE: u32 = 4 << 20;

impl Vault {
    /// The keys of all packs that the index names as it is now, but for those that are marked for removal.
    ///
    /// # Errors
    /// What can happen to index files.
    pub async fn pack_keys(&self) -> Result<HashSet<String>, ReadError> {
        self.core.refresh_index().await?;
        Ok(read(&self.core.index).needed_packs().map(|pack| access::pack_key(&pack)).collect())
    }
}

impl Core {
    /// Requests that are worth running at once.
    pub(crate) fn concurrency(&self) -> usize {
        (self.traits.concurrency as usize).clamp(1, 64)
    }

    /// Brings the index up to date: reads the index files that are new, and begins anew when one has gone (a prune has rewritten them).
    pub(crate) async fn refresh_index(self: &Arc<Self>) -> Result<(), ReadError> {
        let _one_at_a_time = self.refreshing.lock().await;
        for _ in 0..REFRESH_ATTEMPTS {
            if self.try_refresh().await? {
                return Ok(());
            }
        }
        Err(ReadError::Internal("the index changes faster than it can be read".to_owned()))
    }

    /// Whether every index file was still there when its turn came.
    async fn try_refresh(self: &Arc<Self>) -> Result<bool, ReadError> {
        let listed: HashMap<ObjectId, u64> = access::list_sizes(&*self.store, "index/").await?.into_iter().collect();
        let known = read(&self.index).files().clone();
        if known.iter().all(|name| listed.contains_key(name)) {
            let new = listed.into_iter().filter(|(name, _)| !known.contains(name)).collect();
            return self.read_index_files(new, |name, file| write(&self.index).add(name, file)).await;
        }
        let mut rebuilt = Index::default();
        let complete = self
            .read_index_files(listed.into_iter().collect(), |name, file| rebuilt.add(name, file))
            .await?;
        *write(&self.index) = rebuilt;
        Ok(complete)
    }

    /// Reads index files of these sizes; says whether all of them were still there.
    pub(crate) async fn read_index_files(
        self: &Arc<Self>,
        files: Vec<(ObjectId, u64)>,
        mut add: impl FnMut(ObjectId, &IndexFile),
    ) -> Result<bool, ReadError> {
        let budget = Semaphore::new(INDEX_AT_ONCE as usize);
        let mut files = stream::iter(files)
            .map(async |(name, size)| {
                let bytes = u32::try_from(size).unwrap_or(u32::MAX).clamp(1, INDEX_AT_ONCE);
                let held = budget.acquire_many(bytes).await;
                let held = held.map_err(|error| ReadError::Internal(error.to_string()))?;
                self.read_index_file(name).await.map(|file| (name, file, held))
            })
            .buffer_unordered(self.concurrency());
        let mut complete = true;
        while let Some((name, file, _held)) = files.try_next().await? {
            match file {
                Some(file) => add(name, &file),
                None => complete = false,
            }
        }
        Ok(complete)
    }

    /// `None` where the file has gone since it was listed.
    async fn read_index_file(self: &Arc<Self>, name: ObjectId) -> Result<Option<IndexFile>, ReadError> {
        let key = format!("index/{name}");
        let open = |content| Arc::clone(self).open_index_file(name, content);
        access::get_good(&*self.store, &key, None, open).await
    }

    async fn open_index_file(self: Arc<Self>, name: ObjectId, content: Result<Bytes, StoreError>) -> Result<Option<IndexFile>, ReadError> {
        let content = match content {
            Err(error) if error.fault.kind == FaultKind::NotFound => return Ok(None),
            content => content?,
        };
        let core = Arc::clone(&self);
        let decode = move |_: &mut Tools| {
            document::check_name(name, &content)?;
            document::decode(&core.key, blob::own(content).into())
        };
        let decoded = self.crew.run(decode).await.map_err(ReadError::Internal)?;
        let file = decoded.map_err(|reason| Corruption {
            object: format!("index/{name}"),
            blob: None,
            reason,
        })?;
        Ok(Some(file))
    }

    /// Where a blob is; `of` says what needs it.
    pub(crate) fn locate(&self, kind: BlobKind, id: &ObjectId, of: impl Fn() -> String) -> Result<Location, ReadError> {
        read(&self.index)
            .locate(kind, id)
            .ok_or_else(|| ReadError::BlobMissing { blob: *id, of: of() })
    }

    /// Reads a tree.
    pub(crate) async fn load_tree(self: &Arc<Self>, id: &ObjectId) -> Result<Vec<Node>, ReadError> {
        self.load_tree_as(id, node::decode_tree).await
    }

    /// Reads a tree with all fields, also those that only other programs know.
    pub(crate) async fn load_tree_document(self: &Arc<Self>, id: &ObjectId) -> Result<Map<String, Value>, ReadError> {
        self.load_tree_as(id, |json| serde_json::from_slice(json).map_err(|error| error.to_string()))
            .await
    }

    /// Reads a tree, also as it was stored.
    pub(crate) async fn load_tree_with_json(self: &Arc<Self>, id: &ObjectId) -> Result<(Vec<Node>, Vec<u8>), ReadError> {
        self.load_tree_as(id, |json| Ok((node::decode_tree(json)?, json.to_vec()))).await
    }

    async fn load_tree_as<T: Send + 'static>(
        self: &Arc<Self>,
        id: &ObjectId,
        parse: fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, ReadError> {
        let location = self.locate(BlobKind::Tree, id, || "a folder".to_owned())?;
        let key = access::pack_key(&location.pack);
        let range = u64::from(location.offset)..u64::from(location.offset) + u64::from(location.length);
        let open = |stored| Arc::clone(self).open_tree(*id, location, parse, stored);
        access::get_good(&*self.store, &key, Some(range), open).await
    }

    pub(crate) async fn open_tree<T: Send + 'static>(
        self: Arc<Self>,
        id: ObjectId,
        location: Location,
        parse: fn(&[u8]) -> Result<T, String>,
        stored: Result<Bytes, StoreError>,
    ) -> Result<T, ReadError> {
        let stored = stored.map_err(|error| blob::damaged_pack(error, Some(id)))?;
        let core = Arc::clone(&self);
        let decode = move |tools: &mut Tools| {
            let content = blob::open(&core.key, &id, &location, &mut blob::own(stored), tools)?;
            parse(&content)
        };
        let decoded = self.crew.run(decode).await.map_err(ReadError::Internal)?;
        let corrupt = |reason| Corruption {
            object: access::pack_key(&location.pack),
            blob: Some(id),
            reason,
        };
        Ok(decoded.map_err(corrupt)?)
    }
}
