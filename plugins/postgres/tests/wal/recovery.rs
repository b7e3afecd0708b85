//! Servers that PostgreSQL itself brings back from a base backup and the archived log.

use crate::setup::{Base, Operations, cluster, over_tcp, write_log};

#[test]
fn a_cluster_comes_back_as_of_a_named_moment() {
    let cluster = cluster();
    let harness = over_tcp(&cluster);
    harness.catch_up().unwrap();
    cluster.execute("postgres", "CREATE TABLE t AS SELECT 1 AS n").unwrap();
    let base = Base::of(&cluster);
    write_log(&cluster, 3);
    cluster
        .execute(
            "postgres",
            "INSERT INTO t VALUES (2); SELECT pg_create_restore_point('here'); INSERT INTO t VALUES (3)",
        )
        .unwrap();
    harness.catch_up().unwrap();
    let recovered = base.recover(&harness.last().unwrap(), "recovery_target_name = 'here'");
    assert_eq!(
        recovered.execute("postgres", "SELECT string_agg(n::text, ',') FROM t").unwrap(),
        "1,2"
    );
}

#[test]
fn every_snapshot_reaches_its_own_end() {
    let cluster = cluster();
    let harness = over_tcp(&cluster);
    cluster.execute("postgres", "CREATE TABLE t (n int)").unwrap();
    harness.catch_up().unwrap();
    let base = Base::of(&cluster);
    for number in 1..=3 {
        cluster.execute("postgres", &format!("INSERT INTO t VALUES ({number})")).unwrap();
        harness.catch_up().unwrap();
    }
    let snapshots = harness.snapshots();
    // The one before the last: what was committed then, and nothing of what came later.
    let recovered = base.recover(&snapshots[snapshots.len() - 2], "");
    assert_eq!(recovered.execute("postgres", "SELECT max(n) FROM t").unwrap(), "2");
}
