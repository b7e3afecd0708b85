//! Processes that are killed: this program again, with the word for what it is to do. And what they write.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use bulkhead_vault::{BeginSnapshot, Vault};

use crate::support::{begin, path, random, record, small_packs, time, write};

/// Snapshots that a process would write if it were left alone: more than it has time for.
pub(crate) const PER_PROCESS: i64 = 100_000;

/// Runs a process until it has opened its vaults, and `lifetime` longer. Returns what it said in between.
pub(crate) async fn run_and_kill(arguments: &[&str], lifetime: Duration) -> Vec<String> {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    tokio::task::spawn_blocking(move || run_and_kill_here(&arguments, lifetime))
        .await
        .unwrap()
}

fn run_and_kill_here(arguments: &[String], lifetime: Duration) -> Vec<String> {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "open");
    thread::sleep(lifetime);
    process.kill().unwrap();
    let status = process.wait().unwrap();
    assert_eq!(status.code(), None, "the process ended by itself");
    lines.map(Result::unwrap).collect()
}

/// This host, as locks name it.
pub(crate) fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

/// A snapshot with content of its own, in several packs, and content of the first.
pub(crate) async fn snapshot(vault: &Vault, number: i64) {
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
pub(crate) fn content(number: i64) -> Vec<u8> {
    random(600_000, number.unsigned_abs())
}
