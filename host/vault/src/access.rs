//! Calls to the store with what is needed to tell a reader what failed, and the names of objects.

use std::ops::Range;

use bulkhead_model::FaultKind;
use bytes::Bytes;

use crate::{
    error::{ReadError, StoreError},
    id::ObjectId,
    store::{ObjectBody, ObjectInfo, ObjectStore},
};

/// The key of a pack.
pub(crate) fn pack_key(id: &ObjectId) -> String {
    let id = id.to_string();
    format!("data/{}/{id}", &id[..2])
}

/// The id that an object's key ends with; `None` for anything that no tool of restic's family names so.
pub(crate) fn id_of(key: &str) -> Option<ObjectId> {
    key.rsplit('/').next()?.parse().ok()
}

/// Stores an object.
pub(crate) async fn put(store: &dyn ObjectStore, key: &str, body: ObjectBody) -> Result<(), StoreError> {
    store
        .put(key, body, false)
        .await
        .map_err(|fault| StoreError::new(store, "storing", key, fault))
}

/// Reads an object, or a range of it.
pub(crate) async fn get(store: &dyn ObjectStore, key: &str, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
    store
        .get(key, range)
        .await
        .map_err(|fault| StoreError::new(store, "reading", key, fault))
}

/// Reads an object, or a range of it, from one replica after the other until `open` accepts what was read. Fails as the first one did that has it.
pub(crate) async fn get_good<T, F: Future<Output = Result<T, ReadError>>>(
    store: &dyn ObjectStore,
    key: &str,
    range: Option<Range<u64>>,
    mut open: impl FnMut(Result<Bytes, StoreError>) -> F,
) -> Result<T, ReadError> {
    // With whether the object was not there, and no more.
    let mut refused: Option<(ReadError, bool)> = None;
    let mut replica = 0;
    while let Some(got) = store.get_from(replica, key, range.clone()).await {
        let got = got.map_err(|fault| StoreError::new(store, "reading", key, fault));
        let failed_as = got.as_ref().err().map(|error| error.fault.kind);
        let (cut_off, is_absent) = (failed_as == Some(FaultKind::Cancelled), failed_as == Some(FaultKind::NotFound));
        match (open(got).await, refused.take()) {
            // One that hasn't the object says nothing of another's damage.
            (_, Some(first)) if is_absent => refused = Some(first),
            (Ok(opened), None) => return Ok(opened),
            (Ok(opened), Some((error, _))) => {
                tracing::warn!(object = key, "read from another replica: {error}");
                return Ok(opened);
            }
            (Err(error), first) if cut_off => return Err(first.map_or(error, |(first, _)| first)),
            (Err(_), Some(first @ (_, false))) => refused = Some(first),
            (Err(error), _) => refused = Some((error, is_absent)),
        }
        replica += 1;
    }
    let refused = refused.map(|(error, _)| error);
    Err(refused.unwrap_or_else(|| ReadError::Internal(format!("no replica was asked for {key}"))))
}

/// Lists objects.
pub(crate) async fn list(store: &dyn ObjectStore, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
    store
        .list(prefix)
        .await
        .map_err(|fault| StoreError::new(store, "listing", prefix, fault))
}

/// Lists the ids of objects, in order.
pub(crate) async fn list_ids(store: &dyn ObjectStore, prefix: &str) -> Result<Vec<ObjectId>, StoreError> {
    let mut ids: Vec<ObjectId> = list_sizes(store, prefix).await?.into_iter().map(|(id, _)| id).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Lists the ids of objects, in no order, and how many bytes each has.
pub(crate) async fn list_sizes(store: &dyn ObjectStore, prefix: &str) -> Result<Vec<(ObjectId, u64)>, StoreError> {
    let objects = list(store, prefix).await?;
    Ok(objects
        .iter()
        .filter_map(|object| Some((id_of(&object.key)?, object.size)))
        .collect())
}

/// Looks for an object.
pub(crate) async fn stat(store: &dyn ObjectStore, key: &str) -> Result<Option<ObjectInfo>, StoreError> {
    store
        .stat(key)
        .await
        .map_err(|fault| StoreError::new(store, "looking for", key, fault))
}

/// Looks whether an object is there.
pub(crate) async fn exists(store: &dyn ObjectStore, key: &str) -> Result<bool, StoreError> {
    Ok(stat(store, key).await?.is_some())
}

/// Removes an object.
pub(crate) async fn delete(store: &dyn ObjectStore, key: &str) -> Result<(), StoreError> {
    store
        .delete(key)
        .await
        .map_err(|fault| StoreError::new(store, "removing", key, fault))
}
