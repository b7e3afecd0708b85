//! Several connections at the same time.

use bulkhead_sdk::testing::Snapshot;
use bulkhead_test_support::{postgres::Cluster, run};

use crate::{
    oracle::{assert_same, assert_same_database},
    setup::{assert_says, backup, builder, empty, restore, shop},
};

/// How often somebody has logged in to this database.
fn logins(cluster: &Cluster, database: &str) -> usize {
    let line = format!("database={database} application_name=bulkhead");
    cluster.log().matches(&line).count()
}

#[test]
fn about_everything_comes_back_the_same_over_several_connections() {
    let original = shop();
    let (one_result, one) = backup(&original, "").unwrap();
    let (result, snapshot) = backup(&original, r#", "jobs": 4"#).unwrap();
    assert!(result.findings.is_empty(), "{:?}", result.findings);
    let (paths, others): (Vec<_>, Vec<_>) = (one.entries.keys().collect(), snapshot.entries.keys().collect());
    assert_eq!(paths, others);
    assert_eq!(
        (one_result.proof.entries, one_result.proof.bytes),
        (result.proof.entries, result.proof.bytes)
    );
    let restored = empty();
    restore(&restored, &snapshot, r#"{"jobs": 4}"#).unwrap();
    assert_same(&original, &restored);
}

#[test]
fn rows_keys_and_indexes_are_shared_out() {
    let cluster = || builder().setting("log_connections", "on").start().unwrap();
    let original = cluster();
    original.execute("postgres", "CREATE DATABASE bench").unwrap();
    let arguments = ["--initialize", "--scale=2", "--foreign-keys", "--partitions=5", "bench"];
    run(&mut original.client("pgbench", arguments).unwrap()).unwrap();
    let (_, snapshot) = backup(&original, r#", "databases": ["bench"], "jobs": 3"#).unwrap();
    // One for the locks, one with the snapshot, and two beside it.
    assert_eq!(logins(&original, "bench"), 4);
    let restored = cluster();
    restore(&restored, &snapshot, r#"{"jobs": 3}"#).unwrap();
    // Two parts for rows, and two for keys.
    assert_eq!(logins(&restored, "bench"), 5);
    assert_same_database(&original, &restored, "bench", "bench");
    restored
        .execute(
            "bench",
            "TRUNCATE pgbench_accounts, pgbench_branches, pgbench_tellers, pgbench_history",
        )
        .unwrap();
    restore(&restored, &snapshot, r#"{"content": "data", "jobs": 2}"#).unwrap();
    assert_same_database(&original, &restored, "bench", "bench");
}

/// Puts other rows into a table.
fn change(snapshot: &mut Snapshot, table: &str, from: &str, to: &str) {
    let path = format!("databases/postgres/data/{table}.copy");
    let content = &mut snapshot.entries.get_mut(path.as_bytes()).unwrap().content;
    *content = String::from_utf8(content.clone()).unwrap().replace(from, to).into_bytes();
}

#[test]
fn what_fails_in_another_instance_names_its_object() {
    let original = empty();
    let content = "CREATE DOMAIN even AS int CHECK (VALUE % 2 = 0); CREATE TABLE a (n int); CREATE TABLE b (n even); CREATE TABLE c (n int, m int);
        INSERT INTO a SELECT generate_series(1, 100000); INSERT INTO b VALUES (2); INSERT INTO c VALUES (1, 1), (2, 2); CREATE UNIQUE INDEX only_one ON c (n)";
    original.execute("postgres", content).unwrap();
    let (_, whole) = backup(&original, r#", "databases": ["postgres"], "jobs": 2"#).unwrap();
    let mut snapshot = whole.clone();
    change(&mut snapshot, "public.b", "\n2\n", "\n3\n");
    for jobs in 1..4 {
        let error = restore(&empty(), &snapshot, &format!(r#"{{"globals": false, "jobs": {jobs}}}"#)).unwrap_err();
        assert_says(&error, "restoring the rows of public.b in database `postgres` failed", "");
    }
    let mut twice = whole;
    change(&mut twice, "public.c", "2\t2", "1\t2");
    let error = restore(&empty(), &twice, r#"{"globals": false, "jobs": 2}"#).unwrap_err();
    assert_says(&error, "restoring INDEX public.only_one in database `postgres` failed", "");
    let error = backup(&original, r#", "jobs": 0"#).unwrap_err();
    assert_says(&error, "from 1 to 64", "");
}
