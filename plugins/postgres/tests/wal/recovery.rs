//! Servers that PostgreSQL itself brings back from a base backup and the archived log.

use bulkhead_plugin_postgres::Postgres;
use bulkhead_sdk::testing::{Directory, Harness};
use bulkhead_test_support::Scratch;

use crate::setup::{Base, Operations, builder, cluster, lay_down, over_tcp, start_recovered, write_log};

/// The config of a base backup.
const PHYSICAL: &str = r#"{"mode":"physical","user":"postgres"}"#;

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

#[test]
fn a_restore_writes_what_the_server_needs_for_its_recovery() {
    let cluster = cluster();
    let log = over_tcp(&cluster);
    log.catch_up().unwrap();
    cluster.execute("postgres", "CREATE TABLE t AS SELECT 1 AS n").unwrap();
    let base = over_tcp(&cluster);
    base.backup::<Postgres>(PHYSICAL).unwrap();
    cluster
        .execute(
            "postgres",
            "INSERT INTO t VALUES (2); SELECT pg_create_restore_point('it''s here'); INSERT INTO t VALUES (3)",
        )
        .unwrap();
    log.catch_up().unwrap();

    let scratch = Scratch::new().unwrap();
    let data = scratch.folder("data").unwrap();
    let archive = lay_down(&scratch, &log.last().unwrap());
    let options = format!(
        r#"{{"recovery":{{"standby":false,"settings":[["restore_command","cp '{}/%f' '%p'"],["recovery_target_lsn",""],
           ["recovery_target_name","it's here"],["recovery_target_action","promote"]]}}}}"#,
        archive.display()
    );
    let target = Harness::new()
        .snapshot(base.last().unwrap())
        .directory("data", Directory::at(&data));
    target.restore::<Postgres>(PHYSICAL, &options).unwrap();
    cluster.installation().verify_backup(&data).unwrap();
    let recovered = start_recovered(&data, cluster.password());
    assert_eq!(
        recovered.execute("postgres", "SELECT string_agg(n::text, ',') FROM t").unwrap(),
        "1,2"
    );
}

#[test]
fn a_standby_is_made_of_a_backup() {
    let cluster = cluster();
    let base = over_tcp(&cluster);
    base.backup::<Postgres>(PHYSICAL).unwrap();
    let scratch = Scratch::new().unwrap();
    let data = scratch.folder("data").unwrap();
    let connection = format!(
        "host=127.0.0.1 port={} user=postgres password={}",
        cluster.port(),
        cluster.password()
    );
    let options = format!(r#"{{"recovery":{{"standby":true,"settings":[["primary_conninfo","{connection}"]]}}}}"#);
    let target = Harness::new()
        .snapshot(base.last().unwrap())
        .directory("data", Directory::at(&data));
    target.restore::<Postgres>(PHYSICAL, &options).unwrap();
    let standby = builder().adopt(&data, cluster.password()).unwrap();
    cluster.execute("postgres", "CREATE TABLE later AS SELECT 7 AS n").unwrap();
    let there = "SELECT count(*) FROM pg_class WHERE relname = 'later'";
    while standby.execute("postgres", there).unwrap() == "0" {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(standby.execute("postgres", "SELECT pg_is_in_recovery()").unwrap(), "t");
}
