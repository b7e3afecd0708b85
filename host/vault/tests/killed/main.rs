//! A process that writes snapshots, or one that forgets and prunes as well, is killed at any moment, again and again: what it had committed is there, nothing
//! is damaged, and the next one works without anybody's help.
//!
//! The test and the processes that it kills are one program, so there is no harness: the word [`WRITER`] makes it the writer, [`KEEPER`] the one who cleans up.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

#[expect(dead_code, unused_imports, reason = "made for all tests of the vault; this one needs a part of it")]
#[path = "../vault/support.rs"]
mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use bulkhead_vault::{BeginSnapshot, PruneLimit, PruneOptions, Stop, Vault};
use rand::{Rng, SeedableRng, rngs::StdRng};
use support::{Bench, backup, begin, folder_store, password, path, random, read, record, small_packs, time, verify, write};

/// The first argument of the process that writes; the second is the vault's folder, the third the number of its first snapshot.
const WRITER: &str = "write-until-killed";
/// The same for the process that writes, forgets what is old, and prunes.
const KEEPER: &str = "keep-house-until-killed";
/// The tests' names, for those who ask for a list.
const NAMES: [&str; 2] = ["what_was_committed_survives_any_kill", "what_is_kept_survives_any_kill_of_a_prune"];
/// Processes that are killed while they forget and prune.
const KEEPERS: i64 = 20;
/// Snapshots that such a process keeps.
const KEPT: usize = 3;
/// Processes that are killed, at least.
const KILLS: i64 = 25;
/// Processes that are killed, at most: on a busy machine it takes more of them until one dies in the moment between a pack and its snapshot.
const MAX_KILLS: i64 = 100;
/// Snapshots that one process would write if it were left alone: more than it has time for.
const PER_PROCESS: i64 = 1_000_000;
/// Within which time after it has opened the vault a process is killed: some snapshots.
const LIFETIME: Duration = Duration::from_millis(400);

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asks_for = |option: &str| arguments.iter().any(|argument| argument == option);
    match &arguments[..] {
        [word, folder, first] if word == WRITER => write_until_killed(folder.as_ref(), first.parse().unwrap()).await,
        [word, folder, first] if word == KEEPER => keep_house_until_killed(folder.as_ref(), first.parse().unwrap()).await,
        _ if asks_for("--ignored") => {}
        _ if asks_for("--list") => NAMES.iter().for_each(|name| println!("{name}: test")),
        _ => {
            what_was_committed_survives_any_kill().await;
            println!("test {} ... ok", NAMES[0]);
            what_is_kept_survives_any_kill_of_a_prune().await;
            println!("test {} ... ok", NAMES[1]);
        }
    }
}

async fn what_was_committed_survives_any_kill() {
    let bench = Bench::new().await;
    backup(&bench.vault, &[("kept", &random(100_000, 0))]).await;
    let mut chance = StdRng::from_os_rng();
    let (mut committed, mut cut_short) = (0, 0);
    for process in 0..MAX_KILLS {
        if process >= KILLS && committed > KILLS && cut_short > 0 {
            break;
        }
        let told = run_and_kill(
            WRITER,
            &bench.restic.repository,
            process * PER_PROCESS,
            chance.random_range(Duration::ZERO..LIFETIME),
        );
        let vault = bench.reopen().await;
        let report = verify(&vault).await;
        assert_eq!(report.problems, [], "after {process} kills");
        cut_short += usize::from(!report.unreferenced_packs.is_empty());
        // More may be there than was told: a process can die between the commit and the word of it.
        let snapshots = vault.snapshots().await.unwrap();
        for number in told {
            let snapshot = snapshots.iter().find(|snapshot| snapshot.time == time(number, 0));
            let reader = vault.read(snapshot.expect("a committed snapshot is gone").id).await.unwrap();
            assert_eq!(read(&reader, "kept").await, random(100_000, 0));
            assert_eq!(read(&reader, "new").await, content(number));
            committed += 1;
        }
        // A run in this process, beside the locks of the dead.
        snapshot(&vault, process * PER_PROCESS + PER_PROCESS / 2).await;
    }
    println!("{committed} snapshots before at least {KILLS} kills; {cut_short} times packs were left behind");
    assert!(committed > KILLS && cut_short > 0);
    let locks = bench.path("vault/locks");
    assert!(fs::read_dir(&locks).unwrap().count() > 0, "no process died in a run");
    bench.restic.ok(&["unlock"]);
    assert_eq!(fs::read_dir(&locks).unwrap().count(), 0, "restic takes the dead for living");
    bench.restic.check();
}

async fn what_is_kept_survives_any_kill_of_a_prune() {
    let bench = Bench::new().await;
    backup(&bench.vault, &[("kept", &random(100_000, 0))]).await;
    let mut chance = StdRng::from_os_rng();
    let (mut survived, mut locked) = (0, 0);
    let locks = bench.path("vault/locks");
    for process in 0..KEEPERS {
        // Long enough for some rounds of writing, forgetting and pruning.
        let lifetime = chance.random_range(Duration::ZERO..LIFETIME * 4);
        let told = run_and_kill(KEEPER, &bench.restic.repository, process * PER_PROCESS, lifetime);
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

/// Runs a writer until it has opened the vault, and `lifetime` longer. Returns the snapshots that it said it had committed.
fn run_and_kill(role: &str, vault: &Path, first: i64, lifetime: Duration) -> Vec<i64> {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .arg(role)
        .arg(vault)
        .arg(first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "open");
    thread::sleep(lifetime);
    writer.kill().unwrap();
    let status = writer.wait().unwrap();
    assert_eq!(status.code(), None, "the writer ended by itself");
    lines.map(|line| line.unwrap().parse().unwrap()).collect()
}

/// Writes snapshots and tells their numbers.
async fn write_until_killed(folder: &Path, first: i64) {
    let vault = Vault::open(folder_store(folder), &password()).await.unwrap();
    println!("open");
    for number in first..first + PER_PROCESS {
        snapshot(&vault, number).await;
        println!("{number}");
    }
}

/// Writes snapshots, and after each forgets all but the last ones and prunes: in one round with a grace time that is over at once, in the next without one.
async fn keep_house_until_killed(folder: &Path, first: i64) {
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
    vault.prune(options(grace), None, &host(), &Stop::default()).await.unwrap();
}

fn options(grace: Duration) -> PruneOptions {
    PruneOptions {
        grace,
        max_unused: PruneLimit::Bytes(0),
        max_repack: PruneLimit::Unlimited,
    }
}

/// This host, as locks name it.
fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

/// A snapshot with content of its own, in several packs, and content of the first.
async fn snapshot(vault: &Vault, number: i64) {
    let vault = vault.clone().with_options(small_packs());
    let parent = vault.resolve("latest", None).await.unwrap().id;
    let begin = BeginSnapshot {
        host: host(),
        time: time(number, 0),
        ..begin(Some(parent))
    };
    let writer = vault.begin(begin).await.unwrap();
    writer.keep(path("kept")).await.unwrap();
    write(&writer, "new", &content(number)).await.unwrap();
    writer.commit(record()).await.unwrap();
}

/// The content of a snapshot.
fn content(number: i64) -> Vec<u8> {
    random(1_300_000, number.unsigned_abs())
}
