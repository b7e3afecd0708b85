//! restic's lock while a run writes: many may hold one, except beside somebody who works alone (`prune`) ("Locks").

use std::{sync::Arc, time::Duration};

use bulkhead_model::FaultKind;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    access,
    error::{LockedBy, StoreError, WriteError},
    format::{document, lock_file::LockFile, time},
    id::ObjectId,
    store::ObjectBody,
    vault::Core,
};

/// Seconds after which a lock that was not refreshed is taken for abandoned; restic's value.
const STALE_SECONDS: i64 = 30 * 60;
/// How often our own lock is refreshed; restic's value.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// The user in our locks: the library does not ask the system who it runs as.
const USER: &str = "bulkhead";

/// A lock that is held and kept fresh.
pub(crate) struct Lock {
    /// Dropping it ends the task, which removes the lock.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Lock {
    /// Takes a non-exclusive lock. Looks for exclusive ones before and after: whoever comes second sees the other.
    pub(crate) async fn take(core: &Arc<Core>, host: &str) -> Result<Self, WriteError> {
        refuse_exclusive(core).await?;
        let id = put(core, host).await?;
        if let Err(error) = refuse_exclusive(core).await {
            remove(core, id).await;
            return Err(error);
        }
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(hold(Arc::clone(core), host.to_owned(), id, stopped));
        Ok(Self { stop, task })
    }

    /// Removes the lock.
    pub(crate) async fn release(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the vault's lock could not be removed; it goes stale in half an hour");
        }
    }
}

/// Refreshes a lock (a new object, then the old one goes) until told to stop.
async fn hold(core: Arc<Core>, host: String, mut id: ObjectId, mut stopped: oneshot::Receiver<()>) {
    while tokio::time::timeout(REFRESH, &mut stopped).await.is_err() {
        match put(&core, &host).await {
            Ok(fresh) => {
                remove(&core, id).await;
                id = fresh;
            }
            Err(error) => tracing::warn!(%error, "the vault's lock could not be refreshed"),
        }
    }
    remove(&core, id).await;
}

async fn put(core: &Core, host: &str) -> Result<ObjectId, WriteError> {
    let file = LockFile {
        time: time::format(time::now()),
        exclusive: false,
        hostname: host.to_owned(),
        username: USER.to_owned(),
        pid: std::process::id(),
    };
    let content =
        document::encode(&core.key, &file).map_err(|reason| WriteError::Internal(format!("a lock could not be made: {reason}")))?;
    let body = ObjectBody::new(content);
    let id = ObjectId::from(body.sha256);
    access::put(&*core.store, &format!("locks/{id}"), body).await?;
    Ok(id)
}

async fn remove(core: &Core, id: ObjectId) {
    if let Err(error) = access::delete(&*core.store, &format!("locks/{id}")).await {
        tracing::warn!(%error, "the vault's lock could not be removed; it goes stale in half an hour");
    }
}

/// Fails when somebody works alone.
async fn refuse_exclusive(core: &Core) -> Result<(), WriteError> {
    for id in access::list_ids(&*core.store, "locks/").await? {
        if let Some(by) = exclusive(core, id).await? {
            return Err(WriteError::Locked {
                location: core.store.location(),
                by: Box::new(by),
            });
        }
    }
    Ok(())
}

/// Reads a lock; `Some` when it is exclusive and not stale. One that cannot be read says nothing that could be honoured.
async fn exclusive(core: &Core, id: ObjectId) -> Result<Option<LockedBy>, StoreError> {
    let content = match access::get(&*core.store, &format!("locks/{id}"), None).await {
        Ok(content) => content,
        Err(error) if error.fault.kind == FaultKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let file: LockFile = match document::decode(&core.key, content.to_vec()) {
        Ok(file) => file,
        Err(reason) => {
            tracing::warn!(lock = %id, reason, "a lock in the vault cannot be read and is ignored");
            return Ok(None);
        }
    };
    let age = time::parse(&file.time).map_or(i64::MAX, |taken| time::now().seconds - taken.seconds);
    let held = file.exclusive && age < STALE_SECONDS;
    Ok(held.then_some(LockedBy {
        host: file.hostname,
        pid: file.pid,
        user: file.username,
        since: file.time,
        lock: id,
    }))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{InitOptions, Vault, stores::MemoryStore};

    /// Puts a lock that is `age` seconds old.
    async fn lock(core: &Core, exclusive: bool, age: i64) -> ObjectId {
        let taken = bulkhead_model::Timestamp {
            seconds: time::now().seconds - age,
            nanoseconds: 0,
        };
        let file = LockFile {
            time: time::format(taken),
            exclusive,
            hostname: "elsewhere".to_owned(),
            username: "operator".to_owned(),
            pid: 4711,
        };
        let body = ObjectBody::new(document::encode(&core.key, &file).unwrap());
        let id = ObjectId::from(body.sha256);
        access::put(&*core.store, &format!("locks/{id}"), body).await.unwrap();
        id
    }

    #[tokio::test]
    async fn an_exclusive_lock_keeps_us_out_until_it_is_stale() {
        let vault = Vault::init(Arc::new(MemoryStore::new()), &"x".into(), InitOptions::default())
            .await
            .unwrap();
        let core = &vault.core;
        let count = async || access::list(&*core.store, "locks/").await.unwrap().len();
        lock(core, false, 10).await;
        lock(core, true, STALE_SECONDS + 5).await;
        access::put(
            &*core.store,
            &format!("locks/{}", ObjectId::of(b"garbage")),
            ObjectBody::new("garbage"),
        )
        .await
        .unwrap();
        let held = Lock::take(core, "here").await.ok().unwrap();
        assert_eq!(count().await, 4);
        held.release().await;
        assert_eq!(count().await, 3);

        let exclusive = lock(core, true, STALE_SECONDS - 60).await;
        let refused = Lock::take(core, "here").await.err();
        let by = match refused {
            Some(WriteError::Locked { by, .. }) => Some(by),
            _ => None,
        };
        let by = by.unwrap();
        assert_eq!(
            (by.host.as_str(), by.pid, by.user.as_str(), by.lock),
            ("elsewhere", 4711, "operator", exclusive)
        );
        assert_eq!(count().await, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_is_refreshed_before_it_goes_stale() {
        let vault = Vault::init(Arc::new(MemoryStore::new()), &"x".into(), InitOptions::default())
            .await
            .unwrap();
        let held = Lock::take(&vault.core, "here").await.ok().unwrap();
        let first = access::list_ids(&*vault.core.store, "locks/").await.unwrap();
        tokio::time::sleep(REFRESH + Duration::from_secs(1)).await;
        let second = access::list_ids(&*vault.core.store, "locks/").await.unwrap();
        assert!(second.len() == 1 && first != second);
        held.release().await;
        assert!(access::list_ids(&*vault.core.store, "locks/").await.unwrap().is_empty());
    }
}
