//! Restores over what is there: `clean`.

use bulkhead_sdk::ErrorKind;
use bulkhead_test_support::{postgres::Cluster, run};

use crate::{
    oracle::{assert_same, database},
    setup::{assert_says, backup, empty, restore, shop, while_others},
};

/// Of the database, without the subscription, which is not dropped.
const CHANGES: &str = r#"DROP SUBSCRIPTION from_nowhere;
    ALTER TABLE customer ADD COLUMN added integer; DELETE FROM purchase; COMMENT ON TABLE customer IS 'changed';
    GRANT ALL ON customer TO PUBLIC; GRANT CREATE ON SCHEMA hidden TO PUBLIC; GRANT ALL ON SCHEMA public TO PUBLIC; DROP TABLE typed, nothing_at_all;
    CREATE INDEX added_index ON purchase (at); ALTER TABLE purchase DROP CONSTRAINT buyer; DROP SEQUENCE untouched;
    DROP FUNCTION hidden."Odd;Function"; CREATE FUNCTION hidden."Odd;Function"(a integer, b text) RETURNS integer LANGUAGE sql AS 'SELECT 1';
    ALTER TYPE mood ADD VALUE 'worse'; SELECT lo_from_bytea(99, 'its own')"#;

/// The database is set to read only.
fn change_shop(cluster: &Cluster, change: &str) {
    let writing = format!("SET default_transaction_read_only = off; {change}");
    cluster.execute("shop", &writing).unwrap();
}

fn changed(snapshot: &bulkhead_sdk::testing::Snapshot) -> Cluster {
    let target = empty();
    restore(&target, snapshot, "{}").unwrap();
    change_shop(&target, CHANGES);
    target.execute("postgres", "ALTER ROLE clerk SUPERUSER; CREATE ROLE own").unwrap();
    target
}

#[test]
fn what_was_changed_becomes_what_it_was() {
    let original = shop();
    let (_, snapshot) = backup(&original, "").unwrap();
    let target = changed(&snapshot);
    let refused = restore(&target, &snapshot, "{}").unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Conflict, "{refused}");
    restore(&target, &snapshot, r#"{"clean": true}"#).unwrap();
    // What is not in the snapshot has stayed.
    let own = "SELECT convert_from(lo_get(99), 'UTF8')";
    assert_eq!(target.execute("shop", own).unwrap(), "its own");
    change_shop(&target, "SELECT lo_unlink(99)");
    target.execute("postgres", "DROP ROLE own").unwrap();
    assert_same(&original, &target);
    // And once more, over what is all the same.
    change_shop(&target, "DROP SUBSCRIPTION from_nowhere");
    restore(&target, &snapshot, r#"{"clean": true}"#).unwrap();
    assert_same(&original, &target);
}

/// A database with two schemas, of which one needs the other.
fn two_schemas() -> Cluster {
    let cluster = empty();
    cluster.execute("postgres", "CREATE DATABASE app").unwrap();
    let content = "CREATE SCHEMA sales; CREATE TABLE sales.customer (id serial PRIMARY KEY, name text);
        CREATE TABLE sales.event (at date) PARTITION BY RANGE (at); CREATE TABLE sales.event_2024 PARTITION OF sales.event FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
        CREATE VIEW sales.names AS SELECT name FROM sales.customer; CREATE TABLE log (n int);
        INSERT INTO sales.customer (name) SELECT 'c' || n FROM generate_series(1, 50) n; INSERT INTO sales.event VALUES ('2024-05-05')";
    cluster.execute("app", content).unwrap();
    cluster
}

const ONLY: &str = r#", "databases": ["app"]"#;

fn schema(cluster: &Cluster) -> String {
    let arguments = ["--restrict-key=bulkhead", "--schema=sales", "--dbname", "app"];
    let mut dump = cluster.client("pg_dump", arguments).unwrap();
    String::from_utf8(run(&mut dump).unwrap().stdout).unwrap()
}

#[test]
fn only_what_is_chosen_is_replaced() {
    let original = two_schemas();
    let (_, snapshot) = backup(&original, ONLY).unwrap();
    let before = schema(&original);
    let change =
        "DROP VIEW sales.names; ALTER TABLE sales.customer DROP COLUMN name; INSERT INTO log VALUES (1); CREATE TABLE sales.later (n int)";
    original.execute("app", change).unwrap();
    restore(&original, &snapshot, r#"{"schemas": ["sales"], "clean": true}"#).unwrap();
    assert_eq!(
        original
            .execute("app", "SELECT count(*), to_regclass('sales.later') IS NOT NULL FROM log")
            .unwrap(),
        "1|t"
    );
    original.execute("app", "DROP TABLE sales.later").unwrap();
    assert_eq!(before, schema(&original));
    // The view that needs it is not chosen.
    let error = restore(&original, &snapshot, r#"{"tables": ["sales.customer"], "clean": true}"#).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    assert_says(&error, "view sales.names needs table sales.customer", "restore more");
    restore(
        &original,
        &snapshot,
        r#"{"tables": ["sales.customer", "sales.names"], "clean": true}"#,
    )
    .unwrap();
    assert_eq!(before, schema(&original));
}

#[test]
fn what_would_go_along_is_told_before_anything_is_dropped() {
    let original = two_schemas();
    let (_, snapshot) = backup(&original, ONLY).unwrap();
    for (change, says) in [
        (
            "CREATE TABLE sales.event_2025 PARTITION OF sales.event FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
            "table sales.event_2025 needs table sales.event",
        ),
        (
            "DROP TABLE sales.event_2025; CREATE TABLE public.other (id int REFERENCES sales.customer)",
            "constraint other_id_fkey on table public.other needs table sales.customer",
        ),
        (
            "DROP TABLE public.other; DROP VIEW sales.names; CREATE TABLE sales.names (n int)",
            "table sales.names, in the place of something else",
        ),
        (
            "DROP TABLE sales.names; CREATE SUBSCRIPTION far CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p WITH (connect = false, slot_name = NONE)",
            "",
        ),
    ] {
        original.execute("app", change).unwrap();
        let before = database(&original, "app");
        let outcome = restore(&original, &snapshot, r#"{"globals": false, "clean": true}"#);
        if says.is_empty() {
            outcome.unwrap();
            continue;
        }
        let error = outcome.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
        assert_says(&error, says, "rename");
        assert!(before == database(&original, "app"), "{change}");
    }
    let (_, with_subscription) = backup(&original, ONLY).unwrap();
    let error = restore(&original, &with_subscription, r#"{"clean": true}"#).unwrap_err();
    assert_says(&error, "subscription far", "publisher");
    let error = restore(&original, &snapshot, r#"{"content": "data", "clean": true}"#).unwrap_err();
    assert_eq!(error.setting.as_deref(), Some("clean"));
}

#[test]
fn what_others_make_until_the_drop_is_told_too() {
    let original = two_schemas();
    let (_, snapshot) = backup(&original, ONLY).unwrap();
    let before = schema(&original);
    // Not to be seen when the restore first looks, and there when it may drop.
    let view = "CREATE VIEW public.later AS SELECT id FROM sales.customer";
    let clean = || restore(&original, &snapshot, r#"{"globals": false, "clean": true}"#);
    let error = while_others(&original, "app", view, clean).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    assert_says(
        &error,
        "view public.later needs table sales.customer",
        "drop or change what needs it",
    );
    assert_says(&error, "nothing was dropped", "");
    assert_eq!(before, schema(&original));
    assert_eq!(original.execute("app", "SELECT count(*) FROM later").unwrap(), "50");
}
