//! What a run checks about itself and its callers before it commits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bulkhead_model::{EntryMetadata, NodeType};
use bulkhead_vault::{Cause, Hint as _, InitError, InitOptions, ObjectId, ReadError, ResolveError, Vault, WriteError, stores::MemoryStore};
use bytes::Bytes;
use tokio::sync::{Notify, Semaphore};

use crate::support::{Call, Hook, Hooked, backup, begin, file, memory_vault, password, path, random, read, record, small_packs, write};

/// Panics in the pack that a test chooses, and lets packs through one permit at a time.
struct Odd {
    packs: AtomicUsize,
    /// Told of each pack.
    begun: Notify,
    panic_at: usize,
    gate: Semaphore,
}

impl Odd {
    fn new(inner: &Arc<MemoryStore>, panic_at: usize, open: bool) -> Arc<Hooked<Self>> {
        let odd = Self {
            packs: AtomicUsize::new(0),
            begun: Notify::new(),
            panic_at,
            gate: Semaphore::new(if open { Semaphore::MAX_PERMITS } else { 0 }),
        };
        Hooked::new(inner.clone(), odd)
    }
}

#[async_trait]
impl Hook for Odd {
    async fn before(&self, call: Call<'_>) {
        if let Call::Put(key, _) = call
            && key.starts_with("data/")
        {
            let number = self.packs.fetch_add(1, Ordering::SeqCst);
            self.begun.notify_one();
            assert_ne!(number, self.panic_at, "a defect in the store");
            self.gate.acquire().await.unwrap().forget();
        }
    }
}

async fn open(store: &Arc<Hooked<Odd>>) -> Vault {
    Vault::open(store.clone(), &password()).await.unwrap().with_options(small_packs())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_any_pack_is_stored_fails_the_run() {
    let mut panic_at = 0;
    loop {
        let (memory, _) = memory_vault().await;
        let store = Odd::new(&memory, panic_at, true);
        let vault = open(&store).await;
        let writer = vault.begin(begin(None)).await.unwrap();
        let written = write(&writer, "large", &random(16 << 20, 7)).await;
        let committed = writer.commit(record()).await;
        if store.hook.packs.load(Ordering::SeqCst) <= panic_at {
            committed.unwrap();
            break;
        }
        assert!(committed.is_err(), "committed without pack {panic_at}; the entry: {written:?}");
        assert_eq!(vault.snapshots().await.unwrap().len(), 1);
        panic_at += 1;
    }
    // Two at least have content: a pack has less than 1 MiB when its last chunk comes, and that has 8 MiB at most.
    assert!(panic_at >= 2, "only {panic_at} packs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_dropped_midway_fails_the_run() {
    for zeros in [false, true] {
        let (memory, _) = memory_vault().await;
        let store = Odd::new(&memory, usize::MAX, false);
        let vault = open(&store).await;
        let writer = vault.begin(begin(None)).await.unwrap();
        let mut entry = writer.create(path("large"), file()).await.unwrap();
        let call = async {
            for seed in 0.. {
                entry.write(random(1 << 20, seed).into()).await.unwrap();
            }
        };
        assert!(tokio::time::timeout(Duration::from_millis(700), call).await.is_err());
        // The store goes on, and so does a caller that knows no better.
        store.hook.gate.add_permits(1000);
        let next = if zeros {
            entry.write_zeros(10).await
        } else {
            entry.write(Bytes::from_static(b"next")).await
        };
        let dropped = matches!(
            &next,
            Err(WriteError::Cancelled {
                cause: Cause::CallDropped(_)
            })
        );
        assert!(dropped, "{next:?}");
        assert!(writer.commit(record()).await.is_err());
        assert_eq!(vault.snapshots().await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_come_during_or_after_the_commit_are_refused() {
    let (memory, first) = memory_vault().await;
    let store = Odd::new(&memory, usize::MAX, false);
    let vault = open(&store).await;
    let writer = Arc::new(vault.begin(begin(Some(first.snapshot.id))).await.unwrap());
    write(&writer, "early", &random(1000, 1)).await.unwrap();
    let commit = tokio::spawn({
        let writer = writer.clone();
        async move { writer.commit(record()).await }
    });
    store.hook.begun.notified().await;
    let late = [
        writer.create(path("late"), file()).await.map(drop),
        writer.add(path("folder"), EntryMetadata::private(NodeType::Directory)).await,
        writer.keep(path("first")).await.map(drop),
    ];
    assert!(late.iter().all(|late| matches!(late, Err(WriteError::TooLate(_)))), "{late:?}");
    store.hook.gate.add_permits(1000);
    let committed = commit.await.unwrap().unwrap();
    assert_eq!((committed.stats.entries, committed.stats.bytes), (1, 1000));
    let reader = vault.read(committed.snapshot.id).await.unwrap();
    let mut walk = reader.walk(&path("")).await.unwrap();
    assert_eq!(walk.next().await.unwrap().unwrap().path, path("early"));
    assert!(walk.next().await.unwrap().is_none());
    assert!(matches!(
        writer.create(path("late"), file()).await.map(drop),
        Err(WriteError::Cancelled { cause: Cause::Committed })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_lock_was_removed_does_not_commit() {
    let (memory, _) = memory_vault().await;
    let vault = Vault::open(memory.clone(), &password()).await.unwrap();
    let writer = vault.begin(begin(None)).await.unwrap();
    write(&writer, "file", b"content").await.unwrap();
    memory.tamper(|objects| objects.retain(|key, _| !key.starts_with("locks/")));
    let error = writer.commit(record()).await.unwrap_err();
    assert!(matches!(error, WriteError::LockLost { .. }), "{error}");
    assert_eq!(vault.snapshots().await.unwrap().len(), 1);
}

#[tokio::test]
async fn endless_zeros_end_in_an_error_and_let_others_have_their_turn() {
    let (memory, _) = memory_vault().await;
    let vault = Vault::open(memory, &password()).await.unwrap();
    let writer = vault.begin(begin(None)).await.unwrap();
    let mut entry = writer.create(path("endless"), file()).await.unwrap();
    let turns = Arc::new(AtomicUsize::new(0));
    let other = tokio::spawn({
        let turns = turns.clone();
        async move {
            loop {
                turns.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        }
    });
    let error = entry.write_zeros(u64::MAX).await.unwrap_err();
    assert!(matches!(error, WriteError::TooManyChunks { .. }), "{error}");
    assert!(turns.load(Ordering::SeqCst) > 1000);
    other.abort();
    assert!(writer.commit(record()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_nested_folders_are_stored_kept_and_read() {
    let (memory, _) = memory_vault().await;
    let vault = Vault::open(memory, &password()).await.unwrap();
    let deep = vec!["d"; 2047].join("/") + "/f";
    let writer = vault.begin(begin(None)).await.unwrap();
    write(&writer, &deep, b"deep").await.unwrap();
    let first = writer.commit(record()).await.unwrap();
    let writer = vault.begin(begin(Some(first.snapshot.id))).await.unwrap();
    let kept = writer.keep(path("d")).await.unwrap();
    assert_eq!(kept.size, 4);
    let second = writer.commit(record()).await.unwrap();
    let reader = vault.read(second.snapshot.id).await.unwrap();
    assert_eq!(read(&reader, &deep).await, b"deep");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_does_not_hide_the_latest() {
    let (memory, _) = memory_vault().await;
    let vault = Vault::open(memory.clone(), &password()).await.unwrap();
    let damaged = backup(&vault, &[("file", b"1")]).await.snapshot.id;
    let mut later = begin(None);
    later.time.seconds += 1;
    let writer = vault.begin(later).await.unwrap();
    write(&writer, "file", b"2").await.unwrap();
    let good = writer.commit(record()).await.unwrap().snapshot.id;
    memory.tamper(|objects| objects.insert(format!("snapshots/{damaged}"), Bytes::from_static(b"no snapshot")));
    // Nor may one stand under another's name.
    let other = ObjectId::of(b"other");
    memory.tamper(|objects| {
        let copy = objects.get(&format!("snapshots/{good}")).cloned().unwrap();
        objects.insert(format!("snapshots/{other}"), copy)
    });
    assert_eq!(vault.resolve("latest", Some("test")).await.unwrap().id, good);
    assert!(matches!(
        vault.resolve(&damaged.to_string(), None).await,
        Err(ResolveError::Read(ReadError::Corrupt(_)))
    ));
    assert!(matches!(vault.read(other).await.map(drop), Err(ReadError::Corrupt(_))));
    assert!(matches!(vault.snapshots().await, Err(ReadError::Corrupt(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_creation_is_told_from_a_vault() {
    let (memory, _) = memory_vault().await;
    memory.tamper(|objects| objects.remove("config"));
    let error = Vault::init(memory, &password(), InitOptions::default()).await.err().unwrap();
    assert!(matches!(error, InitError::Incomplete { .. }), "{error}");
    assert!(error.hint().unwrap().contains("keys/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_content_is_recognised_without_reading_it() {
    let (memory, _) = memory_vault().await;
    let vault = Vault::open(memory, &password()).await.unwrap();
    let content = random(3 << 20, 5);
    let other = random(3 << 20, 6);
    let snapshot = backup(&vault, &[("a", &content), ("b", &content), ("c", &other)]).await;
    let reader = vault.read(snapshot.snapshot.id).await.unwrap();
    let digest = async |name: &str| reader.stat(&path(name)).await.unwrap().content;
    assert!(digest("a").await.is_some());
    assert_eq!(digest("a").await, digest("b").await);
    assert_ne!(digest("a").await, digest("c").await);
    assert_eq!(digest("").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_behind_damage() {
    let (memory, _) = memory_vault().await;
    let vault = Vault::open(memory.clone(), &password()).await.unwrap().with_options(small_packs());
    let before = memory.tamper(|objects| objects.clone());
    let snapshot = backup(&vault, &[("file", &random(16 << 20, 8))]).await;
    let reader = vault.read(snapshot.snapshot.id).await.unwrap();
    let packs = memory.tamper(|objects| objects.clone()).into_iter();
    let mut damaged = 0;
    for (key, pack) in packs.filter(|(key, _)| key.starts_with("data/") && !before.contains_key(key)) {
        let mut entry = reader.open(&path("file")).await.unwrap();
        memory.tamper(|objects| objects.remove(&key));
        let failed = loop {
            match entry.read_next(1 << 20).await {
                Ok(Some(_)) => {}
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        if failed {
            damaged += 1;
            for _ in 0..20 {
                assert!(entry.read_next(1 << 20).await.is_err(), "something was read from behind the damage");
            }
        }
        memory.tamper(|objects| objects.insert(key, pack));
    }
    // A pack has less than 1 MiB when its last chunk comes, and that has 8 MiB at most.
    assert!(damaged >= 2, "only {damaged} packs");
}
