//! Copies into a vault with another password and another chunker, with plain restic as the witness: what arrives, what a copy that was cut off leaves, and
//! what damage in the source leads to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bulkhead_model::FaultKind;
use bulkhead_vault::{
    Cause, CopyError, InitOptions, ObjectId, ObjectStore, SnapshotInfo, TagChange, Vault, WriteError, stores::MemoryStore,
};
use bytes::Bytes;

use crate::support::{
    Bench, Faulty, Misdeed, OPERATIONS, Operation, backup, begin, memory_vault, password, random, read, record, small_packs, verify, write,
};

/// Three snapshots that share most of their content.
async fn fill(vault: &Vault) -> Vec<SnapshotInfo> {
    let noise = random(5 << 20, 1);
    let mut snapshots = Vec::new();
    for number in 0..3 {
        let own = random(300_000, 10 + number);
        let files: [(&str, &[u8]); 4] = [
            ("folder/noise", &noise),
            ("folder/deep/own", &own),
            ("empty", b""),
            ("again/noise", &noise),
        ];
        snapshots.push(backup(vault, &files).await.snapshot);
    }
    snapshots
}

/// Copies these snapshots; returns what they became and how many bytes of content were copied.
async fn copy(from: &Vault, to: &Vault, snapshots: &[SnapshotInfo]) -> Result<(Vec<SnapshotInfo>, u64), CopyError> {
    let mut copier = to.copy_from(from, "here").await?;
    let bytes = AtomicU64::new(0);
    let count = |more| {
        bytes.fetch_add(more, Ordering::Relaxed);
    };
    let mut copied = Vec::new();
    let mut result = Ok(());
    for snapshot in snapshots {
        match copier.copy(snapshot.id, &count).await {
            Ok(snapshot) => copied.push(snapshot),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    copier.close().await;
    result.map(|()| (copied, bytes.into_inner()))
}

/// What restic says of copying from one repository to the other.
fn restic_copies(from: &Bench, to: &Bench) -> String {
    let password = from.path("password");
    fs::write(&password, crate::support::PASSWORD).unwrap();
    let (repository, password) = (from.restic.repository.to_str().unwrap(), password.to_str().unwrap());
    to.restic.ok(&["copy", "--from-repo", repository, "--from-password-file", password])
}

fn restored(bench: &Bench, snapshot: ObjectId, name: &str) -> std::path::PathBuf {
    let target = bench.path(name);
    bench
        .restic
        .ok(&["restore", &snapshot.to_string(), "--target", target.to_str().unwrap()]);
    target
}

fn assert_same(one: &Path, other: &Path) {
    let compared = Command::new("diff").arg("-r").arg(one).arg(other).output().unwrap();
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_restores_a_copy_and_has_nothing_left_to_copy() {
    let (from, to) = (Bench::new().await, Bench::new().await);
    let snapshots = fill(&from.vault).await;
    let (copied, bytes) = copy(&from.vault, &to.vault, &snapshots).await.unwrap();
    // The noise once, what each has of its own, and the records.
    assert!((5 << 20..7 << 20).contains(&bytes), "{bytes}");
    for (before, after) in snapshots.iter().zip(&copied) {
        assert_eq!(
            (before.tree, before.time, before.identity()),
            (after.tree, after.time, after.identity())
        );
        assert_eq!((&before.tags, &after.pipeline), (&after.tags, &before.pipeline));
        assert_eq!((after.original, after.parent), (Some(before.id), None));
    }
    to.restic.check();
    let [one, other] = [(&from, snapshots[1].id), (&to, copied[1].id)].map(|(bench, id)| restored(bench, id, "restored"));
    assert_same(&one, &other);
    let told = restic_copies(&from, &to);
    assert!(told.contains("skipping source snapshot") && !told.contains("saved"), "{told}");
    // And back: these are the ones it has.
    restic_copies(&to, &from);
    assert_eq!(from.reopen().await.snapshots().await.unwrap().len(), 3);
    // What is there already is neither read nor stored.
    let (_, bytes) = copy(&from.vault, &to.reopen().await, &snapshots).await.unwrap();
    assert_eq!(bytes, 0);
    assert!(to.restic.ok(&["list", "locks"]).trim().is_empty());
    assert!(from.restic.ok(&["list", "locks"]).trim().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_restic_has_copied_is_known() {
    let (from, to) = (Bench::new().await, Bench::new().await);
    let snapshots = fill(&from.vault).await;
    restic_copies(&from, &to);
    let identities = |snapshots: &[SnapshotInfo]| snapshots.iter().map(SnapshotInfo::identity).collect::<BTreeSet<_>>();
    let there = to.vault.snapshots().await.unwrap();
    assert_eq!(identities(&there), identities(&snapshots));
    // With other tags it is still the same.
    let change = TagChange::Set(vec!["kept".to_owned()]);
    let tagged = from
        .vault
        .tag(&[snapshots[0].id], &change, "here", &Default::default())
        .await
        .unwrap();
    assert_ne!(tagged[0].now, snapshots[0].id);
    assert_eq!(identities(&from.vault.snapshots().await.unwrap()), identities(&there));
}

/// An empty vault in memory, behind a store that can fail.
async fn target() -> (Arc<MemoryStore>, Arc<Faulty>) {
    let store = Arc::new(MemoryStore::new());
    Vault::init(store.clone(), &"another".into(), InitOptions::default()).await.unwrap();
    (store.clone(), Faulty::new(store))
}

async fn open(store: &Arc<Faulty>) -> Vault {
    Vault::open(store.clone(), &"another".into())
        .await
        .unwrap()
        .with_options(small_packs())
}

fn is_of_the_store(error: &WriteError) -> bool {
    match error {
        WriteError::Store(_) => true,
        WriteError::Cancelled {
            cause: Cause::Failed(error),
        } => is_of_the_store(error),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_write_fails_once_and_the_next_copy_goes_on() {
    let (source, _) = memory_vault().await;
    let source = Vault::open(source, &password()).await.unwrap();
    let snapshots = fill(&source).await;
    let mut failures = 0;
    for misdeed in [Misdeed::Fails(FaultKind::Io), Misdeed::FailsAfterwards(FaultKind::ConnectionLost)] {
        for number in 0.. {
            let (memory, store) = target().await;
            let vault = open(&store).await;
            store.misbehave(Operation::Put, number, misdeed);
            let copied = copy(&source, &vault, &snapshots).await;
            if store.misbehaved().is_none() {
                copied.unwrap();
                break;
            }
            failures += 1;
            let Err(CopyError::Target(error)) = copied else {
                panic!("put {number} went wrong and nobody said so");
            };
            assert!(is_of_the_store(&error), "{error}");
            // Whatever was committed is whole.
            memory.tamper(|objects| objects.retain(|key, _| !key.starts_with("locks/")));
            assert_eq!(verify(&open(&store).await).await.problems, []);
            let vault = open(&store).await;
            let (copied, _) = copy(&source, &vault, &snapshots).await.unwrap();
            assert_eq!(verify(&vault).await.problems, []);
            let reader = vault.read(copied[2].id).await.unwrap();
            assert!(read(&reader, "folder/deep/own").await == random(300_000, 12));
            assert_eq!(store.list("locks/").await.unwrap(), []);
        }
    }
    // Packs, index files, snapshots and locks, each in both ways.
    assert!(failures > 20, "{failures}");
}

/// A store with a vault in it, which is put back to what it was before each attempt.
struct Side {
    memory: Arc<MemoryStore>,
    objects: BTreeMap<String, Bytes>,
    password: &'static str,
}

impl Side {
    async fn new(password: &'static str, snapshots: u64) -> Self {
        let memory = Arc::new(MemoryStore::new());
        let vault = Vault::init(memory.clone(), &password.into(), InitOptions::default()).await.unwrap();
        for number in 0..snapshots {
            let own = random(200_000, number);
            backup(&vault, &[("shared", b"in all of them"), ("folder/own", &own)]).await;
        }
        let objects = memory.tamper(|objects| objects.clone());
        Self { memory, objects, password }
    }

    /// As it was, behind a store that can fail.
    async fn begin(&self) -> (Arc<Faulty>, Vault) {
        self.memory.tamper(|objects| objects.clone_from(&self.objects));
        let store = Faulty::new(self.memory.clone());
        let vault = Vault::open(store.clone(), &self.password.into()).await.unwrap();
        (store, vault.with_options(small_packs()))
    }

    /// Another process, when locks of those who are gone count for nothing.
    async fn reopen(&self) -> Vault {
        self.memory.tamper(|objects| objects.retain(|key, _| !key.starts_with("locks/")));
        Vault::open(self.memory.clone(), &self.password.into()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_copy_goes_wrong_once_at_either_end() {
    let (source, target) = (Side::new("one", 2).await, Side::new("other", 0).await);
    let snapshots = source.reopen().await.snapshots().await.unwrap();
    let spoils = [Misdeed::Truncates, Misdeed::FlipsBit];
    let mut met = 0;
    for (at_source, operation) in [true, false]
        .into_iter()
        .flat_map(|side| OPERATIONS.map(|operation| (side, operation)))
    {
        // What is stored wrong is for the store to notice, by its digest.
        let misdeeds = spoils.into_iter().filter(|_| operation == Operation::Get);
        for misdeed in misdeeds.map(Some).chain([Some(Misdeed::Hangs), None]) {
            // The first ones, and then some of those that do the same again.
            for number in (0..4).chain((4..).step_by(4)) {
                let refusal = [FaultKind::StorageFull, FaultKind::PermissionDenied][number % 2];
                let misdeed = misdeed.unwrap_or(Misdeed::Fails(refusal));
                let ((from, source_vault), (to, target_vault)) = (source.begin().await, target.begin().await);
                let failing = if at_source { &from } else { &to };
                failing.misbehave(operation, number, misdeed);
                let copied = tokio::select! {
                    copied = copy(&source_vault, &target_vault, &snapshots) => Some(copied),
                    () = failing.hangs() => None,
                };
                let case = format!("{operation:?} {number} {misdeed:?} at the source: {at_source}");
                if failing.misbehaved().is_none() {
                    assert!(matches!(copied, Some(Ok(_))), "{case}: {copied:?}");
                    break;
                }
                met += 1;
                // What is committed is whole, and the source as it was.
                let there = target.reopen().await;
                let report = verify(&there).await;
                assert_eq!(report.problems, [], "{case}");
                if let Some(Ok((copied, _))) = &copied {
                    assert_eq!(there.snapshots().await.unwrap().len(), copied.len(), "{case}");
                }
                let again = copy(&source_vault, &there, &snapshots).await;
                let (copied, _) = again.unwrap_or_else(|error| panic!("{case}: {error}"));
                source.memory.tamper(|objects| objects.retain(|key, _| !key.starts_with("locks/")));
                assert_eq!(source.memory.tamper(|objects| objects.clone()), source.objects, "{case}");
                assert_eq!(there.snapshots().await.unwrap().len(), copied.len(), "{case}: each once");
                for (before, copy) in snapshots.iter().zip(&copied) {
                    let (before, copy) = (source_vault.read(before.id).await.unwrap(), there.read(copy.id).await.unwrap());
                    assert!(read(&before, "folder/own").await == read(&copy, "folder/own").await, "{case}");
                }
            }
        }
    }
    assert!(met > 40, "{met}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_nobody_waits_for_any_more_leaves_a_whole_vault() {
    let (source, _) = memory_vault().await;
    let source = Vault::open(source, &password()).await.unwrap();
    let size = 130 << 20;
    let snapshots = [backup(&source, &[("noise", &random(size, 3))]).await.snapshot];
    let (memory, store) = target().await;
    // At the lock, at packs, and at last behind an index file.
    for put in [0, 1, 20, 46] {
        let vault = open(&store).await;
        store.misbehave(Operation::Put, put, Misdeed::Hangs);
        tokio::select! {
            copied = copy(&source, &vault, &snapshots) => panic!("put {put} was to hang: {copied:?}"),
            () = store.hangs() => {}
        }
        memory.tamper(|objects| objects.retain(|key, _| !key.starts_with("locks/")));
        assert_eq!(verify(&open(&store).await).await.problems, []);
    }
    let (copied, bytes) = copy(&source, &open(&store).await, &snapshots).await.unwrap();
    assert!(
        bytes < size as u64 * 2 / 3,
        "{bytes} bytes: what had been stored was not found again"
    );
    assert_eq!(verify(&open(&store).await).await.problems, []);
    let reader = open(&store).await.read(copied[0].id).await.unwrap();
    assert!(read(&reader, "noise").await == random(size, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_source_costs_the_snapshots_that_it_reaches() {
    let (objects, first) = memory_vault().await;
    let packs = |objects: &MemoryStore| {
        objects.tamper(|objects| {
            objects
                .keys()
                .filter(|key| key.starts_with("data/"))
                .cloned()
                .collect::<BTreeSet<_>>()
        })
    };
    let before = packs(&objects);
    let source = Vault::open(objects.clone(), &password()).await.unwrap().with_options(small_packs());
    let writer = source.begin(begin(None)).await.unwrap();
    write(&writer, "large", &random(4 << 20, 5)).await.unwrap();
    write(&writer, "small", b"it is here").await.unwrap();
    let second = writer.commit(record()).await.unwrap().snapshot;
    let third = backup(&source, &[("small", b"it is here"), ("other", b"other")]).await.snapshot;
    let largest = packs(&objects)
        .difference(&before)
        .max_by_key(|key| objects.tamper(|objects| objects[*key].len()))
        .unwrap()
        .clone();
    objects.tamper(|objects| {
        let mut damaged = objects[&largest].to_vec();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        objects.insert(largest.clone(), damaged.into());
    });
    let (_, store) = target().await;
    let vault = open(&store).await;
    let mut copier = vault.copy_from(&source, "here").await.unwrap();
    let failed = copier.copy(second.id, &|_| ()).await;
    assert!(
        matches!(&failed, Err(CopyError::Source(bulkhead_vault::ReadError::Corrupt(error))) if error.object == largest),
        "{failed:?}"
    );
    // The others, also what they share with it.
    copier.copy(first.snapshot.id, &|_| ()).await.unwrap();
    copier.copy(third.id, &|_| ()).await.unwrap();
    copier.close().await;
    let there = vault.snapshots().await.unwrap();
    assert_eq!(
        there.iter().filter_map(|snapshot| snapshot.original).collect::<BTreeSet<_>>(),
        BTreeSet::from([first.snapshot.id, third.id])
    );
    assert_eq!(verify(&vault).await.problems, []);
    let gone = copy(
        &source,
        &vault,
        &[SnapshotInfo {
            id: ObjectId::of(b"none"),
            ..third
        }],
    )
    .await;
    assert!(matches!(gone, Err(CopyError::Source(bulkhead_vault::ReadError::NoSuchSnapshot(_)))));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_at_once_store_a_snapshot_once() {
    let (from, to) = (Bench::new().await, Bench::new().await);
    let snapshots = fill(&from.vault).await;
    // Both have begun, and found the target empty, before either has stored anything.
    let (other_from, other_to) = (from.reopen().await, to.reopen().await);
    let mut slow = other_to.copy_from(&other_from, "there").await.unwrap();
    let first = slow.copy(snapshots[0].id, &|_| ()).await.unwrap();
    let (copied, _) = copy(&from.vault, &to.vault, &snapshots).await.unwrap();
    assert_eq!(copied[0], first);
    for (snapshot, there) in snapshots.iter().zip(&copied) {
        assert_eq!(slow.copy(snapshot.id, &|_| ()).await.unwrap(), *there);
    }
    // What was forgotten meanwhile is copied again.
    let forgotten = to.vault.forget(&[copied[1].id], "here", &Default::default()).await;
    assert!(forgotten.error.is_none());
    let again = slow.copy(snapshots[1].id, &|_| ()).await.unwrap();
    assert_ne!(again.id, copied[1].id);
    slow.close().await;
    let there = to.reopen().await.snapshots().await.unwrap();
    assert_eq!(
        there.iter().map(|snapshot| snapshot.id).collect::<BTreeSet<_>>(),
        BTreeSet::from([copied[0].id, again.id, copied[2].id])
    );
    to.restic.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_is_not_copied_into_itself() {
    let bench = Bench::new().await;
    let refused = bench.vault.copy_from(&bench.reopen().await, "here").await;
    let Err(CopyError::SameVault { id }) = refused else {
        panic!("it was copied into itself");
    };
    assert_eq!(id, bench.vault.id());
    assert!(bench.restic.ok(&["list", "locks"]).trim().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_works_alone_is_disturbed() {
    let (from, to) = (Bench::new().await, Bench::new().await);
    let copier = to.vault.copy_from(&from.vault, "here").await.unwrap();
    // Neither of them can be pruned meanwhile.
    for bench in [&from, &to] {
        let pruned = bench.restic.run(&["prune"]);
        assert!(!pruned.status.success());
        assert!(String::from_utf8_lossy(&pruned.stderr).contains("already locked"));
    }
    copier.close().await;
    for bench in [&from, &to] {
        bench.restic.ok(&["prune"]);
    }
}
