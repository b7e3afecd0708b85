//! Parts of a database: what a backup leaves out, and what a restore takes.

use bulkhead_sdk::ErrorKind;
use bulkhead_test_support::{postgres::Cluster, run};

use crate::{
    oracle::assert_same_database,
    setup::{assert_says, backup, empty, restore},
};

const ONLY: &str = r#", "databases": ["app"]"#;

/// A database with two schemas.
fn app() -> Cluster {
    let cluster = empty();
    cluster.execute("postgres", "CREATE DATABASE app").unwrap();
    let content = "CREATE SCHEMA sales; CREATE TABLE sales.customer (id serial PRIMARY KEY, name text NOT NULL, since date DEFAULT now());
        CREATE TABLE sales.order (id serial PRIMARY KEY, customer int NOT NULL REFERENCES sales.customer, at date);
        CREATE INDEX order_at ON sales.order (at); COMMENT ON TABLE sales.order IS 'what was bought'; GRANT SELECT ON sales.order TO PUBLIC;
        CREATE VIEW sales.recent AS SELECT * FROM sales.order WHERE at > '2024-01-01'; CREATE FUNCTION sales.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE TABLE log (n int, line text); CREATE TABLE \"Odd.One\" (n int);
        INSERT INTO sales.customer (name) SELECT 'c' || n FROM generate_series(1, 50) n;
        INSERT INTO sales.order (customer, at) SELECT 1 + n % 50, date '2024-01-01' + n FROM generate_series(1, 500) n;
        INSERT INTO log SELECT n, 'x' FROM generate_series(1, 100) n; INSERT INTO \"Odd.One\" VALUES (1); SELECT lo_from_bytea(7, 'x')";
    cluster.execute("app", content).unwrap();
    cluster
}

/// What `pg_dump` says of a part.
fn part(cluster: &Cluster, database: &str, option: &str) -> String {
    let mut dump = cluster
        .client("pg_dump", ["--restrict-key=bulkhead", option, "--dbname", database])
        .unwrap();
    String::from_utf8(run(&mut dump).unwrap().stdout).unwrap()
}

#[test]
fn a_schema_and_a_table_come_back_by_themselves() {
    let original = app();
    let (_, snapshot) = backup(&original, ONLY).unwrap();
    let target = empty();
    restore(&target, &snapshot, r#"{"schemas": ["sal*"]}"#).unwrap();
    assert_eq!(part(&original, "app", "--schema=sales"), part(&target, "app", "--schema=sales"));
    assert_eq!(target.execute("app", "SELECT to_regclass('log') IS NULL").unwrap(), "t");
    // Beside what is there by now.
    restore(&target, &snapshot, r#"{"tables": ["public.log"]}"#).unwrap();
    assert_eq!(part(&original, "app", "--table=log"), part(&target, "app", "--table=log"));
    let error = restore(&target, &snapshot, r#"{"tables": ["public.*"]}"#).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    assert_says(&error, "has table public.log already", "clean");
    // With the schema that it needs, and the sequence that it owns, into another name.
    restore(&target, &snapshot, r#"{"tables": ["sales.customer"], "rename": {"app": "other"}}"#).unwrap();
    let next = "SELECT nextval('sales.customer_id_seq'), (SELECT count(*) FROM sales.customer), to_regclass('sales.order') IS NULL";
    assert_eq!(target.execute("other", next).unwrap(), "51|50|t");
}

#[test]
fn a_schema_first_and_its_rows_later_are_the_whole() {
    let original = app();
    let (_, snapshot) = backup(&original, ONLY).unwrap();
    let target = empty();
    let early = restore(&target, &snapshot, r#"{"content": "data"}"#).unwrap_err();
    assert_says(&early, "no database `app` to put rows into", "content");
    restore(&target, &snapshot, r#"{"content": "schema", "globals": false}"#).unwrap();
    assert_eq!(target.execute("app", "SELECT count(*) FROM sales.order").unwrap(), "0");
    restore(&target, &snapshot, r#"{"content": "data"}"#).unwrap();
    assert_same_database(&original, &target, "app", "app");
    let again = restore(&target, &snapshot, r#"{"content": "data"}"#).unwrap_err();
    assert_eq!(again.kind, ErrorKind::Conflict, "{again}");
    assert_says(&again, "is not empty", "TRUNCATE");
}

#[test]
fn rows_that_are_not_wanted_stay_where_they_are() {
    let original = app();
    let more =
        r#", "databases": ["app"], "exclude-data": ["public.lo*"], "rows": {"sales.order": "at < '2024-02-01'", "public.gone": "true"}"#;
    let (result, snapshot) = backup(&original, more).unwrap();
    let codes: Vec<&str> = result.findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes, ["rows-unused"]);
    assert!(
        result
            .proof
            .facts
            .iter()
            .any(|fact| fact.name == "tables-without-rows" && fact.value == "app: 1")
    );
    let target = empty();
    restore(&target, &snapshot, r#"{"globals": false}"#).unwrap();
    let counts = "SELECT (SELECT count(*) FROM log), (SELECT count(*) FROM sales.order), (SELECT count(*) FROM sales.customer), (SELECT count(*) FROM \"Odd.One\")";
    assert_eq!(target.execute("app", counts).unwrap(), "0|30|50|1");
    let error = backup(&original, r#", "databases": ["app"], "rows": {"sales.order": "at < nothing"}"#).unwrap_err();
    assert_says(&error, "the condition in `rows` is: at < nothing", "");
}
