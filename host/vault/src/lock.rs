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
mod tests;
