//! The snapshots of a vault: listing them, and finding the one that an operator means.

use std::sync::Arc;

use bulkhead_model::{FaultKind, Timestamp};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value};

use crate::{
    access,
    error::{Corruption, ReadError, ResolveError, StoreError, WriteError},
    format::{document, snapshot_file::SnapshotFile, time},
    hold::{self, Hold},
    id::ObjectId,
    lock::Held,
    store::ObjectBody,
    vault::{Core, Vault},
    verification::{self, Recorded},
};

/// The tag on every snapshot of Bulkhead's.
pub(crate) const OUR_TAG: &str = "bulkhead";
/// The tag of what remained of a damaged snapshot.
pub(crate) const REPAIRED_TAG: &str = "repaired";
/// What the tag with the pipeline's name begins with.
pub(crate) const PIPELINE_TAG: &str = "pipeline:";

/// A snapshot, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its name; `restic` shows the first eight digits.
    pub id: ObjectId,
    /// When it was taken.
    pub time: Timestamp,
    /// The host it was taken on.
    pub host: String,
    /// The pipeline, where Bulkhead wrote it (tag `pipeline:<name>`).
    pub pipeline: Option<String>,
    /// Its paths; `["/<pipeline>"]` for ours.
    pub paths: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The snapshot that it was based on.
    pub parent: Option<ObjectId>,
    /// Its root tree.
    pub tree: ObjectId,
    /// The first of the line that it is of: what it was called before its tags changed, or in the vault that it was copied from.
    pub original: Option<ObjectId>,
    /// What it says, where it is no backup, but the record of a verification.
    pub recorded: Option<Recorded>,
}

impl SnapshotInfo {
    /// Whether it is no backup, but the record of a verification; listings leave it out. The tag of one is not enough.
    #[must_use]
    pub fn is_record(&self) -> bool {
        self.recorded.is_some()
    }

    /// Whether it is what remained of a snapshot that was damaged.
    #[must_use]
    pub fn is_repaired(&self) -> bool {
        self.tags.iter().any(|tag| tag == REPAIRED_TAG)
    }

    /// Whether somebody holds it: then it is not to be forgotten.
    #[must_use]
    pub fn is_held(&self) -> bool {
        hold::is_held(&self.tags)
    }

    /// Who holds it, and why. May be empty where it was held by other means than this program's.
    #[must_use]
    pub fn holds(&self) -> Vec<Hold> {
        hold::holds(&self.tags)
    }

    /// What stays the same when its tags change, and when it is copied to another vault.
    #[must_use]
    pub fn identity(&self) -> SnapshotIdentity {
        SnapshotIdentity {
            first: self.original.unwrap_or(self.id),
            time: self.time,
            tree: self.tree,
        }
    }

    /// What sorts snapshots, oldest first: of a damaged one and what remained of it, which have one time, the latter is the later one.
    #[must_use]
    pub fn order(&self) -> impl Ord + use<> {
        (self.time, self.is_repaired(), self.id)
    }
}

/// A snapshot, whatever its name: with its tags of today or of before, here or in another vault. One that was repaired is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotIdentity {
    first: ObjectId,
    time: Timestamp,
    tree: ObjectId,
}

/// What a snapshot file says.
pub(crate) fn info(id: ObjectId, file: SnapshotFile) -> Result<SnapshotInfo, String> {
    let recorded = verification::recorded(&file);
    let tags = file.tags.unwrap_or_default();
    let pipeline = tags
        .iter()
        .any(|tag| tag == OUR_TAG)
        .then(|| tags.iter().find_map(|tag| tag.strip_prefix(PIPELINE_TAG)))
        .flatten();
    Ok(SnapshotInfo {
        id,
        time: time::parse(&file.time)?,
        host: file.hostname,
        pipeline: pipeline.map(str::to_owned),
        paths: file.paths,
        tags,
        parent: file.parent,
        tree: file.tree,
        original: file.original,
        recorded,
    })
}

impl Core {
    /// Reads a snapshot file.
    pub(crate) async fn load_snapshot(&self, id: ObjectId) -> Result<SnapshotInfo, ReadError> {
        let key = format!("snapshots/{id}");
        let open = |content| std::future::ready(self.open_snapshot_file(id, content));
        access::get_good(&*self.store, &key, None, open).await
    }

    fn open_snapshot_file(&self, id: ObjectId, content: Result<Bytes, StoreError>) -> Result<SnapshotInfo, ReadError> {
        let content = match content {
            Err(error) if error.fault.kind == FaultKind::NotFound => return Err(ReadError::NoSuchSnapshot(id)),
            content => content?,
        };
        let decoded = document::check_name(id, &content)
            .and_then(|()| document::decode(&self.key, content.to_vec()))
            .and_then(|file| info(id, file));
        Ok(decoded.map_err(|reason| Corruption {
            object: format!("snapshots/{id}"),
            blob: None,
            reason,
        })?)
    }

    /// All fields of a snapshot file, also those that only other programs know.
    pub(crate) async fn snapshot_fields(&self, id: ObjectId) -> Result<Map<String, Value>, ReadError> {
        // What isn't a snapshot is found out here, with its own error.
        self.load_snapshot(id).await?;
        let key = format!("snapshots/{id}");
        let decode = |content: Result<Bytes, StoreError>| {
            let fields = content.map(|content| document::decode(&self.key, content.to_vec()));
            std::future::ready(fields.map_err(ReadError::from))
        };
        let fields = access::get_good(&*self.store, &key, None, decode).await?;
        Ok(fields.map_err(|reason| Corruption {
            object: key,
            blob: None,
            reason,
        })?)
    }

    /// Stores a snapshot file that is `before`, or a copy of it, with these fields: it names the first of its line, as restic does it.
    pub(crate) async fn store_successor(
        &self,
        before: ObjectId,
        mut file: Map<String, Value>,
        held: &Held,
    ) -> Result<ObjectId, WriteError> {
        if !file.get("original").is_some_and(Value::is_string) {
            file.insert("original".to_owned(), before.to_string().into());
        }
        let content = document::encode(&self.key, &file)
            .map_err(|reason| WriteError::Internal(format!("the snapshot could not be made: {reason}")))?;
        let body = ObjectBody::new(content);
        let id = ObjectId::from(body.sha256);
        held.check().await?;
        access::put(&*self.store, &format!("snapshots/{id}"), body).await?;
        Ok(id)
    }

    /// Reads snapshot files, several at a time; those that have gone meanwhile are left out, and with `skip_damaged` those that are damaged.
    pub(crate) async fn load_snapshots(self: &Arc<Self>, ids: Vec<ObjectId>, skip_damaged: bool) -> Result<Vec<SnapshotInfo>, ReadError> {
        let read = |id| async move {
            match self.load_snapshot(id).await {
                Err(ReadError::NoSuchSnapshot(_)) => Ok(None),
                Err(ReadError::Corrupt(error)) if skip_damaged => {
                    tracing::warn!(%error, "a damaged snapshot is passed over");
                    Ok(None)
                }
                loaded => loaded.map(Some),
            }
        };
        let loaded: Vec<Option<SnapshotInfo>> = stream::iter(ids)
            .map(read)
            .buffer_unordered(self.concurrency())
            .try_collect()
            .await?;
        let mut snapshots: Vec<SnapshotInfo> = loaded.into_iter().flatten().collect();
        snapshots.sort_by_key(SnapshotInfo::order);
        Ok(snapshots)
    }
}

impl Vault {
    /// All snapshots, oldest first.
    ///
    /// # Errors
    /// [`ReadError`]; also when a single snapshot file is damaged: [`Vault::verify`] says which, and goes on.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotInfo>, ReadError> {
        let mut snapshots = self.snapshots_and_records().await?;
        snapshots.retain(|snapshot| !snapshot.is_record());
        Ok(snapshots)
    }

    /// The same, and the records of verifications.
    ///
    /// # Errors
    /// As [`Vault::snapshots`].
    pub async fn snapshots_and_records(&self) -> Result<Vec<SnapshotInfo>, ReadError> {
        let ids = access::list_ids(&*self.core.store, "snapshots/").await?;
        self.core.load_snapshots(ids, false).await
    }

    /// The snapshot that `selector` names, among those of `pipeline` where one is given: `latest`, `latest~1` for the one before that (and so on), or the
    /// first digits of an id. `latest` passes over snapshot files that are damaged, with a warning in the log: whose they were cannot be told.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn resolve(&self, selector: &str, pipeline: Option<&str>) -> Result<SnapshotInfo, ResolveError> {
        let mut ids = access::list_ids(&*self.core.store, "snapshots/").await.map_err(ReadError::from)?;
        let latest = before_latest(selector);
        if latest.is_none() {
            if selector.is_empty() || !selector.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(ResolveError::Malformed(selector.to_owned()));
            }
            ids.retain(|id| id.to_string().starts_with(selector));
        }
        let mut found = self.core.load_snapshots(ids, latest.is_some()).await?;
        found.retain(|snapshot| !snapshot.is_record() && pipeline.is_none_or(|name| snapshot.pipeline.as_deref() == Some(name)));
        if latest.is_none() && found.len() > 1 {
            let candidates = found.into_iter().map(|snapshot| snapshot.id).collect();
            return Err(ResolveError::Ambiguous {
                prefix: selector.to_owned(),
                candidates,
            });
        }
        let pipeline = pipeline.map(str::to_owned);
        let snapshots = found.len();
        let index = snapshots.checked_sub(1 + latest.unwrap_or(0));
        let chosen = index.map(|index| found.swap_remove(index));
        chosen.ok_or_else(|| match latest {
            Some(_) if snapshots == 0 => ResolveError::Empty { pipeline },
            Some(_) => ResolveError::TooFarBack {
                selector: selector.to_owned(),
                snapshots,
                pipeline,
            },
            None => ResolveError::NotFound {
                prefix: selector.to_owned(),
                pipeline,
            },
        })
    }
}

/// How many snapshots before the latest `selector` means: none for `latest`, two for `latest~2`. `None` where it is something else.
fn before_latest(selector: &str) -> Option<usize> {
    match selector.strip_prefix("latest")? {
        "" => Some(0),
        further => further
            .strip_prefix('~')
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?
            .parse()
            .ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_before_the_latest_have_a_name() {
        let meant = [
            "latest",
            "latest~0",
            "latest~12",
            "latest~",
            "latest~x",
            "latest~+1",
            "latest1",
            "ab12",
        ]
        .map(before_latest);
        assert_eq!(meant, [Some(0), Some(0), Some(12), None, None, None, None, None]);
    }
}
