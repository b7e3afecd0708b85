//! Other major versions than Debian's. PostgreSQL 18's `pg_dump`, which knows them all, is the witness.

use bulkhead_sdk::ErrorKind;
use bulkhead_test_support::postgres::{Cluster, Installation};

use crate::{
    oracle::assert_same,
    render::{assert_replayed, replay, script},
    setup::{assert_says, backup, builder, empty, fill_shop, restore},
};

fn of_major(major: u32) -> Cluster {
    builder().major(major).start().unwrap()
}

fn round_trip(major: u32) {
    let original = of_major(major);
    fill_shop(&original);
    let (result, snapshot) = backup(&original, "").unwrap();
    assert!(result.findings.is_empty(), "{:?}", result.findings);
    let restored = of_major(major);
    restore(&restored, &snapshot, "{}").unwrap();
    assert_same(&original, &restored);
}

#[test]
fn version_13_comes_back_the_same() {
    round_trip(13);
}

#[test]
fn version_14_comes_back_the_same() {
    round_trip(14);
}

#[test]
fn version_16_comes_back_the_same() {
    round_trip(16);
}

#[test]
fn version_17_comes_back_the_same() {
    round_trip(17);
}

#[test]
fn a_timeout_of_transactions_ends_no_dump_and_no_restore() {
    let of_17 = || of_major(17);
    let original = of_17();
    original.execute("postgres", "CREATE DATABASE hurried").unwrap();
    // Rows are read, and taken, by sessions without that timeout only.
    let content =
        "CREATE TABLE t (n int, CONSTRAINT unhurried CHECK (current_setting('transaction_timeout') = '0')); SET transaction_timeout = 0;
        INSERT INTO t SELECT generate_series(1, 1000); ALTER DATABASE hurried SET transaction_timeout = '1h'";
    original.execute("hurried", content).unwrap();
    let unhurried = r#", "databases": ["hurried"], "rows": {"public.t": "current_setting('transaction_timeout') = '0'"}"#;
    let (_, snapshot) = backup(&original, unhurried).unwrap();
    let (restored, scripted) = (of_17(), of_17());
    restore(&restored, &snapshot, "{}").unwrap();
    assert_replayed(&replay(&script(&snapshot, &[]).unwrap(), &original, &scripted));
    for cluster in [&restored, &scripted] {
        let taken = "SELECT count(*), current_setting('transaction_timeout') FROM t";
        assert_eq!(cluster.execute("hurried", taken).unwrap(), "1000|1h");
    }
}

#[test]
fn there_is_a_test_for_each() {
    assert_eq!(Installation::OTHERS, [13, 14, 16, 17]);
}

#[test]
fn a_newer_version_takes_what_an_older_one_had() {
    let original = of_major(13);
    fill_shop(&original);
    let (_, snapshot) = backup(&original, "").unwrap();
    let restored = of_major(17);
    restore(&restored, &snapshot, "{}").unwrap();
    let sums = "SELECT (SELECT count(*) FROM customer), (SELECT sum(amount) FROM purchase), (SELECT count(*) FROM measure), has_schema_privilege('reader', 'public', 'CREATE')";
    assert_eq!(restored.execute("shop", sums).unwrap(), original.execute("shop", sums).unwrap());
}

#[test]
fn a_version_that_nobody_has_looked_at_is_refused() {
    let newer = of_major(18);
    let error = backup(&newer, "").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    assert_says(&error, "supports 13 to 17", "newer release");
    let (_, snapshot) = backup(&empty(), "").unwrap();
    let error = restore(&newer, &snapshot, "{}").unwrap_err();
    assert_says(&error, "supports 13 to 17", "newer release");
    let error = restore(&of_major(14), &snapshot, "{}").unwrap_err();
    assert_says(&error, "the snapshot is of PostgreSQL 15", "or a newer one");
}
