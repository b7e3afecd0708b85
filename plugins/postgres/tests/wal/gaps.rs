//! Slots that are not as they should be, and log that is gone.

use bulkhead_sdk::{ErrorKind, testing::Harness};
use bulkhead_test_support::postgres::Cluster;

use crate::setup::{Operations, assert_says, builder, cluster, codes, end, over_tcp, position, write_log};

fn drop_slot(cluster: &Cluster) {
    cluster.execute("postgres", "SELECT pg_drop_replication_slot('bulkhead')").unwrap();
}

#[test]
fn a_slot_that_vanished_without_a_loss_is_made_again() {
    let cluster = cluster();
    let harness = over_tcp(&cluster);
    harness.catch_up().unwrap();
    drop_slot(&cluster);
    write_log(&cluster, 2);
    let result = harness.catch_up().unwrap();
    assert_eq!(codes(&result.findings), ["slot-recreated"]);
    assert_eq!(codes(&harness.verified()), ["log-complete"]);
}

/// A server that removes log as soon as it may.
fn forgetful() -> Cluster {
    ["min_wal_size", "max_wal_size"]
        .into_iter()
        .fold(builder(), |builder, name| builder.setting(name, "2MB"))
        .setting("wal_keep_size", "0")
        .setting("max_slot_wal_keep_size", "2MB")
        .start()
        .unwrap()
}

fn lose_log(cluster: &Cluster) {
    for _ in 0..8 {
        let statement = "SELECT pg_logical_emit_message(false, 'x', 'y'), pg_switch_wal(); CHECKPOINT";
        cluster.execute("postgres", statement).unwrap();
    }
}

#[track_caller]
fn assert_gap(harness: &Harness) {
    let before = harness.snapshots().len();
    let error = harness.catch_up().unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::NotFound, false), "{error}");
    assert_says(&error, "gap in the log", "base backup");
    assert_eq!(harness.snapshots().len(), before, "nothing was committed");
}

#[test]
fn log_that_was_removed_is_a_gap() {
    let cluster = forgetful();
    let harness = over_tcp(&cluster);
    harness.catch_up().unwrap();
    drop_slot(&cluster);
    lose_log(&cluster);
    assert_gap(&harness);
    // A new beginning.
    over_tcp(&cluster).catch_up().unwrap();
}

#[test]
fn a_log_that_has_not_begun_has_no_gap() {
    let cluster = cluster();
    // A slot whose segment is gone, as a checkpoint that is under way may leave it.
    let kept = "SELECT pg_walfile_name(lsn) FROM pg_create_physical_replication_slot('bulkhead', true)";
    let segment = cluster.execute("postgres", kept).unwrap();
    write_log(&cluster, 3);
    std::fs::remove_file(cluster.data_directory().join("pg_wal").join(segment)).unwrap();
    let harness = over_tcp(&cluster);
    harness.catch_up().unwrap();
    write_log(&cluster, 2);
    let position = position(&cluster);
    harness.catch_up().unwrap();
    assert!(end(&harness.last().unwrap()) >= position);
    assert_eq!(codes(&harness.verified()), ["log-complete"]);
}

#[test]
fn a_slot_that_the_server_gave_up_is_a_gap() {
    let cluster = forgetful();
    let harness = over_tcp(&cluster);
    harness.catch_up().unwrap();
    lose_log(&cluster);
    assert!(codes(&harness.checked()).contains(&"slot-lost"), "{:?}", harness.checked());
    assert_gap(&harness);
}

#[test]
fn two_archivers_do_not_share_a_slot() {
    let cluster = cluster();
    let (one, other) = (over_tcp(&cluster), over_tcp(&cluster));
    let wait_for_active = |number: &str| {
        while cluster
            .execute("postgres", "SELECT count(*) FROM pg_replication_slots WHERE active")
            .unwrap()
            != number
        {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    one.catch_up().unwrap();
    // The server lets go of a slot a moment after who streamed from it has gone.
    wait_for_active("0");
    std::thread::scope(|scope| {
        let first = scope.spawn(move || one.follow(r#","until":"8 s""#));
        wait_for_active("1");
        let error = other.catch_up().unwrap_err();
        assert_eq!(
            (error.kind, error.setting.as_deref()),
            (ErrorKind::Conflict, Some("slot")),
            "{error}"
        );
        assert_says(&error, "somebody else streams", "slot of its own");
        first.join().unwrap().unwrap();
    });
}

#[test]
fn another_cluster_is_refused() {
    let (cluster, other) = (cluster(), cluster());
    let harness = over_tcp(&cluster);
    harness.catch_up().unwrap();
    let error = over_tcp(&other).snapshot(harness.last().unwrap()).catch_up().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert_says(&error, "system identifier", "endpoint.server");
}

#[test]
fn a_snapshot_of_another_mode_is_refused() {
    let cluster = cluster();
    let physical = bulkhead_sdk::testing::Snapshot::default().checkpoint(r#"{"version":1,"mode":"physical"}"#);
    let error = over_tcp(&cluster).snapshot(physical).catch_up().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert_says(&error, "not one of mode `wal`", "pipeline of its own");
}

#[test]
fn a_segment_that_is_missing_is_named() {
    let cluster = cluster();
    let harness = over_tcp(&cluster);
    harness.catch_up().unwrap();
    write_log(&cluster, 4);
    harness.catch_up().unwrap();
    let mut removed = Vec::new();
    harness.tamper(|snapshot| {
        let segments: Vec<_> = snapshot.entries.keys().filter(|path| path.starts_with(b"wal/0")).cloned().collect();
        removed = segments[segments.len() - 2].clone();
        snapshot.entries.remove(&removed);
    });
    let findings = harness.verified();
    assert_eq!(codes(&findings), ["log-gap"]);
    let name = String::from_utf8(removed).unwrap().rsplit('/').next().unwrap().to_owned();
    assert!(findings[0].message.ends_with(&format!("cross: {name}")), "{}", findings[0].message);
}
