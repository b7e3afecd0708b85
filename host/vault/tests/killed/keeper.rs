//! One who writes, forgets what is old and prunes: killed at any moment, what it meant to keep is there.

use std::{fs, path::Path, time::Duration};

use bulkhead_vault::{PruneLimit, PruneOptions, Stop, Vault};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    process::{PER_PROCESS, content, host, run_and_kill, snapshot},
    support::{Bench, backup, folder_store, password, random, read, time, verify},
};

/// The first argument of the process; the second is the vault's folder, the third the number of its first snapshot.
pub(crate) const KEEPER: &str = "keep-house-until-killed";
/// Processes that are killed while they forget and prune.
const KEEPERS: i64 = 20;
/// Snapshots that such a process keeps.
const KEPT: usize = 3;
/// Within which time after it has opened the vault a process is killed: long enough for some rounds of writing, forgetting and pruning.
const LIFETIME: Duration = Duration::from_millis(1600);

pub(crate) async fn what_is_kept_survives_any_kill_of_a_prune() {
    let bench = Bench::new().await;
    backup(&bench.vault, &[("kept", &random(100_000, 0))]).await;
    let mut chance = StdRng::from_os_rng();
    let (mut survived, mut locked) = (0, 0);
    let locks = bench.path("vault/locks");
    for process in 0..KEEPERS {
        let lifetime = chance.random_range(Duration::ZERO..LIFETIME);
        let (folder, first) = (bench.restic.repository.display().to_string(), (process * PER_PROCESS).to_string());
        let told: Vec<i64> = run_and_kill(&[KEEPER, &folder, &first], lifetime)
            .await
            .iter()
            .map(|line| line.parse().unwrap())
            .collect();
        locked += usize::from(fs::read_dir(&locks).unwrap().count() > 0);
        let vault = bench.reopen().await;
        assert_eq!(verify(&vault).await.problems, [], "after {process} kills");
        // The next ones to be forgotten are the oldest; the last that was told of is never among them.
        if let Some(number) = told.last() {
            let snapshots = vault.snapshots().await.unwrap();
            let snapshot = snapshots.iter().find(|snapshot| snapshot.time == time(*number, 0));
            let reader = vault.read(snapshot.expect("a snapshot that was kept is gone").id).await.unwrap();
            assert_eq!(read(&reader, "kept").await, random(100_000, 0));
            assert_eq!(read(&reader, "new").await, content(*number));
            survived += 1;
        }
        // What a killed prune left is no error to restic either, whose locks of the dead nobody has removed.
        bench.restic.ok(&["unlock"]);
        bench.restic.check();
    }
    println!("{survived} snapshots survived {KEEPERS} kills; {locked} processes died holding a lock");
    assert!(survived > 0 && locked > 0);
    // The next one finishes what they began, beside the lock of the last.
    let vault = bench.reopen().await;
    prune(&vault, Duration::ZERO).await;
    let left = vault.plan_prune(options(Duration::ZERO), &host(), &Stop::default()).await.unwrap();
    assert_eq!((left.unused_packs, left.unindexed_packs, left.waiting_packs), (0, 0, 0), "{left:?}");
    let report = verify(&vault).await;
    assert_eq!((report.problems, report.unreferenced_packs), (Vec::new(), Vec::new()));
    assert_eq!(fs::read_dir(&locks).unwrap().count(), 0);
    bench.restic.check();
}

/// Writes snapshots, and after each forgets all but the last ones and prunes: in one round with a grace time that is over at once, in the next without one.
pub(crate) async fn keep_house_until_killed(folder: &Path, first: i64) {
    let vault = Vault::open(folder_store(folder), &password()).await.unwrap();
    println!("open");
    for number in first..first + PER_PROCESS {
        snapshot(&vault, number).await;
        println!("{number}");
        let snapshots = vault.snapshots().await.unwrap();
        let old: Vec<_> = snapshots.iter().rev().skip(KEPT).map(|snapshot| snapshot.id).collect();
        let forgotten = vault.forget(&old, &host(), &Stop::default()).await;
        assert!(forgotten.error.is_none(), "{forgotten:?}");
        prune(&vault, Duration::from_millis(u64::try_from(number % 2).unwrap())).await;
    }
}

async fn prune(vault: &Vault, grace: Duration) {
    vault.prune(options(grace), |_| true, &host(), &Stop::default()).await.unwrap();
}

fn options(grace: Duration) -> PruneOptions {
    PruneOptions {
        grace,
        clock_is_right: true,
        patience: Duration::ZERO,
        max_unused: PruneLimit::Bytes(0),
        max_repack: PruneLimit::Unlimited,
    }
}
