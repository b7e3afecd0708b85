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
