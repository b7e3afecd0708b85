//! Incremental backups of PostgreSQL 17: what is stored is what a full backup stores, whatever happened between two runs, and where one can't be had, a full one is
//! taken and says why.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use bulkhead_sdk::{
    ErrorKind,
    source::BackupResult,
    testing::{Harness, Snapshot},
};
use bulkhead_test_support::{
    postgres::{Builder, Cluster, Installation},
    run,
};
use sha2::{Digest, Sha256};

use crate::setup::{Operations, Target, assert_says, builder, codes, config, dump, make_tablespace, over_tcp, superuser};

/// A server that tells what has changed, and changes nothing by itself.
fn summarizing() -> Builder {
    builder().major(17).setting("summarize_wal", "on").setting("autovacuum", "off")
}

/// The same cluster, restored.
fn restored() -> Builder {
    builder().major(17)
}

fn fact(result: &BackupResult, name: &str) -> String {
    result.proof.facts.iter().find(|fact| fact.name == name).unwrap().value.clone()
}

fn method(result: &BackupResult) -> String {
    fact(result, "method")
}

/// A run that must be incremental.
fn next(harness: &Harness) -> BackupResult {
    let result = harness.backup_as(&superuser()).unwrap();
    assert!(method(&result).starts_with("incremental since "), "{}", method(&result));
    assert!(result.findings.is_empty(), "{:?}", result.findings);
    result
}

/// A run that must read everything, and why.
fn full(harness: &Harness, why: &str) -> BackupResult {
    let result = harness.backup_as(&superuser()).unwrap();
    let method = method(&result);
    assert!(method.starts_with("full: ") && method.contains(why), "`{why}` is not in: {method}");
    result
}

/// What belongs to relations, by path: all that an incremental backup makes whole, and more.
fn relations(snapshot: &Snapshot) -> BTreeMap<&str, &[u8]> {
    let entries = snapshot.entries.iter().map(|(path, entry)| (str::from_utf8(path).unwrap(), entry));
    let relations = entries.filter(|(path, _)| path.starts_with("data/base/") || path.starts_with("tablespaces/"));
    relations.map(|(path, entry)| (path, entry.content.as_slice())).collect()
}

/// Compares the last snapshot with one that the server sends whole, while nothing is written.
fn assert_is_what_the_server_has(cluster: &Cluster, harness: &Harness) {
    let other = over_tcp(cluster);
    other.backup_as(&config("postgres", r#","incremental":"never""#)).unwrap();
    let (ours, theirs) = (harness.last().unwrap(), other.last().unwrap());
    let (ours, theirs) = (relations(&ours), relations(&theirs));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    let different: Vec<_> = ours.keys().filter(|path| ours[*path] != theirs[*path]).collect();
    assert!(different.is_empty(), "{different:?}");
}

/// `pg_verifybackup` of Debian's version, which knows manifests of version 1: they lack the cluster's identifier, and nothing else.
fn verify_by_debian(data: &Path) {
    let path = data.join("backup_manifest");
    let original = std::fs::read_to_string(&path).unwrap();
    let lines = original
        .lines()
        .filter(|line| !line.starts_with("\"System-Identifier\"") && !line.starts_with("\"Manifest-Checksum\""));
    let mut manifest: String = lines.flat_map(|line| [line, "\n"]).collect();
    manifest = manifest.replace("Manifest-Version\": 2,", "Manifest-Version\": 1,");
    let checksum = hex::encode(Sha256::digest(&manifest));
    std::fs::write(&path, format!("{manifest}\"Manifest-Checksum\": \"{checksum}\"}}\n")).unwrap();
    let debian = Installation::find().unwrap();
    run(debian.server_program("pg_verifybackup", ["--no-parse-wal"]).unwrap().arg(data)).unwrap();
    std::fs::write(&path, original).unwrap();
}

/// Restores the last snapshot, lets others judge it, and starts it.
fn revive(cluster: &Cluster, harness: &Harness, target: &Target) -> Cluster {
    target.restore(&harness.last().unwrap(), "{}", &[]).unwrap();
    verify_by_debian(&target.path("data"));
    restored().adopt(&target.path("data"), cluster.password()).unwrap()
}

/// Tables for what will happen to them. Returns the OID of a tablespace.
fn fill(cluster: &Cluster) -> u32 {
    let oid = make_tablespace(cluster, "fast");
    cluster.execute("postgres", "CREATE DATABASE shop").unwrap();
    cluster
        .execute(
            "shop",
            "CREATE TABLE orders (id int PRIMARY KEY, note text);
             INSERT INTO orders SELECT n, repeat('x', n % 100) FROM generate_series(1, 50000) n;
             CREATE TABLE shrinking AS SELECT n, repeat('y', 100) AS note FROM generate_series(1, 20000) n;
             CREATE TABLE growing AS SELECT n, repeat('z', 100) AS note FROM generate_series(1, 5000) n;
             CREATE TABLE doomed AS SELECT generate_series(1, 5000) AS n;
             CREATE TABLE rewritten AS SELECT n, repeat('r', 50) AS note FROM generate_series(1, 5000) n;
             CREATE TABLE archived (id int) TABLESPACE fast;
             INSERT INTO archived SELECT generate_series(1, 20000);
             CREATE TABLE regrown (n int); COPY regrown FROM PROGRAM 'seq 1 100000';
             CREATE UNLOGGED TABLE scratch (id int);
             INSERT INTO scratch SELECT generate_series(1, 1000)",
        )
        .unwrap();
    oid
}

/// Everything that can happen to a relation's file between two backups; `generation` counts from 1.
fn churn(cluster: &Cluster, generation: u32) {
    // COPY adds many pages at once, of which the last stay empty and are not logged: rows were there before.
    let regrown = 60_000 - 5000 * generation;
    let statements = format!(
        "UPDATE orders SET note = note || '!' WHERE id % 1000 = {generation};
         UPDATE archived SET id = -id WHERE id % 5000 = {generation};
         DELETE FROM shrinking WHERE n > 20000 / {generation} - 5000; VACUUM shrinking;
         DELETE FROM regrown WHERE n > 20000; VACUUM regrown; COPY regrown FROM PROGRAM 'seq 20001 {regrown}';
         INSERT INTO growing SELECT n, repeat('g', 100) FROM generate_series(1, 5000) n;
         DROP TABLE doomed; CREATE TABLE doomed AS SELECT generate_series(1, 2000) AS n;
         DELETE FROM rewritten WHERE n % 7 = {generation}; VACUUM FULL rewritten;
         CREATE INDEX by_note_{generation} ON orders (note);
         CREATE TABLE new_{generation} (id int) TABLESPACE fast; INSERT INTO new_{generation} SELECT generate_series(1, 3000);
         TRUNCATE scratch; INSERT INTO scratch SELECT generate_series(1, 10);
         CREATE DATABASE by_log_{generation} TEMPLATE template1 STRATEGY wal_log;
         CREATE DATABASE by_file_{generation} TEMPLATE template1 STRATEGY file_copy"
    );
    cluster.execute("shop", &statements).unwrap();
    // The first generation's databases are changed by the second, and go with the third.
    if generation > 1 {
        let before = generation - 1;
        for name in ["by_log", "by_file"] {
            cluster
                .execute(
                    &format!("{name}_{before}"),
                    "CREATE TABLE own AS SELECT generate_series(1, 3000) AS n",
                )
                .unwrap();
        }
    }
    if generation > 2 {
        let gone = generation - 2;
        cluster
            .execute(
                "shop",
                &format!("DROP DATABASE by_log_{gone}; DROP DATABASE by_file_{gone}; DROP INDEX by_note_{gone}"),
            )
            .unwrap();
    }
}

#[test]
fn each_generation_is_what_a_full_backup_is() {
    let cluster = summarizing().start().unwrap();
    let oid = fill(&cluster);
    let harness = over_tcp(&cluster);
    let first = full(&harness, "this run has no snapshot to build on");
    assert!(first.findings.is_empty(), "{:?}", first.findings);
    for generation in 1..=4 {
        churn(&cluster, generation);
        let result = next(&harness);
        let (received, stored): (u64, u64) = (fact(&result, "bytes-received").parse().unwrap(), result.proof.bytes);
        assert!(received < stored * 3 / 4, "generation {generation}: {received} bytes for {stored}");
        assert_is_what_the_server_has(&cluster, &harness);
        assert_eq!(codes(&harness.verified()), ["manifest-verified"]);
    }
    // What is not logged comes back empty from any backup.
    cluster.execute("shop", "TRUNCATE scratch").unwrap();
    let before = dump(&cluster);
    cluster.stop().unwrap();
    let target = Target::new(&[oid]);
    let twin = revive(&cluster, &harness, &target);
    let (from, to) = (cluster.tablespaces().unwrap().remove(0), target.path(&format!("tablespace-{oid}")));
    let (from, to) = (from.display().to_string(), to.display().to_string());
    assert!(dump(&twin) == before.replace(&from, &to), "the dumps differ");
}

#[test]
fn without_changes_nearly_nothing_is_sent_and_files_are_carried_forward() {
    let cluster = summarizing().start().unwrap();
    fill(&cluster);
    let harness = over_tcp(&cluster);
    full(&harness, "no snapshot");
    let result = next(&harness);
    // What is sent whole each time: maps, free space, and the log.
    let received: u64 = fact(&result, "bytes-received").parse().unwrap();
    assert!(received * 3 < result.proof.bytes, "{received} of {}", result.proof.bytes);
    let label = harness.content("data/backup_label").unwrap();
    assert!(!String::from_utf8_lossy(&label).contains("INCREMENTAL"));
    assert!(
        harness
            .last()
            .unwrap()
            .entries
            .keys()
            .all(|path| !path.windows(11).any(|part| part == b"INCREMENTAL"))
    );
}

#[test]
fn incremental_backups_beside_writes_are_consistent() {
    let cluster = summarizing().start().unwrap();
    cluster
        .execute(
            "postgres",
            "CREATE TABLE pairs (a int, b int); INSERT INTO pairs SELECT n, -n FROM generate_series(1, 100000) n; CREATE INDEX ON pairs (a)",
        )
        .unwrap();
    let harness = over_tcp(&cluster);
    full(&harness, "no snapshot");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let random = "a = a + 1, b = b - 1 WHERE random() < 0.02";
                cluster
                    .execute("postgres", &format!("UPDATE pairs SET {random}; VACUUM pairs; CHECKPOINT"))
                    .unwrap();
            }
        });
        for _ in 0..3 {
            let outcome = harness.backup_as(&config("postgres", r#","max-rate":"32 MiB/s""#));
            if outcome.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            let result = outcome.unwrap();
            assert!(method(&result).starts_with("incremental"), "{}", method(&result));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let target = Target::new(&[]);
    let twin = revive(&cluster, &harness, &target);
    let count = "SELECT count(*), sum(a + b) FROM pairs";
    assert_eq!(twin.execute("postgres", count).unwrap(), "100000|0");
    let by_index = format!("SET enable_seqscan = off; SET enable_bitmapscan = off; {count} WHERE a > -1000000");
    assert_eq!(twin.execute("postgres", &by_index).unwrap(), "100000|0");
}

/// A name in the log.
const MOMENT: &str = "SELECT pg_create_restore_point('moment')";

#[test]
fn log_brings_an_incremental_backup_to_a_moment() {
    let cluster = summarizing().setting("wal_keep_size", "256MB").start().unwrap();
    cluster
        .execute("postgres", "CREATE TABLE t AS SELECT generate_series(1, 10000) AS n")
        .unwrap();
    let harness = over_tcp(&cluster);
    full(&harness, "no snapshot");
    cluster
        .execute("postgres", "UPDATE t SET n = n + 1000000 WHERE n % 100 = 0")
        .unwrap();
    next(&harness);
    let statements = format!("DELETE FROM t WHERE n < 100; {MOMENT}; DELETE FROM t; SELECT pg_switch_wal()");
    cluster.execute("postgres", &statements).unwrap();
    cluster.stop().unwrap();

    let target = Target::new(&[]);
    let options = format!(
        r#"{{"recovery":{{"standby":false,"settings":[["restore_command","cp {}/%f %p"],["recovery_target_name","moment"],["recovery_target_action","promote"]]}}}}"#,
        cluster.data_directory().join("pg_wal").display()
    );
    target.restore(&harness.last().unwrap(), &options, &[]).unwrap();
    let twin = summarizing().adopt(&target.path("data"), cluster.password()).unwrap();
    while twin.execute("postgres", "SELECT pg_is_in_recovery()").unwrap() != "f" {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(
        twin.execute("postgres", "SELECT count(*), count(*) FILTER (WHERE n > 1000000) FROM t")
            .unwrap(),
        "9901|100"
    );
    // It is on a timeline of its own now, where nobody has summed up what led there.
    let continued = over_tcp(&twin).snapshot(harness.last().unwrap());
    let result = full(&continued, "the last snapshot is of timeline 1");
    assert_eq!(codes(&result.findings), ["full-backup"]);
    next(&continued);
}

/// The end of a snapshot's log, as the server writes it.
fn end(harness: &Harness) -> String {
    let facts = harness.last().unwrap().proof.facts;
    facts.into_iter().find(|fact| fact.name == "end-lsn").unwrap().value
}

#[test]
fn a_server_that_was_set_back_is_read_whole() {
    let cluster = summarizing().start().unwrap();
    cluster
        .execute("postgres", "CREATE TABLE t AS SELECT generate_series(1, 10000) AS n")
        .unwrap();
    let harness = over_tcp(&cluster);
    full(&harness, "no snapshot");
    let old = harness.last().unwrap();
    cluster.execute("postgres", "UPDATE t SET n = -n WHERE n < 5000").unwrap();
    next(&harness);
    cluster.stop().unwrap();

    // The older backup is put in its place, without a recovery that would begin another timeline, and its log grows beyond the newer backup's.
    let target = Target::new(&[]);
    target.restore(&old, "{}", &[]).unwrap();
    let twin = summarizing().adopt(&target.path("data"), cluster.password()).unwrap();
    let beyond = format!("SELECT pg_current_wal_lsn() > '{}'", end(&harness));
    while twin.execute("postgres", &beyond).unwrap() != "t" {
        twin.execute(
            "postgres",
            "SELECT pg_logical_emit_message(false, 'x', 'y'), pg_switch_wal(); CHECKPOINT",
        )
        .unwrap();
    }
    let continued = over_tcp(&twin).snapshot(harness.last().unwrap());
    let result = full(&continued, "the server was restarted since the last snapshot");
    assert_eq!(codes(&result.findings), ["full-backup"]);
    assert_is_what_the_server_has(&twin, &continued);
    next(&continued);
}

/// Takes what an incremental backup needs away from the server.
fn remove_summaries(cluster: &Cluster) {
    for file in std::fs::read_dir(cluster.data_directory().join("pg_wal/summaries")).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
}

#[test]
fn where_the_server_has_no_summaries_all_is_read_and_it_says_why() {
    let cluster = builder().major(17).start().unwrap();
    let harness = over_tcp(&cluster);
    let result = full(&harness, "`summarize_wal` is off");
    assert!(result.findings.is_empty(), "{:?}", result.findings);
    cluster.execute("postgres", "ALTER SYSTEM SET summarize_wal = on").unwrap();
    cluster.execute("postgres", "SELECT pg_reload_conf()").unwrap();
    full(&harness, "could not be had");
    let old = harness.last().unwrap();
    next(&harness);

    remove_summaries(&cluster);
    let harness = over_tcp(&cluster).snapshot(old);
    let result = full(&harness, "the server refuses an incremental one: WAL summaries are required");
    assert_eq!(codes(&result.findings), ["full-backup"]);
    assert!(result.findings[0].hint.as_deref().unwrap().contains("wal_summary_keep_time"));
    // What was refused has left nothing behind.
    assert_eq!(
        cluster.execute("postgres", "SELECT count(*) FROM pg_replication_slots").unwrap(),
        "0"
    );

    let never = harness.backup_as(&config("postgres", r#","incremental":"never""#)).unwrap();
    assert_eq!(method(&never), "full: `incremental` is \"never\"");
    assert!(never.findings.is_empty());
}

#[test]
fn another_version_and_another_cluster_are_read_whole() {
    let older = builder().major(16).start().unwrap();
    let harness = over_tcp(&older);
    full(&harness, "PostgreSQL 16 does not tell what has changed");
    full(&harness, "PostgreSQL 16 does not tell what has changed");

    let newer = summarizing().start().unwrap();
    let harness = over_tcp(&newer).snapshot(harness.last().unwrap());
    full(&harness, "the last snapshot is of another cluster");
    next(&harness);
    harness.tamper(|snapshot| snapshot.checkpoint = Some(br#"{"version":1,"mode":"logical"}"#.to_vec()));
    full(&harness, "not one of mode `physical`");
}

#[test]
fn a_role_without_sql_reads_all() {
    let cluster = summarizing()
        .rule("host replication keeper 127.0.0.1/32 trust")
        .rule("host all keeper 127.0.0.1/32 reject")
        .start()
        .unwrap();
    cluster.execute("postgres", "CREATE ROLE keeper LOGIN REPLICATION").unwrap();
    let harness = over_tcp(&cluster);
    for _ in 0..2 {
        let result = harness.backup_as(&config("keeper", "")).unwrap();
        assert!(method(&result).contains("only SQL tells"), "{}", method(&result));
        assert!(result.findings[0].hint.as_deref().unwrap().contains("pg_hba.conf"));
    }
    // Replication and a login are all the rights that it needs.
    cluster
        .execute("postgres", "CREATE ROLE clerk LOGIN REPLICATION PASSWORD 'x'")
        .unwrap();
    let harness = Harness::new()
        .endpoint("server", bulkhead_sdk::testing::Endpoint::tcp(cluster.address()))
        .secret("password", "x")
        .snapshot(harness.last().unwrap());
    harness.backup_as(&config("clerk", "")).unwrap();
    let result = harness.backup_as(&config("clerk", "")).unwrap();
    assert!(method(&result).starts_with("incremental"), "{}", method(&result));
}

/// Waits until no connection of a backup is left.
fn wait_for_the_end(cluster: &Cluster) {
    let left = "SELECT (SELECT count(*) FROM pg_stat_replication) + (SELECT count(*) FROM pg_replication_slots)";
    while cluster.execute("postgres", left).unwrap() != "0" {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// A server with room for one backup, whose role `clerk` has no rights that it doesn't need.
fn with_room_for_one() -> Cluster {
    let cluster = summarizing()
        .setting("max_wal_senders", 1)
        .setting("max_replication_slots", 1)
        .setting("log_replication_commands", "on")
        .rule("host replication clerk 127.0.0.1/32 trust")
        .rule("host all clerk 127.0.0.1/32 trust")
        .start()
        .unwrap();
    cluster.execute("postgres", "CREATE ROLE clerk LOGIN REPLICATION").unwrap();
    cluster
}

#[test]
fn where_cuts_are_not_told_all_is_read_and_begun_once() {
    let cluster = with_room_for_one();
    let harness = over_tcp(&cluster);
    let clerk = || config("clerk", "");
    for function in ["pg_available_wal_summaries", "pg_wal_summary_contents"] {
        cluster
            .execute("postgres", &format!("REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC"))
            .unwrap();
        let checked = harness.check_as(&clerk()).unwrap();
        let off = checked.iter().find(|finding| finding.code == "incremental-off").unwrap();
        assert!(off.hint.as_deref().unwrap().contains("GRANT EXECUTE"), "{off:?}");
        wait_for_the_end(&cluster);
        let begun = || cluster.log().matches("received replication command: BASE_BACKUP").count();
        let before = begun();
        let result = harness.backup_as(&clerk()).unwrap();
        assert!(method(&result).contains("to where relations were cut"), "{}", method(&result));
        assert_eq!(codes(&result.findings), ["full-backup"]);
        assert!(result.findings[0].hint.as_deref().unwrap().contains("GRANT EXECUTE"));
        assert_eq!(begun(), before + 1);
        wait_for_the_end(&cluster);
        cluster
            .execute("postgres", &format!("GRANT EXECUTE ON FUNCTION {function} TO clerk"))
            .unwrap();
    }
    let result = harness.backup_as(&clerk()).unwrap();
    assert!(method(&result).starts_with("incremental"), "{}", method(&result));
    wait_for_the_end(&cluster);
    let checked = harness.check_as(&clerk()).unwrap();
    assert!(!codes(&checked).contains(&"incremental-off"), "{checked:?}");
}

#[test]
fn a_full_backup_in_the_place_of_one_that_is_refused_needs_no_more_room() {
    let cluster = with_room_for_one();
    let harness = over_tcp(&cluster);
    harness.backup_as(&config("clerk", "")).unwrap();
    wait_for_the_end(&cluster);
    let old = harness.last().unwrap();
    harness.backup_as(&config("clerk", "")).unwrap();
    wait_for_the_end(&cluster);
    remove_summaries(&cluster);
    let harness = over_tcp(&cluster).snapshot(old);
    let result = harness.backup_as(&config("clerk", "")).unwrap();
    assert!(method(&result).contains("the server refuses"), "{}", method(&result));
}

/// Waits until a standby has replayed what its primary has written, and begins its next backup there.
fn replay(primary: &Cluster, standby: &Cluster) {
    primary.execute("postgres", "CHECKPOINT").unwrap();
    let position = primary.execute("postgres", "SELECT pg_current_wal_flush_lsn()").unwrap();
    let there = format!("SELECT pg_last_wal_replay_lsn() >= '{position}'");
    let begun = std::time::Instant::now();
    while standby.execute("postgres", &there).unwrap() != "t" {
        assert!(begun.elapsed().as_secs() < 60, "the standby does not get to {position}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    standby.execute("postgres", "CHECKPOINT").unwrap();
}

#[test]
fn a_standby_is_read_incrementally() {
    let primary = summarizing().start().unwrap();
    primary
        .execute(
            "postgres",
            "CREATE TABLE t AS SELECT n, repeat('x', 100) AS x FROM generate_series(1, 20000) n",
        )
        .unwrap();
    let base = over_tcp(&primary);
    full(&base, "no snapshot");
    let target = Target::new(&[]);
    let connection = format!(
        "host=127.0.0.1 port={} user=postgres password={}",
        primary.port(),
        primary.password()
    );
    let options = format!(r#"{{"recovery":{{"standby":true,"settings":[["primary_conninfo","{connection}"]]}}}}"#);
    target.restore(&base.last().unwrap(), &options, &[]).unwrap();
    let standby = summarizing().adopt(&target.path("data"), primary.password()).unwrap();

    replay(&primary, &standby);
    let harness = over_tcp(&standby);
    full(&harness, "no snapshot");
    for generation in 1..=2 {
        let change = format!(
            "UPDATE t SET n = -n WHERE n % 100 = {generation}; DELETE FROM t WHERE n > {}; CREATE TABLE t{generation} AS SELECT * FROM t",
            20000 - generation * 1000
        );
        primary.execute("postgres", &change).unwrap();
        replay(&primary, &standby);
        next(&harness);
        assert_is_what_the_server_has(&standby, &harness);
    }
    let rows = "SELECT sum(n), (SELECT count(*) FROM t2) FROM t";
    let target = Target::new(&[]);
    target.restore(&harness.last().unwrap(), "{}", &[]).unwrap();
    verify_by_debian(&target.path("data"));
    std::fs::remove_file(target.path("data/standby.signal")).unwrap();
    let twin = restored().adopt(&target.path("data"), primary.password()).unwrap();
    assert_eq!(twin.execute("postgres", rows).unwrap(), primary.execute("postgres", rows).unwrap());
}

#[test]
fn a_users_own_file_may_be_called_as_the_server_calls_what_has_changed() {
    let cluster = summarizing().start().unwrap();
    let own = |name: &str| std::fs::write(cluster.data_directory().join(name), name).unwrap();
    let harness = over_tcp(&cluster);
    own("INCREMENTAL.old");
    own("old");
    full(&harness, "no snapshot");
    // The last one is called as that of a relation, of which the snapshot has no file.
    let database = cluster
        .execute("postgres", "SELECT oid FROM pg_database WHERE datname = 'postgres'")
        .unwrap();
    let of_relation = format!("base/{database}/INCREMENTAL.4294967295");
    own("INCREMENTAL.new");
    own(&of_relation);
    next(&harness);
    let are_kept = || {
        for name in ["INCREMENTAL.old", "INCREMENTAL.new", &of_relation] {
            assert_eq!(harness.content(format!("data/{name}")).unwrap(), name.as_bytes());
        }
    };
    are_kept();
    // From the manifest, the server would take it for the relation's.
    let result = full(&harness, &of_relation);
    assert_eq!(codes(&result.findings), ["full-backup"]);
    are_kept();
    assert_is_what_the_server_has(&cluster, &harness);
    std::fs::remove_file(cluster.data_directory().join(&of_relation)).unwrap();
    full(&harness, &of_relation);
    next(&harness);
}

#[test]
fn a_users_own_file_may_be_called_as_the_changes_of_a_file_that_is_there() {
    let (cluster, harness, file) = with_a_parent("UPDATE t SET n = -n WHERE n = 1");
    let (folder, name) = file.rsplit_once('/').unwrap();
    let own = cluster
        .data_directory()
        .join(format!("{folder}/INCREMENTAL.{name}").strip_prefix("data/").unwrap());
    std::fs::write(&own, "mine").unwrap();
    // Two files of one name: what the server sends cannot be told apart, and nothing is stored.
    let error = harness.backup_as(&superuser()).unwrap_err();
    assert!(error.hint.is_some(), "{error}");
    std::fs::remove_file(&own).unwrap();
    next(&harness);
    assert_is_what_the_server_has(&cluster, &harness);
}

/// A cluster with a table whose file has been in a backup, changed since or not.
fn with_a_parent(change: &str) -> (Cluster, Harness, String) {
    let cluster = summarizing().start().unwrap();
    cluster
        .execute("postgres", "CREATE TABLE t AS SELECT generate_series(1, 100000) AS n; VACUUM t")
        .unwrap();
    let harness = over_tcp(&cluster);
    full(&harness, "no snapshot");
    cluster.execute("postgres", change).unwrap();
    let file = cluster.execute("postgres", "SELECT pg_relation_filepath('t')").unwrap();
    (cluster, harness, format!("data/{file}"))
}

#[test]
fn damage_in_the_parent_never_gets_into_the_next_snapshot() {
    let (_cluster, harness, file) = with_a_parent("UPDATE t SET n = -n WHERE n = 1");
    // Far from what has changed, and in a block that is replaced as a whole: neither is taken over.
    for place in [8192 * 100 + 5000, 5000] {
        harness.tamper(|snapshot| snapshot.entries.get_mut(file.as_bytes()).unwrap().content[place] ^= 1);
        let error = harness.backup_as(&superuser()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
        assert_says(&error, &format!("{file} is damaged in the last snapshot"), "bulkhead run --full");
        harness.tamper(|snapshot| snapshot.entries.get_mut(file.as_bytes()).unwrap().content[place] ^= 1);
    }
    assert_eq!(harness.snapshots().len(), 1);
    let result = next(&harness);
    let reread: usize = fact(&result, "bytes-read-from-vault").parse().unwrap();
    assert!(reread >= harness.content(&file).unwrap().len(), "{reread}");
}

#[test]
fn accepted_damage_is_found_by_every_run_until_it_is_mended() {
    let cluster = summarizing().start().unwrap();
    cluster
        .execute("postgres", "CREATE TABLE t AS SELECT generate_series(1, 10000) AS n")
        .unwrap();
    let file = cluster.execute("postgres", "SELECT pg_relation_filepath('t')").unwrap();
    cluster.stop().unwrap();
    let path = cluster.data_directory().join(&file);
    let sound = std::fs::read(&path).unwrap();
    let mut damaged = sound.clone();
    damaged[8192 + 5000] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    cluster.start().unwrap();

    let accepting = config("postgres", r#", "accept-damaged-pages": true"#);
    let harness = over_tcp(&cluster);
    for why in ["no snapshot", "damaged pages"] {
        let result = harness.backup_as(&accepting).unwrap();
        assert_eq!(codes(&result.findings), ["damaged-pages"]);
        assert!(method(&result).contains(why), "{}", method(&result));
    }
    std::fs::write(&path, sound).unwrap();
    let result = harness.backup_as(&accepting).unwrap();
    assert!(result.findings.is_empty(), "{:?}", result.findings);
    next(&harness);
}

#[test]
fn a_parent_that_lacks_something_is_not_built_on() {
    let (_cluster, harness, file) = with_a_parent("CHECKPOINT");
    let sound = harness.last().unwrap();
    let lost = |snapshot: &mut Snapshot| {
        snapshot.entries.remove(file.as_bytes());
    };
    let shorter = |snapshot: &mut Snapshot| {
        snapshot.entries.get_mut(file.as_bytes()).unwrap().content.pop();
    };
    let without_manifest = |snapshot: &mut Snapshot| {
        snapshot.entries.remove(&b"backup_manifest"[..]);
    };
    let with_another = |snapshot: &mut Snapshot| {
        let manifest = &mut snapshot.entries.get_mut(&b"backup_manifest"[..]).unwrap().content;
        let last = manifest.len() - 10;
        manifest[last] = if manifest[last] == b'0' { b'1' } else { b'0' };
    };
    type Damage<'a> = (&'a str, &'a dyn Fn(&mut Snapshot));
    let damages: [Damage<'_>; 4] = [
        (&file, &lost),
        (&file, &shorter),
        ("backup_manifest", &without_manifest),
        ("SHA-256", &with_another),
    ];
    for (named, damage) in damages {
        harness.tamper(|snapshot| {
            *snapshot = sound.clone();
            damage(snapshot);
        });
        let result = full(&harness, named);
        assert_eq!(codes(&result.findings), ["full-backup"]);
        assert!(method(&result).contains("cannot be built on"), "{}", method(&result));
    }
}
