//! Each call to the store goes wrong while somebody keeps house, one after the other: whatever comes of it, what is to stay is whole, the error says what
//! happened, and the next attempt finishes without anybody's help but for the lock of the dead.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bulkhead_model::FaultKind;
use bulkhead_vault::{MaintenanceError, ObjectId, PruneLimit, PruneOptions, SnapshotInfo, Stop, TagChange, Vault, stores::MemoryStore};
use bytes::Bytes;

use crate::{
    every_call::Ends,
    support::{Faulty, Misdeed, OPERATIONS, Operation, backup, memory_vault, password, random, read, small_packs, verify},
};

const HOUR: Duration = Duration::from_secs(3600);

/// What is done with a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Forget,
    Tag,
    /// Removes at once what a forgotten snapshot alone needed, and rewrites packs for it.
    Prune,
    /// The same, with a grace time: nothing goes.
    Mark,
    /// The grace time is over.
    Delete,
    /// An index file is gone.
    RepairIndex,
}

/// A vault in which there is something to be done, to which each attempt begins anew.
struct House {
    work: Work,
    memory: Arc<MemoryStore>,
    objects: BTreeMap<String, Bytes>,
    /// Whose calls go wrong, and the vault as it shows it. Opened once, as the other: deriving a key takes longer than all else.
    store: Arc<Faulty>,
    vault: Vault,
    /// The vault as somebody else sees it.
    other: Vault,
    old: ObjectId,
    kept: ObjectId,
}

/// What the snapshot that is kept has alone, and what both have.
fn contents() -> (Vec<u8>, Vec<u8>) {
    (random(1_500_000, 2), random(1_500_000, 3))
}

impl House {
    async fn with(work: Work) -> Self {
        let (memory, first) = memory_vault().await;
        let other = Vault::open(memory.clone(), &password()).await.unwrap().with_options(small_packs());
        let (own, shared) = contents();
        let old = backup(&other, &[("gone", &random(1_500_000, 1)), ("shared", &shared)]).await;
        let kept = backup(&other, &[("own", &own), ("shared", &shared)]).await;
        let (old, kept) = (old.snapshot.id, kept.snapshot.id);
        let ids = [first.snapshot.id, old];
        if matches!(work, Work::Prune | Work::Mark | Work::Delete) {
            assert!(other.forget(&ids, "here", &Stop::default()).await.error.is_none());
        }
        match work {
            Work::Delete => prune(&other, HOUR).await.unwrap(),
            Work::RepairIndex => memory.tamper(|objects| {
                let index = objects.keys().find(|key| key.starts_with("index/")).cloned().unwrap();
                objects.remove(&index);
            }),
            _ => {}
        }
        let store = Faulty::new(memory.clone());
        let vault = Vault::open(store.clone(), &password()).await.unwrap().with_options(small_packs());
        Self {
            work,
            objects: memory.tamper(|objects| objects.clone()),
            memory,
            store,
            vault,
            other,
            old,
            kept,
        }
    }

    async fn work(&self, vault: &Vault) -> Result<(), MaintenanceError> {
        let stop = Stop::default();
        match self.work {
            Work::Forget => vault.forget(&[self.old], "here", &stop).await.error.map_or(Ok(()), Err),
            Work::Tag => {
                let change = TagChange::Set(vec!["yearly".to_owned()]);
                let untagged = self
                    .other
                    .snapshots()
                    .await
                    .unwrap()
                    .into_iter()
                    .filter(|snapshot| snapshot.tags.len() < 3);
                let ids: Vec<ObjectId> = untagged.map(|snapshot| snapshot.id).collect();
                vault.tag(&ids, &change, "here", &stop).await.map(drop)
            }
            Work::Prune => prune(vault, Duration::ZERO).await,
            Work::Mark => prune(vault, HOUR).await,
            Work::Delete => prune(vault, Duration::from_millis(1)).await,
            Work::RepairIndex => vault.repair_index(None, "here", &stop).await.map(drop),
        }
    }

    /// Works, but call `number` of one kind goes wrong; `None` where there is no such call.
    async fn work_badly(&self, operation: Operation, number: usize, misdeed: Misdeed) -> Option<(String, Result<(), MaintenanceError>)> {
        self.memory.tamper(|objects| objects.clone_from(&self.objects));
        self.store.misbehave(operation, number, misdeed);
        let result = self.work(&self.vault).await;
        Some((self.store.misbehaved()?, result))
    }

    /// What must be so whatever went wrong; then the next attempt, after which nothing is left to be done.
    async fn is_whole(&self, ends: &mut Ends) {
        let vault = &self.other;
        if self.work != Work::RepairIndex {
            assert_eq!(verify(vault).await.problems, []);
            ends.check(&self.memory);
        }
        vault.unlock("here", true).await.unwrap();
        self.work(vault).await.unwrap();
        self.is_done().await;
        let report = verify(vault).await;
        assert_eq!((report.problems, report.unreferenced_packs), (Vec::new(), Vec::new()));
    }

    async fn is_done(&self) {
        let (vault, stop) = (&self.other, Stop::default());
        let snapshots = vault.snapshots().await.unwrap();
        match self.work {
            Work::Forget => assert!(snapshots.len() == 2 && snapshots.iter().all(|snapshot| snapshot.id != self.old)),
            Work::Tag => {
                // One that was stored and whose forerunner could not be removed is there twice: it is one all the same.
                let lines: BTreeSet<_> = snapshots.iter().map(SnapshotInfo::identity).collect();
                assert!(lines.len() == 3 && snapshots.iter().all(|snapshot| snapshot.tags.contains(&"yearly".to_owned())));
            }
            Work::Prune | Work::Delete => {
                let left = vault.plan_prune(options(Duration::ZERO), "here", &stop).await.unwrap();
                assert_eq!((left.unused_packs, left.unindexed_packs), (0, 0), "{left:?}");
            }
            Work::Mark => {}
            Work::RepairIndex => assert!(vault.plan_index_repair("here", &stop).await.unwrap().is_empty()),
        }
        let (own, shared) = contents();
        let kept = snapshots
            .iter()
            .find(|snapshot| snapshot.original.unwrap_or(snapshot.id) == self.kept);
        let reader = vault.read(kept.unwrap().id).await.unwrap();
        assert!(read(&reader, "own").await == own && read(&reader, "shared").await == shared);
    }
}

fn options(grace: Duration) -> PruneOptions {
    PruneOptions {
        grace,
        max_unused: PruneLimit::Bytes(0),
        max_repack: PruneLimit::Unlimited,
        ..PruneOptions::default()
    }
}

async fn prune(vault: &Vault, grace: Duration) -> Result<(), MaintenanceError> {
    vault.prune(options(grace), |_| true, "here", &Stop::default()).await.map(drop)
}

/// Makes each call go wrong in this way, until there is none left.
async fn each_call(
    house: &House,
    ends: &mut Ends,
    operations: &[Operation],
    misdeed: Misdeed,
    judge: impl Fn(&str, Result<(), MaintenanceError>),
) {
    let work = house.work;
    for operation in operations {
        for number in 0.. {
            let Some((object, result)) = house.work_badly(*operation, number, misdeed).await else {
                break;
            };
            judge(&format!("{work:?}, {operation:?} {number} of {object}"), result);
            house.is_whole(ends).await;
        }
    }
}

/// It is told, but for a lock that stays behind.
fn is_told(call: &str, result: Result<(), MaintenanceError>, kind: FaultKind) {
    match result {
        Ok(()) => assert!(call.contains("Delete") && call.contains("locks/"), "{call} went wrong unnoticed"),
        Err(error) => assert!(format!("{error:?}").contains(&format!("{kind:?}")), "{call}: {error:?}"),
    }
}

async fn each_call_goes_wrong(work: Work) {
    let (house, ends) = (&House::with(work).await, &mut Ends::new());
    let kind = FaultKind::StorageFull;
    each_call(house, ends, &OPERATIONS, Misdeed::Fails(kind), |call, result| {
        is_told(call, result, kind)
    })
    .await;
    let (changing, lost) = ([Operation::Put, Operation::Delete], Misdeed::FailsAfterwards(kind));
    each_call(house, ends, &changing, lost, |call, result| is_told(call, result, kind)).await;
    for misdeed in [Misdeed::FlipsBit, Misdeed::Truncates] {
        // Noticed, or harmless: what is left is looked at.
        each_call(house, ends, &[Operation::Get], misdeed, |_, _| ()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_forget_goes_wrong() {
    each_call_goes_wrong(Work::Forget).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_change_of_tags_goes_wrong() {
    each_call_goes_wrong(Work::Tag).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_prune_goes_wrong() {
    each_call_goes_wrong(Work::Prune).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_prune_that_marks_goes_wrong() {
    each_call_goes_wrong(Work::Mark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_prune_that_deletes_what_is_marked_goes_wrong() {
    each_call_goes_wrong(Work::Delete).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_an_index_repair_goes_wrong() {
    each_call_goes_wrong(Work::RepairIndex).await;
}

/// As of stores that do not tell all at once: within the grace time, nothing is lost by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_lacks_something_costs_nothing_within_the_grace_time() {
    for work in [Work::Forget, Work::Mark, Work::Delete] {
        // restic reads nothing from packs that are marked, as all are where no snapshot is listed, until the next prune takes the marks away.
        let (house, ends) = (&House::with(work).await, &mut Ends::default());
        each_call(house, ends, &[Operation::List], Misdeed::Omits, |_, _| ()).await;
    }
}
