//! Backups of parts of a database; `pg_dump` with the same switches is the witness.

use bulkhead_sdk::{ErrorKind, testing::Snapshot};
use bulkhead_test_support::{postgres::Cluster, run};

use crate::{
    oracle::{assert_same_database, database},
    setup::{assert_says, backup, empty, over_tcp, restore},
};

/// A database whose schemas need each other a little.
fn app() -> Cluster {
    let cluster = empty();
    cluster.execute("postgres", "CREATE DATABASE app").unwrap();
    let content = "CREATE SCHEMA sales; CREATE SCHEMA stock; CREATE SCHEMA archive;
        CREATE TYPE public.mood AS ENUM ('a', 'b'); CREATE FUNCTION public.stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TABLE stock.article (id serial PRIMARY KEY, name text);
        CREATE TABLE sales.customer (id serial PRIMARY KEY, name text NOT NULL, mood public.mood DEFAULT 'a');
        CREATE TABLE sales.purchase (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int REFERENCES sales.customer, article int REFERENCES stock.article);
        CREATE TABLE sales.event (at date, what text) PARTITION BY RANGE (at);
        CREATE TABLE sales.event_2024 PARTITION OF sales.event FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
        CREATE TABLE archive.event_2023 PARTITION OF sales.event FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
        CREATE TABLE sales.scratch (n int); CREATE SEQUENCE sales.loose; CREATE MATERIALIZED VIEW sales.many AS SELECT count(*) FROM sales.purchase;
        CREATE VIEW sales.overview AS SELECT c.name, a.name AS article FROM sales.purchase p JOIN sales.customer c ON c.id = p.customer JOIN stock.article a ON a.id = p.article;
        CREATE TRIGGER stamped BEFORE INSERT ON sales.customer FOR EACH ROW EXECUTE FUNCTION public.stamp();
        CREATE INDEX by_name ON sales.customer (name); COMMENT ON TABLE sales.customer IS 'who'; GRANT SELECT ON sales.customer TO PUBLIC;
        CREATE PUBLICATION changes FOR TABLE sales.customer, sales.scratch;
        INSERT INTO stock.article (name) SELECT 'a' || n FROM generate_series(1, 20) n; INSERT INTO sales.customer (name) SELECT 'c' || n FROM generate_series(1, 20) n;
        INSERT INTO sales.purchase (customer, article) SELECT 1 + n % 20, 1 + n % 20 FROM generate_series(1, 100) n;
        INSERT INTO sales.event VALUES ('2024-05-05', 'x'), ('2023-05-05', 'y'); INSERT INTO sales.scratch VALUES (1); SELECT nextval('sales.loose'), lo_from_bytea(7, 'x')";
    cluster.execute("app", content).unwrap();
    cluster
}

/// Backs up a part; returns what was told, too.
fn part(cluster: &Cluster, settings: &str) -> (Vec<(String, String)>, Snapshot) {
    let (result, snapshot) = backup(cluster, &format!(r#", "databases": ["app"], {settings}"#)).unwrap();
    let findings = result.findings.into_iter().map(|finding| (finding.code, finding.message));
    (findings.collect(), snapshot)
}

/// What `pg_dump` makes of the same part, in a cluster of its own that has what `before` makes.
fn by_pg_dump(original: &Cluster, switches: &[&str], before: &str) -> Cluster {
    let mut arguments = vec!["--restrict-key=bulkhead", "--dbname", "app"];
    arguments.extend(switches);
    let script = run(&mut original.client("pg_dump", arguments).unwrap()).unwrap().stdout;
    let target = empty();
    target.execute("postgres", "CREATE DATABASE app").unwrap();
    target.execute("app", before).unwrap();
    target.execute_bytes("app", &script).unwrap();
    target
}

fn restored(snapshot: &Snapshot) -> Cluster {
    let target = empty();
    restore(&target, snapshot, r#"{"globals": false}"#).unwrap();
    target
}

#[test]
fn schemas_are_what_pg_dump_makes_of_them() {
    let original = app();
    let (told, snapshot) = part(&original, r#""schemas": ["stock", "arch*"]"#);
    // The parent of a partition comes along, which pg_dump leaves out.
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].0 == "needed-objects" && told[0].1.ends_with("TABLE sales.event"),
        "{told:?}"
    );
    let parent = "CREATE SCHEMA sales; CREATE TABLE sales.event (at date, what text) PARTITION BY RANGE (at)";
    let witness = by_pg_dump(&original, &["--schema=stock", "--schema=arch*"], parent);
    assert_same_database(&witness, &restored(&snapshot), "app", "app");
}

#[test]
fn what_is_excluded_is_what_pg_dump_leaves_out() {
    let original = app();
    original.execute("app", "DROP VIEW sales.overview").unwrap();
    let (told, snapshot) = part(
        &original,
        r#""exclude-schemas": ["archive", "stock"], "exclude-tables": ["sales.scr*", "*.purchase", "*.many"]"#,
    );
    let codes: Vec<&str> = told.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(codes, ["partitions-left-out"], "{told:?}");
    let switches = [
        "--exclude-schema=archive",
        "--exclude-schema=stock",
        "--exclude-table=sales.scr*",
        "--exclude-table=*.purchase",
        "--exclude-table=*.many",
    ];
    let witness = by_pg_dump(&original, &switches, "");
    assert_same_database(&witness, &restored(&snapshot), "app", "app");
}

#[test]
fn a_table_brings_what_it_needs_and_no_rows_of_others() {
    let original = app();
    let (told, snapshot) = part(
        &original,
        r#""tables": ["sales.customer", "sales.purchase", "sales.overview", "sales.event"]"#,
    );
    let codes: Vec<&str> = told.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(
        codes,
        ["needed-objects", "foreign-keys-left-out", "partitions-left-out"],
        "{told:?}"
    );
    for needed in ["TYPE public.mood", "FUNCTION public.stamp", "TABLE stock.article"] {
        assert!(told[0].1.contains(needed), "{told:?}");
    }
    assert!(
        told[1].1.ends_with("FK CONSTRAINT sales.purchase purchase_article_fkey"),
        "{told:?}"
    );
    let target = restored(&snapshot);
    let there = "SELECT (SELECT count(*) FROM sales.customer), (SELECT count(*) FROM sales.purchase), (SELECT count(*) FROM stock.article),
        nextval('sales.customer_id_seq'), to_regclass('sales.scratch') IS NULL, to_regclass('sales.loose') IS NULL";
    assert_eq!(target.execute("app", there).unwrap(), "20|100|0|21|t|t");
    // Of a table by itself, the same as pg_dump has.
    let table = |cluster: &Cluster| {
        let arguments = ["--restrict-key=bulkhead", "--table=sales.customer", "--dbname", "app"];
        String::from_utf8(run(&mut cluster.client("pg_dump", arguments).unwrap()).unwrap().stdout).unwrap()
    };
    target.execute("app", "SELECT setval('sales.customer_id_seq', 20)").unwrap();
    assert_eq!(table(&original), table(&target));
}

#[test]
fn a_schema_and_its_rows_may_be_backed_up_apart() {
    let original = app();
    let (_, definitions) = part(&original, r#""content": "schema""#);
    let target = restored(&definitions);
    assert!(database(&by_pg_dump(&original, &["--schema-only"], ""), "app") == database(&target, "app"));
    let error = restore(&target, &definitions, r#"{"content": "data"}"#).unwrap_err();
    assert_eq!(error.setting.as_deref(), Some("content"), "{error}");
    let (_, rows) = part(&original, r#""content": "data""#);
    assert!(
        !rows
            .entries
            .keys()
            .any(|path| path.ends_with(b"post-data.sql") && rows.entries[path].content.windows(5).any(|text| text == b"INDEX"))
    );
    restore(&target, &rows, "{}").unwrap();
    assert_same_database(&original, &target, "app", "app");
}

#[test]
fn a_pattern_that_matches_nothing_fails() {
    let original = app();
    for (setting, place) in [
        (r#""schemas": ["sales", "sale"]"#, "schemas[1]"),
        (r#""tables": ["sales.costumer"]"#, "tables[0]"),
    ] {
        let error = backup(&original, &format!(r#", "databases": ["app"], {setting}"#)).unwrap_err();
        assert_eq!((error.kind, error.setting.as_deref()), (ErrorKind::Config, Some(place)), "{error}");
        assert_says(&error, "matches nothing", "names");
    }
}

#[test]
fn a_right_to_the_chosen_tables_is_enough() {
    let original = app();
    original
        .execute(
            "app",
            "CREATE ROLE clerk LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA stock TO clerk; GRANT SELECT ON stock.article, stock.article_id_seq TO clerk;
             SELECT lo_unlink(7)",
        )
        .unwrap();
    let harness = over_tcp(&original).secret("password", "x");
    let config = r#"{"mode":"logical","user":"clerk","databases":["app"],"tables":["stock.*"]}"#;
    let checked = harness.check::<bulkhead_plugin_postgres::Postgres>(config).unwrap();
    assert!(!checked.iter().any(|finding| finding.code == "tables-unreadable"), "{checked:?}");
    harness.backup::<bulkhead_plugin_postgres::Postgres>(config).unwrap();
}
