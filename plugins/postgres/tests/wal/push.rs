//! Log that is handed over, file by file, makes the same snapshots as log that is followed.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use bulkhead_sdk::{
    ErrorKind,
    source::BackupResult,
    testing::{Directory, Harness},
};
use bulkhead_test_support::postgres::{Builder, Cluster};

use crate::setup::{Base, Operations, assert_same_segments, assert_says, builder, codes, fact, partials, segments, write_log};

/// A cluster that hands its log over, to the test.
fn cluster() -> Cluster {
    let archiving = [("archive_mode", "on"), ("archive_command", "true")];
    let with = |builder: Builder, (name, value)| builder.setting(name, value);
    archiving.into_iter().fold(builder(), with).start().unwrap()
}

fn log(cluster: &Cluster) -> PathBuf {
    cluster.data_directory().join("pg_wal")
}

/// A harness that may read the cluster's log.
fn beside(cluster: &Cluster) -> Harness {
    Harness::new().directory("log", Directory::at(log(cluster)))
}

/// What the server has handed over after another switch of segments, and `harness` does not have.
fn ready(cluster: &Cluster, harness: &Harness) -> Vec<String> {
    let switched = "SELECT pg_walfile_name(pg_switch_wal())";
    let last = cluster.execute("postgres", switched).unwrap();
    let done = log(cluster).join("archive_status").join(format!("{last}.done"));
    let begun = Instant::now();
    while !done.exists() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{last} was not archived");
        std::thread::sleep(Duration::from_millis(50));
    }
    let listed = std::fs::read_dir(log(cluster).join("archive_status")).unwrap();
    let names = listed.filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".done").map(str::to_owned));
    let stored = harness.last().unwrap_or_default();
    let stored: Vec<String> = segments(&stored).into_iter().chain(partials(&stored)).collect();
    let mut names: Vec<String> = names.filter(|name| !stored.contains(name)).collect();
    names.sort();
    names
}

fn push(harness: &Harness, names: &[String]) -> bulkhead_sdk::Result<BackupResult> {
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    harness.follow(&format!(r#","push":[{}]"#, names.join(",")))
}

#[test]
fn a_promotion_is_handed_over_whole() {
    let primary = cluster();
    primary.execute("postgres", "CREATE TABLE t AS SELECT 1 AS n").unwrap();
    let harness = beside(&primary);
    push(&harness, &ready(&primary, &harness)).unwrap();
    let base = Base::of(&primary);
    let standby = primary.start_standby().unwrap();
    write_log(&primary, 2);
    primary.execute("postgres", "INSERT INTO t VALUES (2)").unwrap();
    push(&harness, &ready(&primary, &harness)).unwrap();
    primary.execute("postgres", "INSERT INTO t VALUES (3)").unwrap();
    while standby.execute("postgres", "SELECT count(*) FROM t").unwrap() != "3" {
        std::thread::sleep(Duration::from_millis(50));
    }
    primary.kill().unwrap();
    standby.execute("postgres", "SELECT pg_promote()").unwrap();
    standby.execute("postgres", "INSERT INTO t VALUES (4)").unwrap();
    write_log(&standby, 2);
    let harness = beside(&standby).snapshot(harness.last().unwrap());
    let names = ready(&standby, &harness);
    assert!(names.contains(&"00000002.history".to_owned()), "{names:?}");
    assert!(names.iter().any(|name| name.ends_with(".partial")), "{names:?}");
    // One by one: the end of the old timeline comes long before the new one's first segment.
    for name in &names {
        push(&harness, std::slice::from_ref(name)).unwrap();
    }

    let snapshot = harness.last().unwrap();
    assert_eq!(codes(&harness.verified()), ["log-complete"]);
    let findings = harness.verify::<bulkhead_plugin_postgres::Postgres>(&crate::setup::config(r#","pages":true"#));
    assert_eq!(codes(&findings.unwrap()), ["log-complete"], "page by page");
    assert_eq!((fact(&snapshot.proof, "timeline"), partials(&snapshot).len()), ("2".to_owned(), 1));
    assert!(assert_same_segments(&standby, &snapshot) >= 3);
    let recovered = base.recover(&snapshot, "recovery_target_timeline = 'latest'");
    let found = recovered
        .execute("postgres", "SELECT string_agg(n::text, ',' ORDER BY n) FROM t")
        .unwrap();
    assert_eq!(found, "1,2,3,4");
}

#[test]
fn a_segment_that_is_missing_is_a_gap_until_it_comes() {
    let cluster = cluster();
    write_log(&cluster, 4);
    let harness = beside(&cluster);
    let names = ready(&cluster, &harness);
    assert!(names.len() >= 4, "{names:?}");
    push(&harness, &[&names[..1], &names[2..]].concat()).unwrap();
    assert_eq!(codes(&harness.verified()), ["log-gap"]);
    push(&harness, &names[1..2]).unwrap();
    assert_eq!(codes(&harness.verified()), ["log-complete"]);
    assert_eq!(segments(&harness.last().unwrap()).len(), names.len());
}

#[test]
fn what_is_not_of_this_log_is_refused() {
    let (one, other) = (cluster(), cluster());
    let harness = beside(&one);
    push(&harness, &ready(&one, &harness)).unwrap();
    let before = harness.snapshots().len();
    write_log(&other, 3);
    let foreign = ready(&other, &harness).pop().unwrap();
    let error = push(&beside(&other).snapshot(harness.last().unwrap()), &[foreign]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::SourceDamaged);
    assert_says(&error, "first page says so", "another cluster's");
    let error = harness.follow("").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "it is not followed, too: {error}");
    let error = push(&harness, &["PG_VERSION".to_owned()]).unwrap_err();
    assert_says(&error, "no file of a log", "%p");
    assert_eq!(harness.snapshots().len(), before, "nothing was committed");
}
