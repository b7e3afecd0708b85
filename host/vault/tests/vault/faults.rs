//! A run that does not finish whole never commits, and an error anywhere stops it within a second.

use std::{
    fs,
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use bulkhead_model::{EntryMetadata, NodeType};
use bulkhead_vault::{Cause, SnapshotWriter, Vault, WriteError, stores::MemoryStore};
use bytes::Bytes;

use crate::{
    every_call::nothing_lingers,
    support::{Faulty, begin, file, memory_vault, password, path, random, read, record, small_packs, verify, write},
};

/// Within which time a failure must have reached everyone.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How often a test may try to be that quick.
const ATTEMPTS: usize = 5;

async fn open(store: &Arc<Faulty>) -> Vault {
    Vault::open(store.clone(), &password()).await.unwrap().with_options(small_packs())
}

/// Content of several packs, some text, and a folder.
async fn fill(writer: &SnapshotWriter) -> Result<(), WriteError> {
    write(writer, "new/large", &random(9 << 20, 7)).await?;
    write(writer, "new/text", &vec![b'x'; 1 << 20]).await?;
    for number in 0..20 {
        write(writer, format!("small/{number}"), &random(1000, number)).await?;
    }
    Ok(())
}

/// Carries out `scenario`, which returns how long a failure took to reach everyone, until that was at once: as we would have seen it, had no other
/// program kept us from running.
async fn at_once(scenario: impl AsyncFn() -> Duration) {
    let mut times = Vec::new();
    while !times.iter().any(|time| *time < AT_ONCE) {
        assert!(times.len() < ATTEMPTS, "a failure took {times:?} to reach everyone");
        let time = scenario().await;
        times.push(time.div_f64(crowding()));
    }
}

/// How many times longer a thread takes for its work just now than on an idle machine: the time in which it ran or could have run, by that in which
/// it ran (`Documentation/scheduler/sched-stats.rst` of Linux).
fn crowding() -> f64 {
    let times = || -> [u64; 2] {
        let statistics = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        let mut numbers = statistics.split_whitespace().map(|number| number.parse().unwrap());
        [numbers.next().unwrap(), numbers.next().unwrap()]
    };
    let before = times();
    random(32 << 20, 1);
    let [ran, waited] = [0, 1].map(|field| (times()[field] - before[field]) as f64);
    if ran > 0.0 { (ran + waited) / ran } else { 1.0 }
}

async fn only_the_first_snapshot_is_there(memory: &Arc<MemoryStore>) {
    let vault = Vault::open(memory.clone(), &password()).await.unwrap();
    let snapshots = vault.snapshots().await.unwrap();
    assert_eq!(snapshots.len(), 1);
    let reader = vault.read(snapshots[0].id).await.unwrap();
    assert_eq!(read(&reader, "first").await, random(3 << 20, 100));
    assert_eq!(verify(&vault).await.problems, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_fails_fails_the_run_whichever_it_is() {
    // How many packs there are depends on which thread is first; so every kind of object is counted for itself.
    for (kind, at_least) in [("locks/", 1), ("data/", 3), ("index/", 1), ("snapshots/", 1)] {
        let mut number = 0;
        loop {
            let (memory, _) = memory_vault().await;
            let store = Faulty::new(memory.clone());
            let vault = open(&store).await;
            store.fail_put(kind, number);
            let outcome = match vault.begin(begin(None)).await {
                Ok(writer) => match fill(&writer).await {
                    Ok(()) => writer.commit(record()).await.map(drop),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            drop(vault);
            nothing_lingers(&store).await;
            let Err(error) = outcome else { break };
            let text = format!("{error:?}");
            assert!(text.contains("StorageFull"), "{kind} {number}: {text}");
            only_the_first_snapshot_is_there(&memory).await;
            number += 1;
        }
        assert!(number >= at_least, "only {number} puts of {kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_says_whether_the_snapshot_may_be_there() {
    for stores in [false, true] {
        let (memory, _) = memory_vault().await;
        let store = Faulty::new(memory.clone());
        store.stores_and_fails.store(stores, Ordering::SeqCst);
        let vault = open(&store).await;
        let writer = vault.begin(begin(None)).await.unwrap();
        fill(&writer).await.unwrap();
        store.fail_put("snapshots/", 0);
        assert!(writer.commit(record()).await.is_err());
        assert_eq!(writer.may_be_committed(), stores);
        assert_eq!(vault.snapshots().await.unwrap().len(), 1 + usize::from(stores));
        assert_eq!(verify(&vault).await.problems, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_after_any_put_leaves_a_good_vault() {
    let (memory, first) = memory_vault().await;
    let store = Faulty::with_history(memory, Some(Mutex::default()));
    let vault = open(&store).await;
    let writer = vault.begin(begin(Some(first.snapshot.id))).await.unwrap();
    writer.keep(path("folder")).await.unwrap();
    fill(&writer).await.unwrap();
    writer.commit(record()).await.unwrap();
    let history = std::mem::take(&mut *store.history.as_ref().unwrap().lock().unwrap());
    // The lock, content, trees, the index, the snapshot, each at least once.
    assert!(history.len() >= 5, "only {} puts", history.len());
    let last = history.len() - 1;
    for (number, objects) in history.into_iter().enumerate() {
        let memory = Arc::new(MemoryStore::new());
        memory.tamper(|empty| *empty = objects);
        let vault = Vault::open(memory, &password()).await.unwrap();
        assert_eq!(vault.snapshots().await.unwrap().len(), if number == last { 2 } else { 1 });
        assert_eq!(verify(&vault).await.problems, [], "after put {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_reaches_all_writers_at_once() {
    at_once(async || {
        let (memory, _) = memory_vault().await;
        let store = Faulty::new(memory.clone());
        let vault = open(&store).await;
        let writer = Arc::new(vault.begin(begin(None)).await.unwrap());
        store.fail_put("data/", 2);
        let mut endless = Vec::new();
        for number in 0..4 {
            // Begun before any of them can have failed.
            let mut entry = writer.create(path(format!("{number}")), file()).await.unwrap();
            endless.push(async move {
                for seed in 0.. {
                    if let Err(error) = entry.write(random(1 << 20, number * 1_000_000 + seed).into()).await {
                        return (error, Instant::now());
                    }
                }
                unreachable!()
            });
        }
        let endless: Vec<_> = endless.into_iter().map(tokio::spawn).collect();
        let failed = writer.failed().await;
        let begun = Instant::now();
        assert!(matches!(failed, WriteError::Cancelled { cause: Cause::Failed(_) }), "{failed}");
        let mut last = begun;
        for task in endless {
            let (error, when) = task.await.unwrap();
            assert!(matches!(error, WriteError::Cancelled { .. }), "{error}");
            last = last.max(when);
        }
        assert!(writer.commit(record()).await.is_err());
        drop((vault, writer));
        nothing_lingers(&store).await;
        only_the_first_snapshot_is_there(&memory).await;
        last - begun
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_is_left_by_abort() {
    at_once(async || {
        let (memory, _) = memory_vault().await;
        let store = Faulty::new(memory.clone());
        let vault = open(&store).await;
        let writer = Arc::new(vault.begin(begin(None)).await.unwrap());
        store.hang_from.store(2, Ordering::SeqCst);
        let task = {
            let writer = writer.clone();
            tokio::spawn(async move { write(&writer, "endless", &random(100 << 20, 1)).await })
        };
        store.hangs().await;
        assert!(!task.is_finished(), "nothing holds the writer back");
        let begun = Instant::now();
        writer.abort().await;
        assert!(matches!(task.await.unwrap(), Err(WriteError::Cancelled { cause: Cause::Aborted })));
        drop((vault, writer));
        nothing_lingers(&store).await;
        let time = begun.elapsed();
        only_the_first_snapshot_is_there(&memory).await;
        time
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_hangs_is_cancelled_by_dropping_it() {
    at_once(async || {
        let (memory, _) = memory_vault().await;
        let store = Faulty::new(memory.clone());
        let vault = open(&store).await;
        let writer = vault.begin(begin(None)).await.unwrap();
        fill(&writer).await.unwrap();
        store.hang_from.store(0, Ordering::SeqCst);
        assert!(
            tokio::time::timeout(Duration::from_millis(300), writer.commit(record()))
                .await
                .is_err()
        );
        let begun = Instant::now();
        drop((vault, writer));
        nothing_lingers(&store).await;
        let time = begun.elapsed();
        only_the_first_snapshot_is_there(&memory).await;
        time
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn giving_up_an_entry_or_the_run_commits_nothing() {
    let (memory, _) = memory_vault().await;
    let store = Faulty::new(memory.clone());
    let vault = open(&store).await;
    let writer = vault.begin(begin(None)).await.unwrap();
    let mut entry = writer.create(path("given-up"), file()).await.unwrap();
    entry.write(Bytes::from_static(b"half")).await.unwrap();
    drop(entry);
    let error = writer.commit(record()).await.unwrap_err();
    assert!(
        matches!(
            error,
            WriteError::Cancelled {
                cause: Cause::EntryDropped(_)
            }
        ),
        "{error}"
    );
    drop(writer);

    let writer = vault.begin(begin(None)).await.unwrap();
    let entry = writer.create(path("open"), file()).await.unwrap();
    assert!(matches!(writer.commit(record()).await, Err(WriteError::Unfinished(1))));
    drop((entry, writer));

    let writer = vault.begin(begin(None)).await.unwrap();
    let mut entry = writer.create(path("orphan"), file()).await.unwrap();
    drop(writer);
    assert!(matches!(
        entry.write(Bytes::from_static(b"x")).await,
        Err(WriteError::Cancelled { cause: Cause::RunDropped })
    ));
    drop((entry, vault));
    nothing_lingers(&store).await;
    only_the_first_snapshot_is_there(&memory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_cannot_be_fails_the_run() {
    let (memory, _) = memory_vault().await;
    let vault = Vault::open(memory, &password()).await.unwrap();
    let folder = || EntryMetadata::private(NodeType::Directory);
    for bad in ["taken", "taken/below", "folder", ".bulkhead", ".bulkhead/x", ""] {
        let writer = vault.begin(begin(None)).await.unwrap();
        write(&writer, "taken", b"1").await.unwrap();
        write(&writer, "folder/file", b"2").await.unwrap();
        let refused = write(&writer, bad, b"3").await.unwrap_err();
        let expected = match bad {
            "taken" | "folder" => matches!(refused, WriteError::DuplicateEntry(_)),
            "taken/below" => matches!(refused, WriteError::NotAFolder { .. }),
            _ => matches!(refused, WriteError::ReservedPath(_)),
        };
        assert!(expected, "{bad}: {refused}");
        assert!(writer.commit(record()).await.is_err());
    }
    let writer = vault.begin(begin(None)).await.unwrap();
    write(&writer, "late/file", b"").await.unwrap();
    writer.add(path("late"), folder()).await.unwrap();
    assert!(matches!(
        writer.add(path("late"), folder()).await,
        Err(WriteError::DuplicateEntry(_))
    ));
    let writer = vault.begin(begin(None)).await.unwrap();
    assert!(matches!(
        writer.create(path("x"), folder()).await,
        Err(WriteError::WrongType { .. })
    ));
    assert_eq!(vault.snapshots().await.unwrap().len(), 1);
}
