//! One who writes and reads, several things at once, or changes keys, killed at a moment of its own: what it had committed is there, nothing is damaged, the
//! password that it told last opens, and the next one works without anybody's help. `BULKHEAD_KILLS` asks for more kills than usual.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bulkhead_vault::{Password, SnapshotInfo, Vault};
use futures_util::{StreamExt as _, future::join_all, stream};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    process::{self, PER_PROCESS, content, snapshot},
    support::{Bench, PASSWORD, Restic, backup, folder_store, password, random, read, time, verify},
};

/// The first argument of a process that writes until it is killed; then the vault's folder and the number of the first snapshot.
pub(crate) const WRITER: &str = "write-until-killed";
/// The first argument of a process that changes keys until it is killed; then the vault's folder and the number of the password.
pub(crate) const LOCKSMITH: &str = "change-keys-until-killed";
/// The variable that asks for more.
const KILLS: &str = "BULKHEAD_KILLS";
/// Processes that are killed, unless more are asked for.
const USUAL_KILLS: usize = 448;
/// What a writer does at once: so many runs, beside one who reads.
const RUNS: usize = 2;
/// Kills after which a vault begins anew, so that verifying it doesn't take ever longer.
const LIVES: usize = 16;
/// One kill in so many is of somebody who changes keys.
const KEYS_EVERY: usize = 8;
/// Vaults that live side by side.
const AT_ONCE: usize = 3;
/// Snapshots that one run after the other would write if they were left alone.
const PER_TASK: i64 = 10_000;
/// Within which time after it has opened the vault a writer is killed: some snapshots.
const LIFETIME: Duration = Duration::from_millis(300);
/// The same of who changes keys, which takes a derivation each.
const LIFETIME_OF_KEYS: Duration = Duration::from_millis(1500);

/// What came of some kills.
#[derive(Default)]
struct Tally {
    kills: usize,
    committed: usize,
    packs_left_behind: usize,
    locks_left_behind: usize,
    keys_changed: u64,
}

impl Tally {
    fn and(self, other: Self) -> Self {
        Self {
            kills: self.kills + other.kills,
            committed: self.committed + other.committed,
            packs_left_behind: self.packs_left_behind + other.packs_left_behind,
            locks_left_behind: self.locks_left_behind + other.locks_left_behind,
            keys_changed: self.keys_changed + other.keys_changed,
        }
    }
}

pub(crate) async fn what_was_committed_survives_any_kill() {
    let kills = std::env::var(KILLS).map_or(USUAL_KILLS, |kills| kills.parse().unwrap());
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let bench = Bench::new().await;
    backup(&bench.vault, &[("kept", &random(100_000, 0))]).await;
    let lives = |life: usize| {
        let bench = &bench;
        async move {
            let generation = Generation::new(bench, life).await;
            let tally = generation.live(StdRng::seed_from_u64(seed.wrapping_add(life as u64))).await;
            checked_by_restic(&generation.runs);
            fs::remove_dir_all(&generation.folder).unwrap();
            tally
        }
    };
    let tallies = stream::iter((0..kills.div_ceil(LIVES)).map(lives)).buffer_unordered(AT_ONCE);
    let tally = tallies.fold(Tally::default(), async |sum, tally| sum.and(tally)).await;
    println!(
        "{} snapshots and {} changes of keys in {} kills, which left packs {} times and a lock {} times",
        tally.committed, tally.keys_changed, tally.kills, tally.packs_left_behind, tally.locks_left_behind
    );
    assert!(
        tally.kills >= kills
            && tally.committed > kills / 20
            && tally.packs_left_behind > kills / 20
            && tally.locks_left_behind > kills / 20
    );
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

    async fn live(&self, mut chance: StdRng) -> Tally {
        let mut tally = Tally::default();
        let mut key = 0;
        for kill in 0..LIVES {
            if kill % KEYS_EVERY == KEYS_EVERY - 1 {
                let before = key;
                key = self
                    .locksmith_is_killed(key, chance.random_range(Duration::ZERO..LIFETIME_OF_KEYS))
                    .await;
                tally.keys_changed += key - before;
            } else {
                let first = self.first + i64::try_from(kill).unwrap() * PER_PROCESS;
                self.writer_is_killed(first, chance.random_range(Duration::ZERO..LIFETIME), &mut tally)
                    .await;
            }
            tally.kills += 1;
        }
        tally
    }

    async fn writer_is_killed(&self, first: i64, lifetime: Duration, tally: &mut Tally) {
        let lines = process::run_and_kill(&[WRITER, &text(&self.runs), &first.to_string()], lifetime).await;
        let told: Vec<i64> = lines.iter().map(|line| line.parse().unwrap()).collect();
        tally.locks_left_behind += usize::from(fs::read_dir(self.runs.join("locks")).unwrap().next().is_some());
        let report = verify(&self.vault).await;
        assert_eq!(report.problems, [], "after the kill of who began with {first}");
        tally.packs_left_behind += usize::from(!report.unreferenced_packs.is_empty());
        tally.committed += told.len();
        is_whole(&self.vault, &told, first).await;
    }

    /// Returns the number of the password that opens the vault then.
    async fn locksmith_is_killed(&self, key: u64, lifetime: Duration) -> u64 {
        let lines = process::run_and_kill(&[LOCKSMITH, &text(&self.keys), &key.to_string()], lifetime).await;
        let told = lines.last().map_or(key, |line| line.parse().unwrap());
        opens(&self.keys, told).await
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
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

/// Writes, and reads beside it, and tells the number of each snapshot that is committed.
pub(crate) async fn write_until_killed(folder: &Path, first: i64) {
    let vault = Vault::open(folder_store(folder), &password()).await.unwrap();
    println!("open");
    let mut works = vec![tokio::spawn(read_again_and_again(vault.clone()))];
    let runs = (0..RUNS).map(|run| first + i64::try_from(run).unwrap() * PER_TASK);
    works.extend(runs.map(|first| tokio::spawn(write_snapshots(vault.clone(), first))));
    join_all(works).await;
}

async fn write_snapshots(vault: Vault, first: i64) {
    for number in first..first + PER_TASK {
        snapshot(&vault, number).await;
        println!("{number}");
    }
}

/// A key with the next password, and away with all others, again and again; tells the number of the password.
pub(crate) async fn change_keys_until_killed(folder: &Path, first: u64) {
    let vault = Vault::open(folder_store(folder), &Password::from(word(first).as_str()))
        .await
        .unwrap();
    println!("open");
    for key in first + 1.. {
        let new = vault.add_key(&word(key).as_str().into(), None).await.unwrap();
        for other in vault.keys().await.unwrap().iter().filter(|other| other.id != new) {
            vault.remove_key(other.id).await.unwrap();
        }
        println!("{key}");
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
