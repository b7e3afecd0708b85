//! A restore over the cluster that is there. The witnesses are pg_verifybackup, and a server that starts.

use std::{collections::BTreeMap, path::Path};

use bulkhead_sdk::{
    ErrorKind,
    source::RestoreResult,
    testing::{Call, Snapshot},
};
use bulkhead_test_support::postgres::Cluster;

use crate::setup::{Operations, Target, assert_says, builder, exists, make_tablespace, over_tcp, superuser};

const DELTA: &str = r#"{"delta":{"dry-run":false}}"#;
const REHEARSAL: &str = r#"{"delta":{"dry-run":true}}"#;

/// What a restore states.
fn fact(result: &RestoreResult, name: &str) -> u64 {
    let found = result.facts.iter().find(|fact| fact.name == name).unwrap();
    found.value.parse().unwrap()
}

/// What a rehearsal would remove.
fn removed(result: &RestoreResult) -> Vec<&str> {
    let named = result.facts.iter().filter(|fact| fact.name == "remove");
    named.map(|fact| fact.value.split(' ').next().unwrap()).collect()
}

/// A snapshot of a cluster with a table of some size and a tablespace, whose OID comes with it.
fn snapshot() -> (Cluster, Snapshot, u32) {
    let cluster = builder().start().unwrap();
    let oid = make_tablespace(&cluster, "fast");
    cluster
        .execute(
            "postgres",
            "CREATE TABLE t (n int, filler text); INSERT INTO t SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n;
             CREATE TABLE fast (n int) TABLESPACE fast; INSERT INTO fast SELECT generate_series(1, 100000)",
        )
        .unwrap();
    // Else the first who reads a row writes down that it is visible, into each page.
    cluster.execute("postgres", "VACUUM (FREEZE)").unwrap();
    let harness = over_tcp(&cluster);
    harness.backup_as(&superuser()).unwrap();
    let snapshot = harness.last().unwrap();
    (cluster, snapshot, oid)
}

/// A cluster that was restored from the snapshot and then went on for a while, stopped.
fn gone_on(cluster: &Cluster, snapshot: &Snapshot, oid: u32) -> Target {
    let target = Target::new(&[oid]);
    target.restore(snapshot, "{}", &[]).unwrap();
    let twin = builder().adopt(&target.path("data"), cluster.password()).unwrap();
    twin.execute(
        "postgres",
        "UPDATE t SET filler = repeat('y', 500) WHERE n < 50; DELETE FROM fast WHERE n = 7;
         CREATE TABLE later AS SELECT generate_series(1, 1000) AS n; CREATE TABLE fast_later (n int) TABLESPACE fast;",
    )
    .unwrap();
    twin.execute("postgres", "CREATE DATABASE later").unwrap();
    twin.execute("postgres", "SELECT pg_create_physical_replication_slot('later', true)")
        .unwrap();
    twin.stop().unwrap();
    drop(twin);
    target
}

/// Starts a server on what was restored, and sees that it is as of the snapshot.
fn assert_as_of_the_snapshot(cluster: &Cluster, target: &Target) {
    cluster.installation().verify_backup(&target.path("data")).unwrap();
    let twin = builder().adopt(&target.path("data"), cluster.password()).unwrap();
    let counts =
        "SELECT count(*) FILTER (WHERE filler = repeat('x', 500)), (SELECT count(*) FROM fast), to_regclass('later') IS NULL FROM t";
    assert_eq!(twin.execute("postgres", counts).unwrap(), "20000|100000|t");
    let rest = "SELECT count(*), (SELECT count(*) FROM pg_replication_slots) FROM pg_database WHERE datname = 'later'";
    assert_eq!(twin.execute("postgres", rest).unwrap(), "0|0");
}

/// Every file with its content.
fn contents(folder: &Path) -> BTreeMap<std::path::PathBuf, String> {
    bulkhead_test_support::Tree::of(folder).unwrap().contents()
}

#[test]
fn only_what_differs_is_written_and_what_is_too_much_goes() {
    let (cluster, snapshot, oid) = snapshot();
    cluster.stop().unwrap();
    let target = gone_on(&cluster, &snapshot, oid);
    std::fs::write(target.path("data/standby.signal"), "").unwrap();
    std::fs::hard_link(target.path("data/PG_VERSION"), target.path("kept-elsewhere")).unwrap();
    std::fs::create_dir(target.path(&format!("tablespace-{oid}/PG_99_later"))).unwrap();

    let before = contents(&target.path("data"));
    let said = target.restore(&snapshot, REHEARSAL, &[]).unwrap();
    assert_eq!(contents(&target.path("data")), before, "a rehearsal writes nothing");
    let names = removed(&said);
    for expected in ["data/standby.signal", "data/pg_replslot/later"] {
        assert!(names.contains(&expected), "{names:?}");
    }

    let done = target.restore(&snapshot, DELTA, &[]).unwrap();
    for name in ["created", "updated", "unchanged", "removed"] {
        assert_eq!(fact(&said, name), fact(&done, name), "{name}");
    }
    // Of its own file the rehearsal could not know, and did not count it.
    assert_eq!(fact(&said, "bytes-written"), fact(&done, "bytes-written"));
    assert!(
        fact(&done, "bytes-written") * 3 < done.bytes,
        "{} of {} bytes were written",
        fact(&done, "bytes-written"),
        done.bytes
    );
    assert!(fact(&done, "removed") > 100, "the database that came later");
    assert!(fact(&done, "updated") > 3 && fact(&done, "unchanged") > 800, "{:?}", done.facts);
    assert!(exists(&target.path(&format!("tablespace-{oid}/PG_99_later"))), "another server's");
    assert_eq!(
        std::os::unix::fs::MetadataExt::nlink(&std::fs::metadata(target.path("kept-elsewhere")).unwrap()),
        1
    );
    assert_as_of_the_snapshot(&cluster, &target);
}

#[test]
fn what_was_cut_off_does_not_start_and_is_finished_by_the_next() {
    let (cluster, snapshot, oid) = snapshot();
    cluster.stop().unwrap();
    let target = gone_on(&cluster, &snapshot, oid);
    // Later each time, up to the end.
    let mut cuts = 0;
    for changes in [1, 5, 20, 60, 100, 200, 400, 900, 1500, 2500, 4000] {
        target.folder("data").die_after(changes);
        if target.restore(&snapshot, DELTA, &[]).is_ok() {
            break;
        }
        cuts += 1;
        assert!(!exists(&target.path("data/global/pg_control")), "cut off after {changes} changes");
        target.folder("data").die_after(u64::MAX);
    }
    assert!(cuts > 3, "{cuts}");
    target.folder("data").die_after(u64::MAX);
    target.restore(&snapshot, DELTA, &[]).unwrap();
    assert_as_of_the_snapshot(&cluster, &target);

    // The same holds where nothing was there, whenever it ends.
    for changes in 1..8 {
        let target = Target::new(&[oid]);
        target.folder("data").die_after(changes);
        target.restore(&snapshot, "{}", &[]).unwrap_err();
        target.folder("data").die_after(u64::MAX);
        target.restore(&snapshot, REHEARSAL, &[]).unwrap();
    }
    let target = Target::new(&[oid]);
    target.folder("data").die_after(700);
    target.restore(&snapshot, "{}", &[]).unwrap_err();
    assert!(exists(&target.path("data/PG_VERSION")) && !exists(&target.path("data/global/pg_control")));
    target.folder("data").die_after(u64::MAX);
    target.restore(&snapshot, DELTA, &[]).unwrap();
    assert_as_of_the_snapshot(&cluster, &target);
}

#[test]
fn what_cannot_be_written_is_left_alone_where_it_is_the_same_and_else_replaced() {
    let (cluster, snapshot, oid) = snapshot();
    cluster.stop().unwrap();
    let target = Target::new(&[oid]);
    target.restore(&snapshot, "{}", &[]).unwrap();
    target.folder("data").fail(Call::ModifyFile, ErrorKind::PermissionDenied);
    let same = target.restore(&snapshot, DELTA, &[]).unwrap();
    assert_eq!((fact(&same, "updated"), fact(&same, "bytes-written")), (0, 0), "{:?}", same.facts);

    let target = gone_on(&cluster, &snapshot, oid);
    target.folder("data").fail(Call::ModifyFile, ErrorKind::PermissionDenied);
    let said = target.restore(&snapshot, REHEARSAL, &[]).unwrap();
    let done = target.restore(&snapshot, DELTA, &[]).unwrap();
    for name in ["updated", "replaced", "unchanged", "bytes-written"] {
        assert_eq!(fact(&said, name), fact(&done, name), "{name}");
    }
    assert!(fact(&done, "replaced") > 3, "{:?}", done.facts);
    assert_as_of_the_snapshot(&cluster, &target);
}

#[test]
fn attributes_that_are_as_they_should_be_are_not_set() {
    let (cluster, snapshot, oid) = snapshot();
    cluster.stop().unwrap();
    let target = Target::new(&[oid]);
    target.restore(&snapshot, "{}", &[]).unwrap();
    let changed = |name: &str| {
        let metadata = std::fs::metadata(target.path(name)).unwrap();
        (
            std::os::unix::fs::MetadataExt::ctime(&metadata),
            std::os::unix::fs::MetadataExt::ctime_nsec(&metadata),
        )
    };
    let before = changed("data/PG_VERSION");
    std::fs::set_permissions(
        target.path("data/postgresql.conf"),
        std::os::unix::fs::PermissionsExt::from_mode(0o640),
    )
    .unwrap();
    target.restore(&snapshot, DELTA, &[]).unwrap();
    assert_eq!(changed("data/PG_VERSION"), before);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(target.path("data/postgresql.conf")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_link_in_the_place_of_a_folder_is_not_replaced() {
    let (cluster, snapshot, oid) = snapshot();
    cluster.stop().unwrap();
    let target = gone_on(&cluster, &snapshot, oid);
    let log = target.path("data/pg_wal");
    std::fs::rename(&log, target.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(target.path("elsewhere"), &log).unwrap();
    let before = contents(&target.path("data"));
    for how in [REHEARSAL, DELTA] {
        let error = target.restore(&snapshot, how, &[]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
        assert_says(&error, "`pg_wal` in directory `data`", "mount that folder");
        assert_eq!(contents(&target.path("data")), before, "nothing was written");
    }
    assert!(log.is_symlink());
    std::fs::remove_file(&log).unwrap();
    target.restore(&snapshot, DELTA, &[]).unwrap();
    assert_as_of_the_snapshot(&cluster, &target);
}

#[test]
fn a_rehearsal_knows_that_what_is_in_the_way_would_be_gone() {
    let (cluster, snapshot, oid) = snapshot();
    cluster.stop().unwrap();
    let target = gone_on(&cluster, &snapshot, oid);
    std::fs::remove_dir_all(target.path("data/pg_wal")).unwrap();
    std::fs::write(target.path("data/pg_wal"), "no folder").unwrap();
    std::fs::create_dir(target.path("data/lost+found")).unwrap();
    let said = target.restore(&snapshot, REHEARSAL, &[]).unwrap();
    assert!(removed(&said).contains(&"data/pg_wal"), "{:?}", removed(&said));
    assert!(!removed(&said).contains(&"data/lost+found"), "a file system's own");
    let done = target.restore(&snapshot, DELTA, &[]).unwrap();
    for name in ["created", "updated", "unchanged", "removed", "bytes-written"] {
        assert_eq!(fact(&said, name), fact(&done, name), "{name}");
    }
    assert!(exists(&target.path("data/lost+found")));
    std::fs::remove_dir(target.path("data/lost+found")).unwrap();
    assert_as_of_the_snapshot(&cluster, &target);
}

#[test]
fn what_is_in_the_place_of_another_file_system_is_synced_by_itself() {
    let (cluster, snapshot, oid) = snapshot();
    cluster.stop().unwrap();
    let target = gone_on(&cluster, &snapshot, oid);
    target.restore(&snapshot, DELTA, &[]).unwrap();
    assert_eq!(
        target.folder("data").synced_files(),
        2,
        "pg_control, both times; all else goes with its file system"
    );
    target.folder("data").mount_at("pg_wal");
    target.restore(&snapshot, DELTA, &[]).unwrap();
    let log = std::fs::read_dir(target.path("data/pg_wal")).unwrap();
    let files = log.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_file()).count();
    assert!(files > 0 && target.folder("data").synced_files() >= 3 + files as u64);
    assert_as_of_the_snapshot(&cluster, &target);
}

#[test]
fn a_server_that_starts_in_between_is_left_alone() {
    let (cluster, snapshot, oid) = snapshot();
    cluster.stop().unwrap();
    let target = gone_on(&cluster, &snapshot, oid);
    let before = contents(&target.path("data"));
    let lock = target.path("data/postmaster.pid");
    // After the first look, and after the last one before the cluster is made one that does not start.
    for call in [Call::Space, Call::Rename] {
        let starts = lock.clone();
        target
            .folder("data")
            .meanwhile(call, move || std::fs::write(starts, "4711\n").unwrap());
        let error = target.restore(&snapshot, DELTA, &[]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
        assert_says(&error, "of the process 4711", "stop the server");
        std::fs::remove_file(&lock).unwrap();
        assert_eq!(contents(&target.path("data")), before, "{call:?}");
    }
    target.restore(&snapshot, DELTA, &[]).unwrap();
    assert_as_of_the_snapshot(&cluster, &target);
}

#[test]
fn what_was_cut_off_is_still_known_by_its_cluster() {
    let (cluster, first, oid) = snapshot();
    cluster.stop().unwrap();
    let target = gone_on(&cluster, &first, oid);
    target.folder("data").die_after(60);
    target.restore(&first, DELTA, &[]).unwrap_err();
    target.folder("data").die_after(u64::MAX);
    assert!(!exists(&target.path("data/global/pg_control")));

    let other = builder().start().unwrap();
    let harness = over_tcp(&other);
    harness.backup_as(&superuser()).unwrap();
    let error = target.restore(&harness.last().unwrap(), DELTA, &[]).unwrap_err();
    assert_says(&error, "is another cluster than the snapshot's", "another folder");
    target.restore(&first, DELTA, &[]).unwrap();
    assert!(!exists(&target.path("data/global/pg_control.aside")));
    assert_as_of_the_snapshot(&cluster, &target);
}

#[test]
fn what_is_not_this_cluster_at_rest_is_left_alone() {
    let (_cluster, snapshot, oid) = snapshot();
    let refused = |target: &Target, message: &str, hint: &str| {
        let before = contents(&target.path("data"));
        let error = target.restore(&snapshot, DELTA, &[]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
        assert_says(&error, message, hint);
        assert_eq!(contents(&target.path("data")), before, "nothing was written");
    };
    let target = Target::new(&[oid]);
    std::fs::write(target.path("data/precious"), "data").unwrap();
    refused(&target, "is no data directory of PostgreSQL", "empty this one");
    std::fs::write(target.path("data/PG_VERSION"), "15\n").unwrap();
    refused(&target, "is no data directory of PostgreSQL", "empty this one");
    std::fs::create_dir(target.path("data/global")).unwrap();
    std::fs::write(target.path("data/PG_VERSION"), "9.6\n").unwrap();
    refused(&target, "is of PostgreSQL 9.6, the snapshot of PostgreSQL 15", "another folder");
    std::fs::write(target.path("data/PG_VERSION"), "15\n").unwrap();
    std::fs::write(target.path("data/global/pg_control"), "somebody else's").unwrap();
    refused(&target, "is another cluster than the snapshot's", "another folder");
    std::fs::write(target.path("data/postmaster.pid"), "4711\n/srv\n").unwrap();
    refused(&target, "of the process 4711", "stop the server");

    // A tablespace that no cluster here has: some other server may be running on it.
    let target = Target::new(&[oid]);
    std::fs::create_dir(target.path(&format!("tablespace-{oid}/PG_15_202209061"))).unwrap();
    refused(&target, "is no tablespace of the cluster", "or an empty one");

    let target = Target::new(&[oid]);
    let error = target.restore(&snapshot, DELTA, &["data/global"]).unwrap_err();
    assert_says(&error, "a part of a cluster", "without paths");
    // Where there is nothing, it is a restore like any other.
    let done = target.restore(&snapshot, DELTA, &[]).unwrap();
    assert_eq!((fact(&done, "removed"), fact(&done, "updated")), (0, 0));
}

#[test]
fn a_tablespace_can_move_on_the_way() {
    let (cluster, snapshot, oid) = snapshot();
    cluster.stop().unwrap();
    let target = gone_on(&cluster, &snapshot, oid);
    let moved = target.elsewhere(oid);
    let done = moved.restore(&snapshot, DELTA, &[]).unwrap();
    assert!(fact(&done, "bytes-written") < done.bytes / 2, "PGDATA was there: {:?}", done.facts);
    let link = std::fs::read_link(target.path(&format!("data/pg_tblspc/{oid}"))).unwrap();
    assert_eq!(link, moved.path(&format!("tablespace-{oid}")));
    assert!(exists(&target.path(&format!("tablespace-{oid}"))), "what it was before stays");
    cluster.installation().verify_backup(&target.path("data")).unwrap();
    let twin = builder().adopt(&target.path("data"), cluster.password()).unwrap();
    assert_eq!(twin.execute("postgres", "SELECT count(*) FROM fast").unwrap(), "100000");
}
