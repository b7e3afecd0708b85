//! restic's locks ("Locks"): many who add to a repository may hold one at once, and nobody beside one who works alone in it (`prune`).
//!
//! Who may only add to a store cannot remove its locks. It adds one more at the end, which names those that it leaves, and holds nothing itself: whoever
//! works alone takes all of them for dead, and removes them. To restic that one is a stale lock, and those that it names are locks until they are stale, too.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, OnceLock, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use bulkhead_model::{FaultKind, Timestamp};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use crate::{
    access,
    error::{LockedBy, MaintenanceError, StoreError, WriteError},
    format::{document, lock_file::LockFile, time},
    id::ObjectId,
    maintenance::Stop,
    store::ObjectBody,
    sync,
    vault::{Core, Vault},
};

/// Seconds after which a lock that was not refreshed is taken for abandoned; restic's value.
const STALE_SECONDS: i64 = 30 * 60;
/// How often who waits for others looks for their locks.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The age at which nobody makes room any more for a lock that only waits: whoever was killed while waiting must not hold up those who work. Clocks may differ by less.
const WAITING_SECONDS: u64 = 30;
/// How long who commits again and again waits for one who works alone: half of what the call of a plugin may take in which that happens.
const ROOM: Duration = Duration::from_secs(5 * 60);
/// The time of a lock that holds nothing: stale to everybody.
const LONG_AGO: Timestamp = Timestamp {
    seconds: 0,
    nanoseconds: 0,
};
/// The user in our locks: the library does not ask the system who it runs as.
const USER: &str = "bulkhead";

/// Who else may hold a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// All who don't work alone.
    Others,
    /// All who only add. Who removes snapshots or gives them other names takes this: the plan of one is the other's race.
    Adders,
    /// Nobody.
    Nobody,
    /// Everybody: it only says that its holder waits to be alone.
    All,
}

/// How a lock is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// How often it is refreshed, and how long one refresh may take.
    refresh: Duration,
    /// The age at which it is lost: soon others take it for abandoned, and their `prune` may remove what a run relies on.
    lost: Duration,
    /// How long its removal may take at the end.
    release: Duration,
    /// How long a store that has not removed it by then has for taking one object more, which releases it.
    leave: Duration,
}

impl Timing {
    /// restic refreshes every 5 minutes. 5 minutes before the lock is stale are for clocks that differ and for storing the snapshot.
    const NORMAL: Self = Self {
        refresh: Duration::from_secs(5 * 60),
        lost: Duration::from_secs(25 * 60),
        release: Duration::from_millis(400),
        leave: Duration::from_secs(5),
    };
    /// That of a lock that waits: twice within [`WAITING_SECONDS`].
    const WAITING: Self = Self {
        refresh: Duration::from_secs(10),
        ..Self::NORMAL
    };
}

/// A lock that is held and kept fresh.
pub(crate) struct Lock {
    held: Arc<Held>,
    /// Dropping it ends the task, which removes the lock.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// The state of a lock: what a run asks before it relies on it.
pub(crate) struct Held {
    core: Arc<Core>,
    host: String,
    share: Share,
    timing: Timing,
    state: Mutex<State>,
    /// Told when the lock is lost.
    lost: OnceLock<Box<dyn Fn(WriteError) + Send + Sync>>,
}

struct State {
    /// The lock's object.
    id: ObjectId,
    /// Objects to remove: predecessors, and one that may be on its way.
    others: Vec<ObjectId>,
    fresh: Freshness,
}

/// When a lock was stored. The greater of two ages counts: the steady clock stands still while the machine sleeps, the other one may be set.
#[derive(Clone, Copy)]
struct Freshness(Instant, SystemTime);

impl Freshness {
    fn now() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    fn age(self) -> Duration {
        self.0.elapsed().max(self.1.elapsed().unwrap_or_default())
    }
}

impl Lock {
    /// Takes a lock. Looks for those of others before and after: whoever comes second sees the other. Who works alone removes the locks of the dead, so
    /// that one of them who was only asleep notices.
    pub(crate) async fn take(core: &Arc<Core>, host: &str, share: Share) -> Result<Self, WriteError> {
        Self::take_with(core, host, share, Timing::NORMAL).await
    }

    /// Takes one that is shared with nobody, for which it waits so long: who stores one snapshot after the other sees that, and makes room between two of them.
    /// Stopped, it takes back that it waits before it ends.
    pub(crate) async fn take_alone(core: &Arc<Core>, host: &str, patience: Duration, stop: &Stop) -> Result<Self, MaintenanceError> {
        let first = Self::take(core, host, Share::Nobody).await;
        if patience.is_zero() || !is_locked(&first) {
            return Ok(first?);
        }
        let waiting = Self::take_with(core, host, Share::All, Timing::WAITING).await?;
        let taken = Self::take_within(core, host, patience, stop).await;
        waiting.release().await;
        taken
    }

    async fn take_within(core: &Arc<Core>, host: &str, patience: Duration, stop: &Stop) -> Result<Self, MaintenanceError> {
        let since = Instant::now();
        loop {
            look_again(stop).await?;
            let taken = Self::take(core, host, Share::Nobody).await;
            if !is_locked(&taken) || since.elapsed() >= patience {
                return Ok(taken?);
            }
        }
    }

    async fn take_with(core: &Arc<Core>, host: &str, share: Share, timing: Timing) -> Result<Self, WriteError> {
        refuse_others(core, host, share, None).await?;
        let fresh = Freshness::now();
        let (id, body) = make(core, host, share)?;
        put(core, id, body).await?;
        let dead = match refuse_others(core, host, share, Some(id)).await {
            Ok(dead) => dead,
            Err(error) => {
                let left = remove_all(core, &[id]).await;
                leave(core, host, left, timing).await;
                return Err(error);
            }
        };
        if share == Share::Nobody
            && let Err(error) = dead.remove(core).await
        {
            tracing::warn!(%error, "abandoned locks could not be removed; whoever is alone in the vault next removes them");
        }
        let held = Arc::new(Held {
            core: Arc::clone(core),
            host: host.to_owned(),
            share,
            timing,
            state: Mutex::new(State {
                id,
                others: Vec::new(),
                fresh,
            }),
            lost: OnceLock::new(),
        });
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(hold(Arc::clone(&held), stopped));
        Ok(Self { held, stop, task })
    }

    /// The lock, to be asked whether it still holds.
    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// Removes the lock, or releases it where that takes longer than a moment, within seconds: a store that does not answer must not hold up the end of a run.
    pub(crate) async fn release(self) {
        drop(self.stop);
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the vault's lock could not be removed; it goes stale in half an hour");
        }
    }
}

impl Held {
    /// Has `lost` told, once, when the lock is lost.
    pub(crate) fn on_loss(&self, lost: impl Fn(WriteError) + Send + Sync + 'static) {
        let _set_once = self.lost.set(Box::new(lost));
    }

    /// Fails unless the lock is in the store and far from stale.
    pub(crate) async fn check(&self) -> Result<(), WriteError> {
        self.check_age()?;
        let id = sync::lock(&self.state).id;
        if access::exists(&*self.core.store, &key(id)).await? {
            return self.check_age();
        }
        // It may have been replaced by its successor meanwhile.
        if sync::lock(&self.state).id != id {
            return self.check_age();
        }
        Err(self.loss("it was removed from the store"))
    }

    /// Fails when the lock is, or soon will be, what others take for abandoned. Asks nobody.
    pub(crate) fn check_age(&self) -> Result<(), WriteError> {
        let age = sync::lock(&self.state).fresh.age();
        if age <= self.timing.lost {
            return Ok(());
        }
        Err(self.loss(&format!("it could not be refreshed for {} seconds", age.as_secs())))
    }

    fn loss(&self, reason: &str) -> WriteError {
        WriteError::LockLost {
            location: self.core.store.location(),
            reason: reason.to_owned(),
        }
    }

    /// A new object, then the old one goes. Being dropped leaves nothing that [`Self::remove_all`] does not know of.
    async fn refresh(&self) -> Result<(), WriteError> {
        self.check().await?;
        let fresh = Freshness::now();
        let (id, body) = make(&self.core, &self.host, self.share)?;
        sync::lock(&self.state).others.push(id);
        put(&self.core, id, body).await?;
        {
            let mut state = sync::lock(&self.state);
            let before = std::mem::replace(&mut state.id, id);
            state.fresh = fresh;
            state.others.retain(|other| *other != id);
            state.others.push(before);
        }
        self.remove_others().await;
        Ok(())
    }

    async fn remove_others(&self) {
        let others = sync::lock(&self.state).others.clone();
        let left = remove_all(&self.core, &others).await;
        let mut state = sync::lock(&self.state);
        state.others.retain(|other| left.contains(other) || !others.contains(other));
    }

    /// Removes all of the lock's objects, in time; what the store doesn't let go of by then is left to others, which does no harm to what has gone all the same.
    async fn give_back(&self) {
        let all = {
            let state = sync::lock(&self.state);
            [&[state.id], &state.others[..]].concat()
        };
        let left = timeout(self.timing.release, remove_all(&self.core, &all)).await;
        leave(&self.core, &self.host, left.unwrap_or(all), self.timing).await;
    }
}

/// Refreshes a lock until told to stop or until it is lost, then removes it.
async fn hold(held: Arc<Held>, mut stopped: oneshot::Receiver<()>) {
    let keep = async {
        loop {
            tokio::time::sleep(held.timing.refresh).await;
            match timeout(held.timing.refresh, held.refresh()).await {
                Ok(Ok(())) => {}
                Ok(Err(error @ WriteError::LockLost { .. })) => return error,
                Ok(Err(error)) => tracing::warn!(%error, "the vault's lock could not be refreshed"),
                Err(_) => tracing::warn!("the vault's lock could not be refreshed: the store does not answer"),
            }
        }
    };
    // A refresh that hangs, or a machine that slept, must not keep a lock's age from being noticed.
    let age = async {
        loop {
            tokio::time::sleep(held.timing.refresh / 10).await;
            if let Err(error) = held.check_age() {
                return error;
            }
        }
    };
    let lost = async {
        tokio::select! {
            error = keep => error,
            error = age => error,
        }
    };
    tokio::select! {
        biased;
        _ = &mut stopped => {}
        error = lost => {
            if let Some(lost) = held.lost.get() {
                lost(error);
            }
            // Until its run has ended.
            let _ended = stopped.await;
        }
    }
    held.give_back().await;
}

fn key(id: ObjectId) -> String {
    format!("locks/{id}")
}

/// A lock of this moment.
fn make(core: &Core, host: &str, share: Share) -> Result<(ObjectId, ObjectBody), WriteError> {
    encode(
        core,
        &LockFile {
            time: time::format(time::now()),
            exclusive: share == Share::Nobody,
            changes_snapshots: share == Share::Adders,
            waits: share == Share::All,
            hostname: host.to_owned(),
            username: USER.to_owned(),
            pid: std::process::id(),
            released: Vec::new(),
        },
    )
}

/// A lock that holds nothing, and releases others.
fn make_release(core: &Core, host: &str, released: Vec<ObjectId>) -> Result<(ObjectId, ObjectBody), WriteError> {
    encode(
        core,
        &LockFile {
            time: time::format(LONG_AGO),
            exclusive: false,
            changes_snapshots: false,
            waits: false,
            hostname: host.to_owned(),
            username: USER.to_owned(),
            pid: std::process::id(),
            released,
        },
    )
}

fn encode(core: &Core, file: &LockFile) -> Result<(ObjectId, ObjectBody), WriteError> {
    let content =
        document::encode(&core.key, file).map_err(|reason| WriteError::Internal(format!("a lock could not be made: {reason}")))?;
    let body = ObjectBody::new(content);
    Ok((ObjectId::from(body.sha256), body))
}

async fn put(core: &Core, id: ObjectId, body: ObjectBody) -> Result<(), StoreError> {
    access::put(&*core.store, &key(id), body).await
}

/// Removes locks; returns those that are still there. Once the store has said that we may only add, it is not asked again.
async fn remove_all(core: &Core, ids: &[ObjectId]) -> Vec<ObjectId> {
    let mut left = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        if core.may_only_add.load(Ordering::Relaxed) {
            left.extend(&ids[number..]);
            break;
        }
        if let Err(error) = access::delete(&*core.store, &key(*id)).await {
            left.push(*id);
            if error.fault.kind == FaultKind::PermissionDenied {
                core.may_only_add.store(true, Ordering::Relaxed);
            } else {
                tracing::warn!(%error, "the vault's lock could not be removed");
            }
        }
    }
    left
}

/// Says that nobody holds these locks any more, where they could not be removed.
async fn leave(core: &Core, host: &str, left: Vec<ObjectId>, timing: Timing) {
    if left.is_empty() {
        return;
    }
    let left = async {
        let (id, body) = make_release(core, host, left)?;
        Ok::<_, WriteError>(put(core, id, body).await?)
    };
    match timeout(timing.leave, left).await {
        Ok(Ok(())) => tracing::debug!("the vault's lock could not be removed, and is left as released"),
        Ok(Err(error)) => tracing::warn!(%error, "the vault's lock could not be released; it goes stale in half an hour"),
        Err(_) => tracing::warn!("the vault's lock could not be released in time; it goes stale in half an hour"),
    }
}

/// Fails beside a lock that cannot be shared with; `own` is the one that was just taken. Returns those whose holders are dead.
async fn refuse_others(core: &Core, host: &str, share: Share, own: Option<ObjectId>) -> Result<Dead, WriteError> {
    let locks = Locks::look(core, host).await?;
    let mut others = locks.living.into_iter().filter(|(id, _)| own != Some(*id));
    match others.find(|(_, file)| is_refused(file, share)) {
        None => Ok(locks.dead),
        Some((id, file)) => Err(WriteError::Locked {
            location: core.store.location(),
            by: Box::new(LockedBy {
                host: file.hostname,
                pid: file.pid,
                user: file.username,
                since: file.time,
                is_alone: file.exclusive,
                lock: id,
            }),
        }),
    }
}

/// The locks in a store.
struct Locks {
    living: Vec<(ObjectId, LockFile)>,
    dead: Dead,
}

/// The locks that nobody holds any more.
struct Dead {
    locks: Vec<ObjectId>,
    /// Those that say so of others.
    releases: Vec<ObjectId>,
}

impl Dead {
    /// Removes them, several at once. Those that release others go when all others have gone: half of them must not leave a lock that holds again.
    async fn remove(&self, core: &Core) -> Result<(), StoreError> {
        delete_all(core, &self.locks).await?;
        delete_all(core, &self.releases).await
    }
}

/// Removes locks, up to the first that can't be.
async fn delete_all(core: &Core, ids: &[ObjectId]) -> Result<(), StoreError> {
    let delete = |id: &ObjectId| {
        let key = key(*id);
        async move { access::delete(&*core.store, &key).await }
    };
    stream::iter(ids)
        .map(delete)
        .buffer_unordered(core.concurrency())
        .try_collect()
        .await
}

impl Locks {
    async fn look(core: &Core, host: &str) -> Result<Self, StoreError> {
        let ids = access::list_ids(&*core.store, "locks/").await?;
        let load = |id| async move { Ok::<_, StoreError>(load(core, id).await?.map(|file| (id, file))) };
        let loaded: Vec<_> = stream::iter(ids)
            .map(load)
            .buffer_unordered(core.concurrency())
            .try_collect()
            .await?;
        let files: Vec<(ObjectId, LockFile)> = loaded.into_iter().flatten().collect();
        let released: HashSet<ObjectId> = files.iter().flat_map(|(_, file)| &file.released).copied().collect();
        let is_dead = |(id, file): &(ObjectId, LockFile)| released.contains(id) || is_stale(file, host);
        let (dead, living): (Vec<_>, Vec<_>) = files.into_iter().partition(is_dead);
        let (locks, releases): (Vec<_>, Vec<_>) = dead.into_iter().partition(|(_, file)| file.released.is_empty());
        let ids = |files: Vec<(ObjectId, LockFile)>| files.into_iter().map(|(id, _)| id).collect();
        Ok(Self {
            living,
            dead: Dead {
                locks: ids(locks),
                releases: ids(releases),
            },
        })
    }
}

/// Whether a lock of the living keeps out who wants one that is shared so.
fn is_refused(file: &LockFile, share: Share) -> bool {
    match share {
        Share::All => false,
        _ if file.waits => false,
        Share::Others => file.exclusive,
        Share::Adders => file.exclusive || file.changes_snapshots,
        Share::Nobody => true,
    }
}

fn is_locked(taken: &Result<Lock, WriteError>) -> bool {
    matches!(taken, Err(WriteError::Locked { .. }))
}

/// Waits until it is time to look again, or until stopped, which it notices in much less than an operation has for its end.
async fn look_again(stop: &Stop) -> Result<(), MaintenanceError> {
    const SLICES: u32 = 20;
    for _ in 0..SLICES {
        stop.check()?;
        tokio::time::sleep(LOOK_AGAIN / SLICES).await;
    }
    stop.check()
}

/// What is left of the time for which somebody else is let in.
pub(crate) struct Room(tokio::time::Instant);

impl Room {
    pub(crate) fn new() -> Self {
        Self(tokio::time::Instant::now() + ROOM)
    }

    pub(crate) fn is_over(&self) -> bool {
        tokio::time::Instant::now() >= self.0
    }

    /// Waits until nobody is alone in the vault, or waits to be and could be, or until the time is over.
    pub(crate) async fn make(&self, core: &Core, host: &str) -> Result<(), StoreError> {
        while !self.is_over() && is_wanted(core, host).await? {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}

/// Whether somebody is alone in the vault, or waits to be and nobody else is at work, who would keep them out all the same.
async fn is_wanted(core: &Core, host: &str) -> Result<bool, StoreError> {
    let living = Locks::look(core, host).await?.living;
    let (waiting, at_work): (Vec<_>, Vec<_>) = living.into_iter().partition(|(_, file)| file.waits);
    if at_work.is_empty() {
        return Ok(waiting.iter().any(|(_, file)| age(file).unsigned_abs() < WAITING_SECONDS));
    }
    Ok(at_work.iter().any(|(_, file)| file.exclusive))
}

/// Removes the locks whose holders are dead, or with `all` every lock; returns them.
pub(crate) async fn unlock(core: &Core, host: &str, all: bool) -> Result<Vec<ObjectId>, StoreError> {
    if all {
        let locks = access::list_ids(&*core.store, "locks/").await?;
        delete_all(core, &locks).await?;
        return Ok(locks);
    }
    let dead = Locks::look(core, host).await?.dead;
    dead.remove(core).await?;
    Ok([dead.locks, dead.releases].concat())
}

/// Reads a lock; `None` where it has gone. One that cannot be read says nothing that could be honoured.
async fn load(core: &Core, id: ObjectId) -> Result<Option<LockFile>, StoreError> {
    let content = match access::get(&*core.store, &key(id), None).await {
        Ok(content) => content,
        Err(error) if error.fault.kind == FaultKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match document::decode(&core.key, content.to_vec()) {
        Ok(file) => Ok(Some(file)),
        Err(reason) => {
            tracing::warn!(lock = %id, reason, "a lock in the vault cannot be read and is ignored");
            Ok(None)
        }
    }
}

/// Whether a lock's holder has died: it was not refreshed, or its process is not on this host any more, where that is the holder's.
fn is_stale(file: &LockFile, host: &str) -> bool {
    age(file) >= STALE_SECONDS || file.hostname == host && !is_running(file.pid)
}

/// How many seconds ago a lock was taken or refreshed, by the clock of its holder.
fn age(file: &LockFile) -> i64 {
    time::parse(&file.time).map_or(i64::MAX, |taken| time::now().seconds.saturating_sub(taken.seconds))
}

/// Whether this host has such a process; where that cannot be told, it has.
fn is_running(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// A vault that nobody else works in: see [`Vault::lock_alone`].
pub struct LockedAlone(Lock);

impl LockedAlone {
    /// Lets others in again.
    pub async fn release(self) {
        self.0.release().await;
    }
}

impl Vault {
    /// Keeps everybody else from working in the vault on this store, restic's own commands included, until the lock is released.
    ///
    /// # Errors
    /// [`MaintenanceError::Lock`]: somebody is at work, or the store failed.
    pub async fn lock_alone(&self, host: &str) -> Result<LockedAlone, MaintenanceError> {
        Ok(LockedAlone(Lock::take(&self.core, host, Share::Nobody).await?))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    use async_trait::async_trait;
    use bulkhead_model::Fault;
    use tokio::sync::Notify;

    use super::*;
    use crate::{
        InitOptions, Vault,
        hooked::{Call, Hook, Hooked},
        store::SharedStore,
        stores::MemoryStore,
    };

    const QUICK: Timing = Timing {
        refresh: Duration::from_millis(50),
        lost: Duration::from_millis(800),
        release: Duration::from_millis(100),
        leave: Duration::from_millis(100),
    };

    /// Stops answering when it is told to.
    #[derive(Default)]
    struct Stalling {
        stalls: AtomicBool,
        /// Told when somebody waits for an answer.
        hangs: Notify,
    }

    #[async_trait]
    impl Hook for Stalling {
        async fn before(&self, call: Call<'_>) {
            if !matches!(call, Call::List(_)) && self.stalls.load(Ordering::SeqCst) {
                self.hangs.notify_one();
                std::future::pending::<()>().await;
            }
        }
    }

    /// A quick lock on a store that may stall, and what is heard when it is lost.
    struct Quick {
        memory: Arc<MemoryStore>,
        store: Arc<Hooked<Stalling>>,
        lock: Lock,
        told: oneshot::Receiver<WriteError>,
    }

    async fn quick() -> Quick {
        let memory = Arc::new(MemoryStore::new());
        let store = Hooked::new(Arc::clone(&memory) as _, Stalling::default());
        let vault = Vault::init(Arc::clone(&store) as _, &"x".into(), InitOptions::default())
            .await
            .unwrap();
        let lock = Lock::take_with(&vault.core, "here", Share::Others, QUICK).await.ok().unwrap();
        let (tell, told) = oneshot::channel();
        let tell = Mutex::new(Some(tell));
        lock.held().on_loss(move |error| {
            if let Some(tell) = sync::lock(&tell).take() {
                tell.send(error).unwrap();
            }
        });
        Quick { memory, store, lock, told }
    }

    #[tokio::test]
    async fn a_lock_that_cannot_be_refreshed_is_lost_before_it_is_stale() {
        let Quick { store, lock, told, .. } = quick().await;
        tokio::time::sleep(QUICK.lost * 2).await;
        lock.held().check().await.unwrap();
        store.hook.stalls.store(true, Ordering::SeqCst);
        let error = timeout(QUICK.lost * 10, told).await.unwrap().unwrap();
        assert!(matches!(error, WriteError::LockLost { .. }), "{error}");
        assert!(matches!(lock.held().check().await, Err(WriteError::LockLost { .. })));
        timeout(Duration::from_secs(1), lock.release()).await.unwrap();
    }

    #[tokio::test]
    async fn a_lock_that_somebody_removed_is_lost() {
        let Quick { memory, lock, told, .. } = quick().await;
        memory.tamper(|objects| objects.retain(|key, _| !key.starts_with("locks/")));
        let error = timeout(QUICK.lost * 10, told).await.unwrap().unwrap();
        assert!(matches!(error, WriteError::LockLost { .. }), "{error}");
        assert!(lock.held().check().await.is_err());
        lock.release().await;
    }

    #[tokio::test]
    async fn a_lock_on_a_store_that_hangs_is_left_at_once() {
        let Quick { store, lock, .. } = quick().await;
        store.hook.stalls.store(true, Ordering::SeqCst);
        // In the middle of a refresh.
        store.hook.hangs.notified().await;
        timeout(Duration::from_secs(1), lock.release()).await.unwrap();
    }

    /// Puts a lock that is `age` seconds old.
    async fn lock(core: &Core, exclusive: bool, age: i64) -> ObjectId {
        old_lock(core, age, |file| file.exclusive = exclusive).await
    }

    /// The same of one who waits to be alone.
    async fn waiting_lock(core: &Core, age: i64) -> ObjectId {
        old_lock(core, age, |file| file.waits = true).await
    }

    async fn old_lock(core: &Core, age: i64, change: impl FnOnce(&mut LockFile)) -> ObjectId {
        let taken = bulkhead_model::Timestamp {
            seconds: time::now().seconds - age,
            nanoseconds: 0,
        };
        let mut file = LockFile {
            time: time::format(taken),
            exclusive: false,
            changes_snapshots: false,
            waits: false,
            hostname: "elsewhere".to_owned(),
            username: "operator".to_owned(),
            pid: 4711,
            released: Vec::new(),
        };
        change(&mut file);
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
        let held = Lock::take(core, "here", Share::Others).await.ok().unwrap();
        assert_eq!(count().await, 4);
        held.release().await;
        assert_eq!(count().await, 3);

        let exclusive = lock(core, true, STALE_SECONDS - 60).await;
        let refused = Lock::take(core, "here", Share::Others).await.err();
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

    #[tokio::test]
    async fn who_works_alone_waits_for_the_living_and_removes_the_dead() {
        let vault = Vault::init(Arc::new(MemoryStore::new()), &"x".into(), InitOptions::default())
            .await
            .unwrap();
        let core = &vault.core;
        let run = Lock::take(core, "here", Share::Others).await.ok().unwrap();
        let refused = Lock::take(core, "here", Share::Nobody).await.err();
        assert!(matches!(refused, Some(WriteError::Locked { by, .. }) if by.pid == std::process::id()));
        run.release().await;

        let dead = lock(core, false, STALE_SECONDS + 5).await;
        let living = lock(core, false, 10).await;
        assert!(matches!(Lock::take(core, "here", Share::Nobody).await.err(), Some(WriteError::Locked { by, .. }) if by.lock == living));
        assert_eq!(unlock(core, "here", false).await.unwrap(), [dead]);
        // 4711 is no process of the host that it says, if that is this one.
        assert!(!is_running(u32::MAX / 2));
        assert_eq!(unlock(core, "here", true).await.unwrap(), [living]);

        lock(core, true, STALE_SECONDS + 5).await;
        let alone = Lock::take(core, "here", Share::Nobody).await.ok().unwrap();
        assert_eq!(access::list(&*core.store, "locks/").await.unwrap().len(), 1);
        assert!(matches!(
            Lock::take(core, "here", Share::Others).await.err(),
            Some(WriteError::Locked { .. })
        ));
        assert!(matches!(
            Lock::take(core, "here", Share::Nobody).await.err(),
            Some(WriteError::Locked { .. })
        ));
        alone.held().check().await.unwrap();
        alone.release().await;
        assert!(access::list(&*core.store, "locks/").await.unwrap().is_empty());
    }

    /// Lets nobody remove anything, and may take its time to say so.
    #[derive(Default)]
    struct Additive {
        pause: Duration,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl Hook for Additive {
        async fn before(&self, call: Call<'_>) {
            if matches!(call, Call::Delete(_)) {
                self.asked.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(self.pause).await;
            }
        }

        fn refusal(&self, call: Call<'_>) -> Option<Fault> {
            matches!(call, Call::Delete(_)).then(|| Fault::new(FaultKind::PermissionDenied, "nothing is removed here"))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_refuses_removal_late_is_left_all_the_same_and_one_that_did_is_not_asked_again() {
        let memory: Arc<MemoryStore> = Arc::new(MemoryStore::new());
        let password = "x".into();
        let whole = Vault::init(Arc::clone(&memory) as _, &password, InitOptions::default())
            .await
            .unwrap();
        for (pause, asked) in [(Duration::from_secs(1), 2), (Duration::ZERO, 1)] {
            let hook = Additive {
                pause,
                ..Additive::default()
            };
            let store = Hooked::new(Arc::clone(&memory) as _, hook);
            let additive = Vault::open(Arc::clone(&store) as _, &password).await.unwrap();
            for _ in 0..2 {
                Lock::take(&additive.core, "there", Share::Others)
                    .await
                    .ok()
                    .unwrap()
                    .release()
                    .await;
                Lock::take(&whole.core, "here", Share::Nobody).await.ok().unwrap().release().await;
            }
            assert_eq!(store.hook.asked.load(Ordering::SeqCst), asked);
        }
    }

    #[tokio::test]
    async fn a_lock_that_its_holder_may_not_remove_keeps_nobody_out_when_it_is_given_back() {
        let memory: Arc<MemoryStore> = Arc::new(MemoryStore::new());
        let password = "x".into();
        let whole = Vault::init(Arc::clone(&memory) as _, &password, InitOptions::default())
            .await
            .unwrap();
        let additive = Vault::open(Hooked::new(Arc::clone(&memory) as _, Additive::default()) as _, &password)
            .await
            .unwrap();
        let count = async || access::list(&*whole.core.store, "locks/").await.unwrap().len();
        // Refreshed often, but not lost where this machine stands still for a while.
        let timing = Timing {
            refresh: QUICK.refresh,
            ..Timing::NORMAL
        };
        let run = Lock::take_with(&additive.core, "there", Share::Others, timing).await.ok().unwrap();
        let are_several = async {
            while count().await < 3 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), are_several).await.unwrap();
        assert!(matches!(
            Lock::take(&whole.core, "here", Share::Nobody).await,
            Err(WriteError::Locked { .. })
        ));
        run.release().await;
        let left = count().await;
        assert!(left >= 4, "{left}: its locks, and that which releases them");
        // It adds, and another one who only adds does, too; who may remove sees that nobody is there.
        Lock::take(&additive.core, "elsewhere", Share::Others)
            .await
            .ok()
            .unwrap()
            .release()
            .await;
        let alone = Lock::take(&whole.core, "here", Share::Nobody).await.ok().unwrap();
        assert_eq!(count().await, 1, "the dead are removed");
        // Neither does one that came too late leave anything that holds.
        assert!(Lock::take(&additive.core, "there", Share::Others).await.is_err());
        alone.release().await;
        Lock::take(&whole.core, "here", Share::Nobody).await.ok().unwrap().release().await;
        assert_eq!(count().await, 0);
    }

    /// Fails once to remove something.
    #[derive(Default)]
    struct Fails(AtomicBool);

    #[async_trait]
    impl Hook for Fails {
        async fn before(&self, _: Call<'_>) {}

        fn refusal(&self, call: Call<'_>) -> Option<Fault> {
            let fails = matches!(call, Call::Delete(_)) && !self.0.swap(true, Ordering::SeqCst);
            fails.then(|| Fault::new(FaultKind::Internal, "not now"))
        }
    }

    #[tokio::test]
    async fn what_releases_a_lock_stays_as_long_as_the_lock() {
        let memory: Arc<MemoryStore> = Arc::new(MemoryStore::new());
        let password = "x".into();
        Vault::init(Arc::clone(&memory) as _, &password, InitOptions::default())
            .await
            .unwrap();
        let open = async |store: SharedStore| Vault::open(store, &password).await.unwrap();
        let additive = open(Hooked::new(Arc::clone(&memory) as _, Additive::default()) as _).await;
        let run = Lock::take(&additive.core, "there", Share::Others).await.ok().unwrap();
        run.release().await;
        // Who is alone removes both, and fails with the first.
        let failing = open(Hooked::new(Arc::clone(&memory) as _, Fails::default()) as _).await;
        let alone = Lock::take(&failing.core, "here", Share::Nobody).await.ok().unwrap();
        alone.release().await;
        assert_eq!(access::list(&*memory, "locks/").await.unwrap().len(), 2);
        let alone = Lock::take(&failing.core, "here", Share::Nobody).await.ok().unwrap();
        alone.release().await;
        assert!(access::list(&*memory, "locks/").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn one_at_a_time_changes_which_snapshots_there_are_and_those_who_add_go_on() {
        let vault = Vault::init(Arc::new(MemoryStore::new()), &"x".into(), InitOptions::default())
            .await
            .unwrap();
        let core = &vault.core;
        let run = Lock::take(core, "here", Share::Others).await.ok().unwrap();
        let first = Lock::take(core, "here", Share::Adders).await.ok().unwrap();
        let second = Lock::take(core, "here", Share::Adders).await.err();
        assert!(matches!(second, Some(WriteError::Locked { by, .. }) if !by.is_alone));
        let another_run = Lock::take(core, "here", Share::Others).await.ok().unwrap();
        assert!(matches!(
            Lock::take(core, "here", Share::Nobody).await,
            Err(WriteError::Locked { .. })
        ));
        first.release().await;
        run.release().await;
        another_run.release().await;
        let alone = Lock::take(core, "here", Share::Nobody).await.ok().unwrap();
        let refused = Lock::take(core, "here", Share::Adders).await.err();
        assert!(matches!(refused, Some(WriteError::Locked { by, .. }) if by.is_alone));
        alone.release().await;
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_made_for_one_who_can_take_it_and_not_for_ever() {
        let vault = Vault::init(Arc::new(MemoryStore::new()), &"x".into(), InitOptions::default())
            .await
            .unwrap();
        let core = &vault.core;
        let made_room = async || {
            let (room, since) = (Room::new(), tokio::time::Instant::now());
            room.make(core, "here").await.unwrap();
            since.elapsed()
        };
        // Somebody who was killed while waiting, on another host.
        waiting_lock(core, 60).await;
        assert!(made_room().await < LOOK_AGAIN);
        // In the future of a clock that differs by little: this test may take its time.
        waiting_lock(core, -20).await;
        assert!(made_room().await >= ROOM);
        // A run that makes no room keeps out who waits: nothing is won by waiting, too.
        let run = lock(core, false, 10).await;
        assert!(made_room().await < LOOK_AGAIN);
        access::delete(&*core.store, &key(run)).await.unwrap();
        // One who is alone in the vault, and longer than there is time.
        lock(core, true, 10).await;
        let begin = crate::BeginSnapshot {
            pipeline: "log".to_owned(),
            host: "here".to_owned(),
            time: time::now(),
            parent: None,
        };
        let since = tokio::time::Instant::now();
        let error = vault.begin_next(begin).await.err();
        assert!(matches!(error, Some(WriteError::Locked { by, .. }) if by.is_alone));
        assert!((ROOM..ROOM * 3 / 2).contains(&since.elapsed()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_says_so_again_and_again_until_stopped() {
        let vault = Vault::init(Arc::new(MemoryStore::new()), &"x".into(), InitOptions::default())
            .await
            .unwrap();
        let run = lock(&vault.core, false, 10).await;
        let (core, stop) = (Arc::clone(&vault.core), Stop::default());
        let stopping = stop.clone();
        let waiting = tokio::spawn(async move {
            let taken = Lock::take_alone(&core, "here", Duration::from_secs(3600), &stopping).await;
            taken.map(|_| ())
        });
        let locks = async || access::list_ids(&*vault.core.store, "locks/").await.unwrap();
        tokio::time::sleep(Timing::WAITING.refresh / 2).await;
        let first = locks().await;
        tokio::time::sleep(Timing::WAITING.refresh).await;
        let second = locks().await;
        assert!(first.len() == 2 && second.len() == 2 && first != second, "{first:?}, {second:?}");
        stop.stop();
        let ended = timeout(LOOK_AGAIN / 2, waiting).await.unwrap().unwrap();
        assert!(matches!(ended, Err(MaintenanceError::Stopped)), "{ended:?}");
        assert_eq!(locks().await, [run]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_is_refreshed_before_it_goes_stale() {
        let vault = Vault::init(Arc::new(MemoryStore::new()), &"x".into(), InitOptions::default())
            .await
            .unwrap();
        let held = Lock::take(&vault.core, "here", Share::Others).await.ok().unwrap();
        let first = access::list_ids(&*vault.core.store, "locks/").await.unwrap();
        tokio::time::sleep(Timing::NORMAL.refresh + Duration::from_secs(1)).await;
        let second = access::list_ids(&*vault.core.store, "locks/").await.unwrap();
        assert!(second.len() == 1 && first != second);
        held.release().await;
        assert!(access::list_ids(&*vault.core.store, "locks/").await.unwrap().is_empty());
    }
}
