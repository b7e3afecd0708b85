//! Promotions: the log goes on with the timeline that follows.

use std::time::Duration;

use bulkhead_sdk::ErrorKind;
use bulkhead_test_support::postgres::Cluster;

use crate::setup::{
    Base, Operations, assert_same_segments, assert_says, cluster, codes, end, over_tcp, partials, position, segments, write_log,
};

fn promote(cluster: &Cluster) {
    cluster.execute("postgres", "SELECT pg_promote()").unwrap();
}

/// Waits until a standby has replayed what its primary has written.
fn wait_for_replay(primary: &Cluster, standby: &Cluster) {
    let there = format!("SELECT pg_last_wal_replay_lsn() >= pg_lsn '0/0' + {}", position(primary));
    while standby.execute("postgres", &there).unwrap() != "t" {
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_promotion_is_followed_while_it_happens() {
    let primary = cluster();
    primary.execute("postgres", "CREATE TABLE t AS SELECT 1 AS n").unwrap();
    let standby = primary.start_standby().unwrap();
    let harness = over_tcp(&standby);
    harness.catch_up().unwrap();
    let base = Base::of(&primary);
    let mut written = 0;
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| {
            write_log(&primary, 2);
            primary.execute("postgres", "INSERT INTO t VALUES (2)").unwrap();
            wait_for_replay(&primary, &standby);
            std::thread::sleep(Duration::from_secs(2));
            promote(&standby);
            standby.execute("postgres", "INSERT INTO t VALUES (3)").unwrap();
            write_log(&standby, 2);
            position(&standby)
        });
        harness.follow(r#","interval":"1 s","until":"12 s""#).unwrap();
        written = beside.join().unwrap();
    });
    let snapshot = harness.last().unwrap();
    assert!(end(&snapshot) >= written);
    assert!(snapshot.entries.contains_key(&b"wal/00000002.history"[..]));
    assert!(
        segments(&snapshot).iter().any(|name| name.starts_with("00000002")),
        "{:?}",
        segments(&snapshot)
    );
    assert_eq!(
        partials(&snapshot).len(),
        2,
        "{:?}: the last ones of both timelines",
        partials(&snapshot)
    );
    assert_eq!(codes(&harness.verified()), ["log-complete"]);
    assert_same_segments(&standby, &snapshot);
    let recovered = base.recover(&snapshot, "recovery_target_timeline = 'latest'");
    assert_eq!(
        recovered.execute("postgres", "SELECT string_agg(n::text, ',') FROM t").unwrap(),
        "1,2,3"
    );
}

#[test]
fn a_promotion_between_two_runs_is_followed_to_the_new_server() {
    let primary = cluster();
    let standby = primary.start_standby().unwrap();
    let harness = over_tcp(&primary);
    write_log(&primary, 2);
    harness.catch_up().unwrap();
    wait_for_replay(&primary, &standby);
    primary.kill().unwrap();
    promote(&standby);
    write_log(&standby, 2);
    let harness = over_tcp(&standby).snapshot(harness.last().unwrap());
    let result = harness.catch_up().unwrap();
    assert_eq!(codes(&result.findings), ["slot-recreated"], "the new server has none yet");
    let snapshot = harness.last().unwrap();
    assert!(segments(&snapshot).iter().any(|name| name.starts_with("00000001")));
    assert!(segments(&snapshot).iter().any(|name| name.starts_with("00000002")));
    assert_eq!(codes(&harness.verified()), ["log-complete"]);
    // And once more, from what this run has left.
    write_log(&standby, 1);
    harness.catch_up().unwrap();
    assert_eq!(codes(&harness.verified()), ["log-complete"]);
}

#[test]
fn an_old_primary_is_refused() {
    let primary = cluster();
    let standby = primary.start_standby().unwrap();
    wait_for_replay(&primary, &standby);
    promote(&standby);
    let harness = over_tcp(&standby);
    harness.catch_up().unwrap();
    let error = over_tcp(&primary).snapshot(harness.last().unwrap()).catch_up().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert_says(&error, "of timeline 1, but it is stored", "old primary");
}
