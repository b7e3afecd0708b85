//! Backups and restores that must fail, and say why.

use std::sync::mpsc;

use bulkhead_plugin_postgres::Postgres;
use bulkhead_sdk::{ErrorKind, testing::Snapshot, types::Severity};
use bulkhead_test_support::postgres::Cluster;

use crate::{
    oracle::assert_same_database,
    render::script,
    setup::{assert_says, backup, config, empty, over_tcp, restore, while_others},
};

/// A cluster with one small database.
fn small() -> Cluster {
    let cluster = empty();
    cluster.execute("postgres", "CREATE DATABASE small").unwrap();
    let content = "CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n; CREATE TABLE u (n int); SELECT lo_from_bytea(40001, 'abc')";
    cluster.execute("small", content).unwrap();
    cluster
}

/// Only the small database.
const SMALL: &str = r#", "databases": ["small"], "lock-timeout": "1 s""#;

#[test]
fn an_object_that_no_query_knows_fails_the_run_by_its_name() {
    let cluster = small();
    // The server lets nobody make anything in its own schema, unless told otherwise; no dump carries that.
    let foreign = "SET allow_system_table_mods = on; CREATE FUNCTION pg_catalog.smuggled() RETURNS int LANGUAGE sql AS 'SELECT 1'";
    cluster.execute("small", foreign).unwrap();
    let error = backup(&cluster, SMALL).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
    assert_says(&error, "pg_catalog.smuggled()", "physical");
}

#[test]
fn a_table_that_the_role_may_not_read_is_named() {
    let cluster = small();
    cluster
        .execute("small", "CREATE ROLE reader LOGIN PASSWORD 'x'; GRANT SELECT ON t TO reader")
        .unwrap();
    let harness = over_tcp(&cluster).secret("password", "x");
    let config = format!(r#"{{"mode":"logical","user":"reader"{SMALL}}}"#);
    let error = harness.backup::<Postgres>(&config).unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error}");
    assert_says(
        &error,
        "table public.u of database `small` may not be read",
        "GRANT SELECT ON public.u",
    );
    let findings = harness.check::<Postgres>(&config).unwrap();
    let told = findings.iter().find(|finding| finding.code == "tables-unreadable").unwrap();
    assert_eq!(told.severity, Severity::Error);
    assert!(told.message.ends_with(": public.u"), "{}", told.message);
}

#[test]
fn a_table_that_hides_rows_is_named() {
    let cluster = small();
    let content = "CREATE ROLE reader LOGIN PASSWORD 'x'; GRANT SELECT ON t, u TO reader; SELECT lo_unlink(40001); ALTER TABLE u ENABLE ROW LEVEL SECURITY";
    cluster.execute("small", content).unwrap();
    let harness = over_tcp(&cluster).secret("password", "x");
    let config = format!(r#"{{"mode":"logical","user":"reader"{SMALL}}}"#);
    let error = harness.backup::<Postgres>(&config).unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error}");
    assert_says(&error, "table public.u of database `small` may not be read", "BYPASSRLS");
}

/// What a backup does that waits for the table `u`, which somebody changes.
fn backup_while(cluster: &Cluster, change: &str) -> bulkhead_sdk::Result<(bulkhead_sdk::source::BackupResult, Snapshot)> {
    let work = || backup(cluster, r#", "databases": ["small"], "lock-timeout": "10 min""#);
    while_others(cluster, "small", &format!("LOCK TABLE u; {change}"), work)
}

#[test]
fn a_table_that_is_dropped_under_a_backup_is_named() {
    let error = backup_while(&small(), "DROP TABLE u").unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Conflict, true), "{error}");
    assert_says(&error, "table public.u of database `small` was dropped or altered", "run again");
}

#[test]
fn a_table_that_is_altered_under_a_backup_is_stored_as_it_is_then() {
    let cluster = small();
    let (_, snapshot) = backup_while(
        &cluster,
        "ALTER TABLE u ADD COLUMN added text DEFAULT 'x'; INSERT INTO u VALUES (7)",
    )
    .unwrap();
    let rows = &snapshot.entries[&b"databases/small/data/public.u.copy"[..]].content;
    assert!(rows.ends_with(b";\n7\tx\n\\.\n"), "{}", String::from_utf8_lossy(rows));
    let target = empty();
    restore(&target, &snapshot, "{}").unwrap();
    assert_same_database(&cluster, &target, "small", "small");
}

#[test]
fn a_database_of_another_encoding_is_left_alone() {
    let original = small();
    original
        .execute(
            "small",
            "INSERT INTO u VALUES (1); CREATE TABLE v AS SELECT E'\\u20ac'::text AS euro",
        )
        .unwrap();
    let (_, snapshot) = backup(&original, SMALL).unwrap();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let target = empty();
        let make = format!("CREATE DATABASE small ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
        target.execute("postgres", &make).unwrap();
        let error = restore(&target, &snapshot, "{}").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
        assert_says(&error, &format!("has the encoding {encoding}"), "rename");
        assert_eq!(
            target.execute("small", "SELECT count(*) FROM pg_class WHERE oid >= 16384").unwrap(),
            "0"
        );
        restore(&target, &snapshot, r#"{"globals": false, "rename": {"small": "other"}}"#).unwrap();
        assert_same_database(&original, &target, "small", "other");
    }
}

#[test]
fn a_table_that_is_locked_is_named_after_the_time_to_wait() {
    let cluster = small();
    let (locked, wait) = mpsc::channel();
    let (done, end) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let cluster = &cluster;
        scope.spawn(move || {
            let mut holder = cluster.client("psql", ["--quiet", "--dbname", "small"]).unwrap();
            let mut holder = holder.stdin(std::process::Stdio::piped()).spawn().unwrap();
            let mut input = holder.stdin.take().unwrap();
            std::io::Write::write_all(&mut input, b"BEGIN; LOCK TABLE u;\n").unwrap();
            let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'u'::regclass";
            while cluster.execute("small", held).unwrap() == "0" {
                std::thread::yield_now();
            }
            locked.send(()).unwrap();
            let _ = end.recv();
            drop(input);
            holder.wait().unwrap();
        });
        wait.recv().unwrap();
        let outcome = backup(cluster, SMALL);
        drop(done);
        let error = outcome.unwrap_err();
        assert_eq!((error.kind, error.retryable), (ErrorKind::TimedOut, true), "{error}");
        assert_says(&error, "table public.u of database `small` is locked", "lock-timeout");
    });
}

#[test]
fn a_database_that_is_not_empty_is_left_alone() {
    let original = small();
    let (_, snapshot) = backup(&original, SMALL).unwrap();
    let error = restore(&original, &snapshot, r#"{"globals": false}"#).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    assert_says(&error, "database `small` of the target is not empty", "rename");
}

#[test]
fn a_role_that_is_there_is_left_alone() {
    let original = small();
    original.execute("postgres", "CREATE ROLE clerk").unwrap();
    let (_, snapshot) = backup(&original, SMALL).unwrap();
    let target = empty();
    target.execute("postgres", "CREATE ROLE clerk").unwrap();
    let error = restore(&target, &snapshot, "{}").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    assert_says(&error, "role `clerk` already", "globals = false");
    assert_eq!(databases(&target), "postgres,template1");
}

fn databases(cluster: &Cluster) -> String {
    let names = "SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database WHERE datallowconn";
    cluster.execute("postgres", names).unwrap()
}

#[test]
fn the_first_error_stops_a_restore_and_names_the_object() {
    let original = small();
    original
        .execute(
            "small",
            "CREATE TABLE owned (n int); CREATE ROLE gone; ALTER TABLE owned OWNER TO gone",
        )
        .unwrap();
    let (_, snapshot) = backup(&original, SMALL).unwrap();
    let error = restore(&empty(), &snapshot, r#"{"globals": false}"#).unwrap_err();
    assert_says(
        &error,
        "restoring TABLE public.owned in database `small` failed: role \"gone\" does not exist",
        "",
    );
}

/// What is cut off, and what both verification and restore say of it.
#[test]
fn what_is_cut_off_is_found_by_verify_and_by_restore() {
    let original = small();
    let (_, snapshot) = backup(&original, SMALL).unwrap();
    for (path, says) in [
        ("databases/small/data/public.t.copy", "its end mark is missing"),
        ("databases/small/large-objects.sql", "its end mark is missing"),
        ("databases/small/pre-data.sql", "is shorter than the index says"),
        ("index.jsonl", "index.jsonl is cut off"),
    ] {
        let cut = damaged(&snapshot, path, |content| content.truncate(content.len() - 3));
        let findings = over_tcp(&original).snapshot(cut.clone()).verify::<Postgres>(&config("")).unwrap();
        assert_eq!((findings.len(), findings[0].severity), (1, Severity::Error), "{path}: {findings:?}");
        assert!(findings[0].message.contains(says), "{path}: {}", findings[0].message);
        let error = restore(&empty(), &cut, "{}").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Corrupt, "{path}: {error}");
        assert!(error.to_string().contains(says), "{path}: {error}");
    }
}

#[test]
fn a_row_that_is_missing_is_counted() {
    let original = small();
    let (_, snapshot) = backup(&original, SMALL).unwrap();
    let short = damaged(&snapshot, "databases/small/data/public.t.copy", |content| {
        let end = content.len() - "1000\n\\.\n".len();
        drop(content.splice(end..end + 5, []));
    });
    let findings = over_tcp(&original).snapshot(short.clone()).verify::<Postgres>(&config("")).unwrap();
    assert!(findings[0].message.contains("has 999 rows, the index says 1000"), "{findings:?}");
    let error = restore(&empty(), &short, "{}").unwrap_err();
    assert_says(&error, "got 999 rows, of 1000", "another snapshot");
}

#[test]
fn content_of_large_objects_that_is_missing_is_counted() {
    let original = small();
    // Two more pieces of the first, an empty one, and one that stands last.
    let content = "SELECT lo_put(40001, 3, decode(repeat('ff', 150000), 'hex')), lo_create(40002), lo_from_bytea(40003, 'last')";
    original.execute("small", content).unwrap();
    let (_, snapshot) = backup(&original, SMALL).unwrap();
    let verify = |snapshot: &Snapshot| {
        over_tcp(&original)
            .snapshot(snapshot.clone())
            .verify::<Postgres>(&config(""))
            .unwrap()
    };
    assert_eq!(verify(&snapshot)[0].code, "dump-verified");
    let path = "databases/small/large-objects.sql";
    let lines = |text: &str, keeps: &dyn Fn(&str) -> bool| text.split_inclusive('\n').filter(|line| keeps(line)).collect::<String>();
    let shorter = |text: &str| text.replacen("ff'", "'", 1);
    type Tamper<'a> = &'a dyn Fn(&str) -> String;
    let tampered: [(Tamper<'_>, &str); 4] = [
        (
            &|text| lines(text, &|line| !line.contains("(40001, 65536,")),
            "has 84471 bytes of 2 large objects, the index says 150007 bytes of 3",
        ),
        (
            &|text| lines(text, &|line| !line.contains("(40003,")),
            "has 150003 bytes of 1 large objects, the index says 150007 bytes of 3",
        ),
        (&shorter, "has 150006 bytes of 2 large objects"),
        (
            &|text| text.replacen("SELECT", "DELETE", 1),
            "has a line that is no piece of a large object",
        ),
    ];
    for (tamper, says) in tampered {
        let short = damaged(&snapshot, path, |content| {
            *content = tamper(str::from_utf8(content).unwrap()).into_bytes()
        });
        let findings = verify(&short);
        assert_eq!((findings.len(), findings[0].severity), (1, Severity::Error), "{findings:?}");
        assert!(findings[0].message.contains(says), "{}", findings[0].message);
        for error in [restore(&empty(), &short, "{}").unwrap_err(), script(&short, &[]).unwrap_err()] {
            assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
            assert_says(&error, says, "another snapshot");
        }
    }
    let whole = empty();
    restore(&whole, &snapshot, "{}").unwrap();
    assert_same_database(&original, &whole, "small", "small");
}

fn damaged(snapshot: &Snapshot, path: &str, damage: impl FnOnce(&mut Vec<u8>)) -> Snapshot {
    let mut snapshot = snapshot.clone();
    damage(&mut snapshot.entries.get_mut(path.as_bytes()).unwrap().content);
    snapshot
}

#[test]
fn a_target_without_a_server_is_told_what_to_grant() {
    let original = small();
    let (_, snapshot) = backup(&original, SMALL).unwrap();
    let nowhere = bulkhead_sdk::testing::Harness::new().snapshot(snapshot);
    let error = nowhere.restore::<Postgres>(&config(""), "{}").unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotGranted);
    assert_says(&error, "grants no server", "endpoint.server");
}

#[test]
fn databases_that_are_not_there_are_told_with_those_that_are() {
    let original = small();
    let error = backup(&original, r#", "databases": ["shop*"]"#).unwrap_err();
    assert_eq!(error.setting.as_deref(), Some("databases"));
    let (_, snapshot) = backup(&original, SMALL).unwrap();
    let error = restore(&empty(), &snapshot, r#"{"databases": ["shop"]}"#).unwrap_err();
    assert_eq!(error.setting.as_deref(), Some("databases"));
    assert_says(&error, "no database `shop`", "it has small");
}

#[test]
fn what_others_did_to_an_extension_is_carried_or_told() {
    let cluster = small();
    // A table becomes the extension's, with rows of which some are the user's; what is done to it from then on, somebody else does.
    let content = "CREATE EXTENSION hstore; CREATE TABLE configuration (n int); ALTER EXTENSION hstore ADD TABLE configuration;
        UPDATE pg_extension SET extconfig = ARRAY['configuration'::regclass::oid], extcondition = ARRAY['WHERE n > 5'] WHERE extname = 'hstore';
        INSERT INTO configuration SELECT generate_series(1, 10); CREATE INDEX added_index ON configuration (n);
        CREATE POLICY added_policy ON configuration USING (n > 1); ALTER TABLE configuration ENABLE ROW LEVEL SECURITY; COMMENT ON TABLE configuration IS 'said';
        CREATE TABLE partitioned (n int) PARTITION BY LIST (n); ALTER EXTENSION hstore ADD TABLE partitioned; CREATE TABLE own_partition PARTITION OF partitioned FOR VALUES IN (1);
        INSERT INTO own_partition VALUES (1)";
    cluster.execute("small", content).unwrap();
    let (result, snapshot) = backup(&cluster, SMALL).unwrap();
    let codes: Vec<&str> = result.findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes, ["added-to-extensions"]);
    assert!(
        result.findings[0].message.ends_with(": index public.added_index"),
        "{}",
        result.findings[0].message
    );
    let text = |path: &str| String::from_utf8(snapshot.entries[path.as_bytes()].content.clone()).unwrap();
    assert!(text("databases/small/data/public.configuration.copy").ends_with(";\n6\n7\n8\n9\n10\n\\.\n"));
    assert!(text("databases/small/data/public.own_partition.copy").ends_with(";\n1\n\\.\n"));
    let (before, after) = (text("databases/small/pre-data.sql"), text("databases/small/post-data.sql"));
    assert!(before.contains("COMMENT ON TABLE public.configuration IS 'said'") && !before.contains("TABLE public.configuration ("));
    assert!(after.contains("CREATE POLICY added_policy") && after.contains("ENABLE ROW LEVEL SECURITY") && !after.contains("added_index"));
}

#[test]
fn what_a_role_may_not_read_of_a_managed_server_is_told() {
    let cluster = small();
    let content = "CREATE ROLE reader LOGIN PASSWORD 'x'; GRANT SELECT ON t, u TO reader; SELECT lo_unlink(40001);
        CREATE SUBSCRIPTION far CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p WITH (connect = false, slot_name = NONE)";
    cluster.execute("small", content).unwrap();
    let harness = over_tcp(&cluster).secret("password", "x");
    let result = harness
        .backup::<Postgres>(&format!(r#"{{"mode":"logical","user":"reader"{SMALL}}}"#))
        .unwrap();
    let codes: Vec<&str> = result.findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes, ["no-passwords", "subscriptions"]);
}
