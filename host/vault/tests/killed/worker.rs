//! One who writes, reads and changes keys, several things at once, so that each kill meets each of them at a moment of its own: what it had committed is there,
//! nothing is damaged, the password that it told last opens, and the next one works without anybody's help. `BULKHEAD_KILLS` asks for more moments than usual.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bulkhead_vault::{Password, SnapshotInfo, Vault};
use futures_util::future::join_all;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    process::{self, PER_PROCESS, content, snapshot},
    support::{Bench, PASSWORD, Restic, backup, folder_store, password, random, read, time, verify},
};

/// The first argument of the process that is killed; then both vaults' folders, the number of the first snapshot, and that of the password.
pub(crate) const WORKER: &str = "work-until-killed";
/// The variable that asks for more.
const KILLS: &str = "BULKHEAD_KILLS";
/// Moments at which something is cut short, unless more are asked for.
const USUAL_KILLS: usize = 512;
/// What one kill cuts short: so many runs in one vault, beside one who reads in it, and a change of the key of another vault.
const RUNS: usize = 6;
const WORKS: usize = RUNS + 2;
/// Kills after which vaults begin anew, so that verifying them doesn't take ever longer.
const LIVES: usize = 8;
/// Snapshots that one task would write if it were left alone.
const PER_TASK: i64 = 10_000;
/// Within which time after it has opened the vaults a process is killed: some snapshots.
const LIFETIME: Duration = Duration::from_millis(800);

/// What came of all kills.
#[derive(Default)]
struct Tally {
    committed: usize,
    packs_left_behind: usize,
    locks_left_behind: usize,
    keys_changed: u64,
}

pub(crate) async fn what_was_committed_survives_any_kill() {
    let kills = std::env::var(KILLS).map_or(USUAL_KILLS, |kills| kills.parse().unwrap());
    let seed = rand::random();
    println!("seed {seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let bench = Bench::new().await;
    backup(&bench.vault, &[("kept", &random(100_000, 0))]).await;
    let mut tally = Tally::default();
    for life in 0..kills.div_ceil(WORKS * LIVES) {
        let generation = Generation::new(&bench, life).await;
        generation.live(&mut chance, &mut tally).await;
        checked_by_restic(&generation.runs);
        fs::remove_dir_all(&generation.folder).unwrap();
    }
    let Tally {
        committed,
        packs_left_behind,
        locks_left_behind,
        keys_changed,
    } = tally;
    println!(
        "{committed} snapshots and {keys_changed} changes of keys in {kills} kills, which left {packs_left_behind} times packs and {locks_left_behind} times a lock"
    );
    assert!(committed > kills / 20 && packs_left_behind > 0 && locks_left_behind > 0);
}

/// What restic says of a vault after some kills.
fn checked_by_restic(vault: &Path) {
    let restic = Restic {
        repository: vault.to_owned(),
    };
    restic.ok(&["unlock"]);
    assert_eq!(
        fs::read_dir(vault.join("locks")).unwrap().count(),
        0,
        "restic takes the dead for living"
    );
    restic.check();
}

/// Two vaults that live through some kills.
struct Generation {
    folder: PathBuf,
    /// The one that is written to, and as this process sees it: opened once, because deriving a key takes longer than a run.
    runs: PathBuf,
    vault: Vault,
    /// The one whose key is changed.
    keys: PathBuf,
    first: i64,
}

impl Generation {
    async fn new(bench: &Bench, life: usize) -> Self {
        let folder = bench.path(&format!("generation {life}"));
        let (runs, keys) = (folder.join("runs"), folder.join("keys"));
        for vault in [&runs, &keys] {
            copy(&bench.restic.repository, vault);
        }
        Self {
            vault: Vault::open(folder_store(&runs), &password()).await.unwrap(),
            first: i64::try_from(life * LIVES).unwrap() * PER_PROCESS,
            folder,
            runs,
            keys,
        }
    }

    async fn live(&self, chance: &mut StdRng, tally: &mut Tally) {
        let mut key = 0;
        for kill in 0..LIVES {
            let first = self.first + i64::try_from(kill).unwrap() * PER_PROCESS;
            let told = run_and_kill(self, first, key, chance.random_range(Duration::ZERO..LIFETIME));
            let report = verify(&self.vault).await;
            assert_eq!(report.problems, [], "after kill {kill}");
            is_whole(&self.vault, &told.committed, first).await;
            tally.committed += told.committed.len();
            tally.packs_left_behind += usize::from(!report.unreferenced_packs.is_empty());
            tally.locks_left_behind += fs::read_dir(self.runs.join("locks")).unwrap().count();
            let before = key;
            key = opens(&self.keys, told.key.unwrap_or(key)).await;
            tally.keys_changed += key - before;
        }
    }
}

/// The number of the password that opens a vault: the one that was told last, or the next.
async fn opens(vault: &Path, told: u64) -> u64 {
    for key in [told + 1, told] {
        if Vault::open(folder_store(vault), &word(key).as_str().into()).await.is_ok() {
            return key;
        }
    }
    panic!("no password opens the vault");
}

/// All snapshots of a process, told or not, are whole: more may be there than was told, because it can die between the commit and the word of it. Then
/// a run in this process works, beside the locks of the dead.
async fn is_whole(vault: &Vault, told: &[i64], first: i64) {
    let snapshots = vault.snapshots().await.unwrap();
    let range = first..first + PER_PROCESS;
    let is_new = |snapshot: &&SnapshotInfo| snapshot.parent.is_some() && range.contains(&snapshot.time.seconds);
    let new: Vec<_> = snapshots.iter().filter(is_new).collect();
    for number in told {
        assert!(
            new.iter().any(|snapshot| snapshot.time == time(*number, 0)),
            "a committed snapshot is gone"
        );
    }
    for snapshot in new {
        let reader = vault.read(snapshot.id).await.unwrap();
        assert_eq!(read(&reader, "kept").await, random(100_000, 0));
        assert_eq!(read(&reader, "new").await, content(snapshot.time.seconds));
    }
    snapshot(vault, first + PER_PROCESS - 1).await;
}

/// What a process said before it died.
#[derive(Default)]
struct Told {
    committed: Vec<i64>,
    key: Option<u64>,
}

/// Runs a worker until it has opened the vaults, and `lifetime` longer.
fn run_and_kill(vaults: &Generation, first: i64, key: u64, lifetime: Duration) -> Told {
    let folder = |vault: &Path| vault.display().to_string();
    let (runs, keys, first, key) = (folder(&vaults.runs), folder(&vaults.keys), first.to_string(), key.to_string());
    let lines = process::run_and_kill(&[WORKER, &runs, &keys, &first, &key], lifetime);
    let mut told = Told::default();
    for line in lines {
        match line.split_once(' ').unwrap() {
            ("snapshot", number) => told.committed.push(number.parse().unwrap()),
            (_, number) => told.key = Some(number.parse().unwrap()),
        }
    }
    told
}

/// Works on both vaults, and tells what is done.
pub(crate) async fn work_until_killed(runs: &Path, keys: &Path, first: i64, key: u64) {
    let (ours, theirs) = (password(), Password::from(word(key).as_str()));
    let (vault, with_keys) = tokio::join!(Vault::open(folder_store(runs), &ours), Vault::open(folder_store(keys), &theirs));
    let vault = vault.unwrap();
    println!("open");
    let mut works = vec![tokio::spawn(change_keys(with_keys.unwrap(), key))];
    if first / PER_PROCESS % 4 == 3 {
        // Deriving keys takes its time: now and then, it has the machine for itself.
        join_all(works).await;
        return;
    }
    works.push(tokio::spawn(read_again_and_again(vault.clone())));
    let runs = (0..RUNS).map(|run| first + i64::try_from(run).unwrap() * PER_TASK);
    works.extend(runs.map(|first| tokio::spawn(write_snapshots(vault.clone(), first))));
    join_all(works).await;
}

async fn write_snapshots(vault: Vault, first: i64) {
    for number in first..first + PER_TASK {
        snapshot(&vault, number).await;
        println!("snapshot {number}");
    }
}

/// A key with the next password, and away with all others.
async fn change_keys(vault: Vault, first: u64) {
    for key in first + 1.. {
        let new = vault.add_key(&word(key).as_str().into(), None).await.unwrap();
        for other in vault.keys().await.unwrap().iter().filter(|other| other.id != new) {
            vault.remove_key(other.id).await.unwrap();
        }
        println!("key {key}");
    }
}

async fn read_again_and_again(vault: Vault) {
    loop {
        let latest = vault.resolve("latest", None).await.unwrap().id;
        assert_eq!(read(&vault.read(latest).await.unwrap(), "kept").await, random(100_000, 0));
    }
}

/// The password of this number.
fn word(number: u64) -> String {
    match number {
        0 => PASSWORD.to_owned(),
        _ => format!("password {number}"),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
