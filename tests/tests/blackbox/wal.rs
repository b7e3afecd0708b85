//! Recovery to a moment: base backup, streamed log, and a server that fetches what it needs by itself. The witness is the log of commits that the test keeps.
//!
//! The server's `restore_command` is this binary, with the same configuration.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use bulkhead_test_support::Outcome;
use bulkhead_test_support::postgres::Cluster;
use serde_json::Value;

use crate::server_desk::ServerDesk;

/// How many recoveries to random commits; each takes some seconds. `BULKHEAD_RECOVERIES=50` is the long form.
const RECOVERIES: usize = 3;

/// A transaction of the test's own, one after the other.
struct Commit {
    id: u64,
    xid: String,
    /// Where the log was after it.
    lsn: String,
    /// The server's clock after it.
    time: String,
}

/// A cluster under load, its vault, and what the test knows of its commits.
struct Bank {
    desk: ServerDesk,
    commits: Vec<Commit>,
}

impl std::ops::Deref for Bank {
    type Target = ServerDesk;

    fn deref(&self) -> &ServerDesk {
        &self.desk
    }
}

impl Bank {
    fn open() -> Self {
        Self::on(Cluster::builder().without_tls().wal_segment_mebibytes(1).start().unwrap())
    }

    fn on(cluster: Cluster) -> Self {
        cluster
            .execute(
                "postgres",
                "CREATE TABLE ledger (id bigint PRIMARY KEY, note text); CREATE TABLE load (id bigserial, filler text)",
            )
            .unwrap();
        let mut bank = Self {
            desk: ServerDesk::beside(cluster),
            commits: Vec::new(),
        };
        bank.configure("60 s", "caught-up");
        bank.init();
        bank.commit(2);
        bank
    }

    fn configure(&self, interval: &str, until: &str) {
        self.desk
            .configure(&format!(", interval = \"{interval}\", until = \"{until}\""), &self.server());
    }

    /// The pipeline's snapshots, oldest first.
    fn snapshots(&self, pipeline: &str) -> Vec<Value> {
        self.json(&["snapshots", pipeline])["snapshots"].as_array().unwrap().clone()
    }

    /// Takes a base backup, and waits until the second has passed in which it ended: earlier moments of it are not promised.
    fn back_up(&self) {
        self.succeed(&["run", "bank"]);
        let finished = fact(self.snapshots("bank").last().unwrap(), "finished");
        let passed = format!("SELECT extract(epoch FROM clock_timestamp()) > {finished}");
        while self.cluster.execute("postgres", &passed).unwrap() != "t" {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Follows the log beside what the test does.
    fn follow(&self) -> Child {
        let child = self
            .command(&["run", "bank-wal"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while self
            .cluster
            .execute("postgres", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
            .unwrap()
            == "0"
        {
            assert!(begun.elapsed() < Duration::from_secs(60), "nobody streams");
            std::thread::sleep(Duration::from_millis(50));
        }
        child
    }

    /// Makes transactions, one after the other, and writes them down.
    fn commit(&mut self, count: u64) {
        let first = self.commits.len() as u64;
        let script: String = (first..first + count)
            .map(|id| {
                format!(
                    "INSERT INTO ledger VALUES ({id}, repeat('x', 200)) RETURNING id, pg_current_xact_id();\n\
                     SELECT pg_current_wal_insert_lsn(), clock_timestamp() AT TIME ZONE 'UTC';\nSELECT pg_sleep(0.002);\n"
                )
            })
            .collect();
        let answer = self.cluster.execute("postgres", &script).unwrap();
        let lines: Vec<_> = answer.lines().filter(|line| !line.is_empty()).collect();
        for pair in lines.chunks(2) {
            let ((id, xid), (lsn, time)) = (pair[0].split_once('|').unwrap(), pair[1].split_once('|').unwrap());
            self.commits.push(Commit {
                id: id.parse().unwrap(),
                xid: xid.to_owned(),
                lsn: lsn.to_owned(),
                time: format!("{time}Z"),
            });
        }
    }

    /// Restores with these flags, starts a server on it, and returns the ids in its ledger.
    #[track_caller]
    fn recover(&self, flags: &[&str]) -> Vec<u64> {
        let data = self.empty_data();
        self.succeed(&[&["restore", "bank", "--target", "elsewhere"], flags].concat());
        let server = self.recovered();
        let ids = server.execute("postgres", "SELECT id FROM ledger ORDER BY id").unwrap();
        assert!(!data.join("pg_wal/bulkhead-ahead").exists(), "what was fetched ahead is gone");
        ids.lines().map(|id| id.parse().unwrap()).collect()
    }
}

/// What the proof of a snapshot states.
fn fact(snapshot: &Value, name: &str) -> String {
    let facts = snapshot["proof"]["facts"].as_array().unwrap();
    let fact = facts.iter().find(|fact| fact["name"] == name).unwrap();
    fact["value"].as_str().unwrap().to_owned()
}

/// Writes log beside the test's own commits, until it is dropped.
struct Load(Child);

impl Load {
    fn on(cluster: &Cluster) -> Self {
        let mut psql = cluster.client("psql", ["--no-psqlrc", "--quiet", "--dbname=postgres"]).unwrap();
        let statement = "DO $$ BEGIN FOR n IN 1..100000 LOOP INSERT INTO load (filler) VALUES (repeat('y', 500)); COMMIT; PERFORM pg_sleep(0.001); END LOOP; END $$";
        psql.args(["--command", statement]).stdout(Stdio::null()).stderr(Stdio::null());
        Self(psql.spawn().unwrap())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_commit_can_be_recovered_to() {
    let mut bank = Bank::open();
    bank.succeed(&["check"]);
    bank.succeed(&["run", "bank-wal"]);
    bank.back_up();
    bank.configure("1 s", "8 s");
    let mut follower = bank.follow();
    let load = Load::on(&bank.cluster);
    bank.commit(300);
    drop(load);
    assert!(follower.wait().unwrap().success());
    assert_dated_when_committed(&bank);
    bank.configure("60 s", "caught-up");
    bank.succeed(&["run", "bank-wal"]);
    bank.succeed(&["verify", "bank-wal"]);

    let rounds = std::env::var("BULKHEAD_RECOVERIES").map_or(RECOVERIES, |text| text.parse().unwrap());
    for round in 0..rounds {
        // The first commits are in the base backup.
        let chosen = 2
            + (bulkhead_test_support::random_secret()
                .unwrap()
                .bytes()
                .map(usize::from)
                .sum::<usize>()
                * 31
                + round * 97)
                % (bank.commits.len() - 3);
        let commit = &bank.commits[chosen];
        let (flag, value) = match round % 3 {
            0 => ("--to-lsn", &commit.lsn),
            1 => ("--to-xid", &commit.xid),
            _ => ("--to-time", &commit.time),
        };
        let found = bank.recover(&[flag, value]);
        let expected: Vec<u64> = bank.commits[..=chosen].iter().map(|commit| commit.id).collect();
        assert_eq!(found, expected, "round {round}: {flag} {value}, commit {chosen}");
    }
    assert_eq!(bank.recover(&["--to-latest"]).len(), bank.commits.len());
}

/// A snapshot is as of when it was committed, not as of the commit before it: it is not older than the log in it.
fn assert_dated_when_committed(bank: &Bank) {
    let snapshots = bank.snapshots("bank-wal");
    assert!(snapshots.len() > 3, "{} snapshots", snapshots.len());
    // The first one's run has only one commit, and is as of its beginning.
    for snapshot in &snapshots[1..] {
        let later = format!(
            "SELECT extract(epoch FROM timestamptz '{}') >= {}",
            snapshot["time"].as_str().unwrap(),
            fact(snapshot, "server-time")
        );
        assert_eq!(bank.cluster.execute("postgres", &later).unwrap(), "t", "{snapshot}");
    }
}

#[test]
fn no_commit_is_lost_whoever_is_killed() {
    let mut bank = Bank::open();
    bank.succeed(&["run", "bank-wal"]);
    bank.succeed(&["run", "bank"]);
    bank.configure("1 s", "60 s");
    for round in 0..4 {
        let mut follower = bank.follow();
        bank.commit(50);
        std::thread::sleep(Duration::from_millis(300 * round));
        if round % 2 == 0 {
            follower.kill().unwrap();
            bank.commit(20);
        } else {
            bank.desk.cluster.kill().unwrap();
            bank.desk.cluster.start().unwrap();
            bank.commit(20);
            follower.kill().unwrap();
        }
        follower.wait().unwrap();
    }
    bank.configure("60 s", "caught-up");
    bank.succeed(&["run", "bank-wal"]);
    bank.succeed(&["verify", "bank-wal"]);
    bank.desk.cluster.kill().unwrap();
    let expected: Vec<u64> = bank.commits.iter().map(|commit| commit.id).collect();
    assert_eq!(bank.recover(&["--to-latest"]), expected);
}

/// A MiB of log that neither compresses away nor deduplicates, so many times.
fn write_log(cluster: &Cluster, mebibytes: u32) {
    let statement = format!(
        "SELECT count(pg_logical_emit_message(true, 'x', noise)) FROM (SELECT n / 32768 AS part, string_agg(md5(random()::text), '') AS noise \
         FROM generate_series(0, {mebibytes} * 32768 - 1) n GROUP BY 1) AS parts"
    );
    cluster.execute("postgres", &statement).unwrap();
}

/// How far a log goes, as a number that can be compared.
fn lsn(text: &str) -> u64 {
    let (high, low) = text.split_once('/').unwrap();
    u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
}

/// Waits for a process, and says how much memory it had at most, in MiB.
fn peak(mut child: Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        most = most.max(kibibytes.unwrap_or(0) / 1024);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success());
    most
}

#[test]
fn a_sink_that_is_away_for_a_while_costs_no_commit() {
    let mut bank = Bank::open();
    bank.succeed(&["run", "bank-wal"]);
    bank.back_up();
    let small = peak(bank.command(&["run", "bank-wal"]).stdout(Stdio::null()).spawn().unwrap());
    bank.desk
        .configure(", interval = \"1 s\", until = \"300 s\", slot-warning = \"16 MiB\"", &bank.server());
    let mut follower = bank.follow();
    bank.commit(20);
    let is_there = |is_there: bool| {
        let mode = if is_there { 0o700 } else { 0 };
        std::fs::set_permissions(bank.bulkhead.vault(), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    is_there(false);
    bank.desk
        .cluster
        .execute("postgres", "INSERT INTO load (filler) VALUES ('while it is away')")
        .unwrap();

    // The run ends and says so; until somebody takes the log, the server keeps it, which `check` tells.
    let begun = Instant::now();
    let code = loop {
        if let Some(status) = follower.try_wait().unwrap() {
            break status.code();
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "it goes on without a sink");
        std::thread::sleep(Duration::from_millis(50));
    };
    // It may not be entered, which is what its plugin says.
    assert_eq!(code, Some(4));
    let kept = bank
        .cluster
        .execute("postgres", "SELECT restart_lsn FROM pg_replication_slots")
        .unwrap();
    write_log(&bank.cluster, 64);
    let away = bank.run(&["run", "bank-wal"]);
    assert_eq!(away.code, Some(4));
    assert!(away.stderr.contains("sink `disk`"), "{}", away.stderr);
    let checked = bank.run(&["check", "bank-wal", "--json"]);
    assert!(checked.stdout.contains("slot-lag"), "{}", checked.stdout);

    bank.desk.cluster.kill().unwrap();
    bank.desk.cluster.start().unwrap();
    is_there(true);
    let stored = fact(bank.snapshots("bank-wal").last().unwrap(), "end-lsn");
    assert!(
        lsn(&kept) <= lsn(&stored),
        "the server let go of {kept}, and the vault has {stored}"
    );
    bank.configure("60 s", "caught-up");
    let large = peak(bank.command(&["run", "bank-wal"]).stdout(Stdio::null()).spawn().unwrap());
    let caught_up = fact(bank.snapshots("bank-wal").last().unwrap(), "end-lsn");
    assert!(
        lsn(&caught_up) - lsn(&stored) > 60 << 20,
        "{stored} to {caught_up} is no more than memory may hold"
    );
    assert!(large < small + 48, "{large} MiB of memory, where next to nothing took {small} MiB");

    bank.configure("1 s", "300 s");
    for _ in 0..2 {
        let mut killed = bank.follow();
        bank.commit(5);
        killed.kill().unwrap();
        killed.wait().unwrap();
        bank.desk.cluster.kill().unwrap();
        bank.desk.cluster.start().unwrap();
        bank.commit(5);
    }
    bank.configure("60 s", "caught-up");
    bank.succeed(&["run", "bank-wal"]);
    bank.succeed(&["verify", "bank-wal"]);
    let expected: Vec<u64> = bank.commits.iter().map(|commit| commit.id).collect();
    assert_eq!(bank.recover(&["--to-latest"]), expected);
}

#[test]
fn what_cannot_be_reached_is_said_before_anything_is_written() {
    let bank = Bank::open();
    bank.succeed(&["run", "bank-wal"]);
    bank.succeed(&["run", "bank"]);
    bank.empty_data();
    let restore = |flags: &[&str]| bank.run(&[&["restore", "bank", "--target", "elsewhere"], flags].concat());
    // The base backup ends beyond the log that is stored.
    let behind = restore(&["--to-latest"]);
    assert_eq!(behind.code, Some(13));
    assert!(behind.stderr.contains("the log reaches from"), "{}", behind.stderr);
    bank.succeed(&["run", "bank-wal"]);
    let late = restore(&["--to-time", "2999-01-01 00:00:00Z"]);
    assert_eq!(late.code, Some(13));
    assert!(late.stderr.contains("2999-01-01T00:00:00Z cannot be reached"), "{}", late.stderr);
    assert_eq!(restore(&["--to-time", "2999-01-01 00:00:00"]).code, Some(2), "no offset");
    let elsewhere = restore(&["--to-latest", "--target-timeline", "2"]);
    assert_eq!(elsewhere.code, Some(13));
    assert!(elsewhere.stderr.contains("timeline 2 cannot be reached"), "{}", elsewhere.stderr);
    let lines = restore(&["--to-name", "here'\nrestore_command = 'true"]);
    assert_eq!(lines.code, Some(3));
    assert!(lines.stderr.contains("control character"), "{}", lines.stderr);
    assert_eq!(ambiguous(&bank, &restore).code, Some(3));
    assert!(std::fs::read_dir(bank.data()).unwrap().next().is_none(), "nothing was written");
}

/// Restores a base backup by the beginning of an id that two have.
fn ambiguous(bank: &Bank, restore: &impl Fn(&[&str]) -> Outcome) -> Outcome {
    bank.succeed(&["run", "bank"]);
    // A tag gives a snapshot another id.
    let digit = loop {
        let ids: Vec<String> = bank
            .snapshots("bank")
            .iter()
            .map(|snapshot| snapshot["id"].as_str().unwrap().to_owned())
            .collect();
        if ids[0][..1] == ids[1][..1] {
            break ids[0][..1].to_owned();
        }
        bank.succeed(&["tag", "bank", "--snapshot", &ids[1], "--set", &format!("not-{}", &ids[1][..8])]);
    };
    restore(&["--to-latest", "--snapshot", &digit])
}

#[test]
fn what_a_time_comes_down_to_is_said_in_advance() {
    let mut bank = Bank::open();
    bank.succeed(&["run", "bank-wal"]);
    bank.back_up();
    bank.commit(1);
    bank.succeed(&["run", "bank-wal"]);
    bank.empty_data();
    let time = bank.commits[2].time.clone();
    let said = bank.json(&["restore", "bank", "--target", "elsewhere", "--to-time", &time]);
    let findings = said["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["code"] == "recovery-target-time").unwrap();
    assert!(
        finding["message"]
            .as_str()
            .unwrap()
            .contains("recovery ended before configured recovery target was reached")
    );
    assert!(finding["hint"].as_str().unwrap().contains("--to-latest"));
}

#[test]
fn a_cluster_that_went_on_is_set_back_and_little_is_written() {
    let mut bank = Bank::open();
    bank.succeed(&["run", "bank-wal"]);
    bank.cluster
        .execute(
            "postgres",
            "CREATE TABLE bulk AS SELECT n, repeat('z', 900) FROM generate_series(1, 40000) n",
        )
        .unwrap();
    bank.cluster.execute("postgres", "VACUUM (FREEZE)").unwrap();
    bank.back_up();
    bank.commit(40);
    bank.succeed(&["run", "bank-wal"]);

    // It goes on, on a timeline of its own.
    bank.empty_data();
    bank.succeed(&["restore", "bank", "--target", "elsewhere", "--to-latest"]);
    let server = bank.recovered();
    let on =
        "INSERT INTO ledger SELECT n, 'later' FROM generate_series(1000, 1100) n; CREATE TABLE later AS SELECT generate_series(1, 10000)";
    server.execute("postgres", on).unwrap();
    let chosen = 20;
    let lsn = bank.commits[chosen].lsn.clone();
    let over = ["restore", "bank", "--target", "elsewhere", "--delta", "--to-lsn", &lsn];
    let agreed = [&over[..], &["--yes"]].concat();
    let running = bank.run(&agreed);
    assert_eq!(running.code, Some(12), "{}", running.stderr);
    assert!(running.stderr.contains("stop the server"), "{}", running.stderr);
    server.stop().unwrap();
    drop(server);

    assert_eq!(bank.run(&over).code, Some(2), "nobody was asked whether anything may be removed");
    let said = bank.json(&[&over[..], &["--dry-run"]].concat());
    assert_eq!(said["dry-run"], true);
    let facts = said["facts"].as_array().unwrap();
    let named = |name: &str| {
        facts
            .iter()
            .any(|fact| fact["name"] == "remove" && fact["value"].as_str().unwrap().starts_with(name))
    };
    assert!(named("data/pg_wal/00000002"), "{facts:?}");

    let control = bank.data().join("global/pg_control");
    let mut killed = bank.command(&agreed).spawn().unwrap();
    while control.exists() {
        assert!(killed.try_wait().unwrap().is_none(), "it ended too early");
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(!control.exists(), "what was cut off does not look like a cluster");

    let done = bank.json(&agreed);
    let written: u64 = done["facts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|fact| fact["name"] == "bytes-written")
        .and_then(|fact| fact["value"].as_str()?.parse().ok())
        .unwrap();
    let whole = done["bytes"].as_u64().unwrap();
    assert!(written * 4 < whole, "{written} of {whole} bytes were written");
    let server = bank.recovered();
    let ids = server.execute("postgres", "SELECT id FROM ledger ORDER BY id").unwrap();
    let ids: Vec<u64> = ids.lines().map(|id| id.parse().unwrap()).collect();
    let expected: Vec<u64> = bank.commits[..=chosen].iter().map(|commit| commit.id).collect();
    assert_eq!(ids, expected);
    assert_eq!(
        server
            .execute("postgres", "SELECT to_regclass('later') IS NULL, count(*) FROM bulk")
            .unwrap(),
        "t|40000"
    );
}

/// A cluster whose log is about to enter its second 4 GiB.
fn before_the_next_folder() -> Cluster {
    let cluster = Cluster::builder().without_tls().wal_segment_mebibytes(1).start().unwrap();
    cluster.stop().unwrap();
    let arguments = ["-l", "000000010000000000000FF0"];
    let mut reset = cluster.installation().server_program("pg_resetwal", arguments).unwrap();
    bulkhead_test_support::run(reset.arg(cluster.data_directory())).unwrap();
    cluster.start().unwrap();
    cluster
}

#[test]
fn a_base_backup_keeps_its_log_and_no_more() {
    let mut bank = Bank::on(before_the_next_folder());
    bank.succeed(&["run", "bank-wal"]);
    bank.back_up();
    let fill = "SELECT count(pg_logical_emit_message(true, 'x', repeat('y', 1000000))) FROM generate_series(1, 20)";
    bank.cluster.execute("postgres", fill).unwrap();
    bank.succeed(&["run", "bank-wal"]);
    bank.back_up();
    bank.commit(5);
    bank.succeed(&["run", "bank-wal"]);
    let ids = |bank: &Bank, pipeline: &str| -> Vec<String> {
        let ids = bank.snapshots(pipeline).into_iter();
        ids.map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
    };
    let first_folder = "wal/0000000100000000";
    assert!(
        bank.succeed(&["ls", "bank-wal"]).contains(first_folder),
        "the first base backup needs it"
    );

    // The log that a base backup needs stays, whoever names it.
    let logs = ids(&bank, "bank-wal");
    let named: Vec<&str> = logs.iter().flat_map(|id| ["--snapshot", id]).collect();
    let refused = bank.run(&[&["forget", "bank-wal", "--yes"], &named[..]].concat());
    assert_eq!(refused.code, Some(12), "{}", refused.stderr);
    assert!(refused.stderr.contains("needs the log in"), "{}", refused.stderr);

    let bases = ids(&bank, "bank");
    let plan = bank.succeed(&["forget", "bank", "--snapshot", &bases[0], "--yes"]);
    let needed = format!("by the base backup {} of bank; ", &bases[1][..8]);
    assert!(plan.contains("log bank-wal: needed from 1/") && plan.contains(&needed), "{plan}");
    assert!(plan.contains("are left out by the next run of bank-wal"), "{plan}");
    assert!(
        bank.succeed(&["ls", "bank-wal"]).contains(first_folder),
        "until then all of it is there"
    );
    bank.commit(5);
    bank.succeed(&["run", "bank-wal"]);
    assert!(!bank.succeed(&["ls", "bank-wal"]).contains(first_folder), "nobody needs it");
    let named: Vec<&str> = logs.iter().flat_map(|id| ["--snapshot", id]).collect();
    let plan = bank.succeed(&[&["forget", "bank-wal", "--yes"], &named[..]].concat());
    assert!(plan.contains("all of it stays, and the newest begins at 1/0"), "{plan}");
    bank.succeed(&["prune", "main", "--yes", "--grace", "0s"]);
    bank.succeed(&["verify", "--read-data"]);
    let expected: Vec<u64> = bank.commits.iter().map(|commit| commit.id).collect();
    assert_eq!(bank.recover(&["--to-latest"]), expected);
}

#[test]
fn a_log_that_was_begun_anew_does_not_end_a_recovery_early() {
    let mut bank = Bank::open();
    bank.succeed(&["run", "bank-wal"]);
    bank.back_up();
    bank.commit(5);
    bank.succeed(&["run", "bank-wal"]);
    let data = bank.empty_data();
    bank.succeed(&["restore", "bank", "--target", "elsewhere", "--to-latest"]);
    let settings = std::fs::read_to_string(data.join("postgresql.auto.conf")).unwrap();
    let flags = settings.split_once("wal-fetch ").unwrap().1.split_once(" bank-wal").unwrap().0;
    let flags: Vec<&str> = flags.split(' ').collect();
    let target = bank.bulkhead.scratch().join("restored/segment");
    // Segments have a MiB.
    let begin = lsn(flags[3]);
    let first = format!("00000001{:08X}{:08X}", begin >> 32, (begin % (1 << 32)) >> 20);
    let fetch = |bank: &Bank| {
        let wanted = ["bank-wal", &first, target.to_str().unwrap(), "--ahead", "0"];
        bank.run(&[&["wal-fetch"], &flags[..], &wanted].concat())
    };
    assert_eq!(fetch(&bank).code, Some(0));

    // Forgotten: what went on from it has all of it.
    let pinned = flags[1];
    write_log(&bank.cluster, 3);
    bank.succeed(&["run", "bank-wal"]);
    bank.succeed(&["forget", "bank-wal", "--snapshot", pinned, "--yes"]);
    let found = fetch(&bank);
    assert_eq!(found.code, Some(0), "{}", found.stderr);
    // Begun anew, it lacks the beginning, and would look as if it had ended.
    write_log(&bank.cluster, 3);
    bank.succeed(&["run", "bank-wal", "--full", "--accept-small"]);
    let refused = fetch(&bank);
    assert_eq!(refused.code, Some(126), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("of the log was forgotten, and the newest"),
        "{}",
        refused.stderr
    );
    let unplanned = [
        "wal-fetch",
        "--snapshot",
        pinned,
        "bank-wal",
        "000000010000000000000002",
        target.to_str().unwrap(),
    ];
    assert_eq!(bank.run(&unplanned).code, Some(126), "nobody said what is needed");
}

#[test]
fn a_failure_does_not_look_like_the_end_of_the_log() {
    let bank = Bank::open();
    bank.succeed(&["run", "bank-wal"]);
    let target = bank.bulkhead.scratch().join("segment");
    let fetch = |name: &str| bank.run(&["wal-fetch", "bank-wal", name, target.to_str().unwrap()]).code;
    assert_eq!(fetch("0000000100000FFF00000000"), Some(13));
    assert_eq!(fetch("00000002.history"), Some(13));
    std::fs::rename(bank.bulkhead.vault(), bank.bulkhead.scratch().join("gone")).unwrap();
    assert_eq!(fetch("000000010000000000000001"), Some(126));
}
