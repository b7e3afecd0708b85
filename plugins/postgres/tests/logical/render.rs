//! A dump as one script, which psql alone replays.

use std::process::{Output, Stdio};

use bulkhead_plugin_postgres::Postgres;
use bulkhead_sdk::{
    Error, ErrorKind, Result,
    testing::{Harness, Snapshot},
};
use bulkhead_test_support::{Scratch, postgres::Cluster};

use crate::{
    oracle::{assert_same, assert_same_database},
    setup::{assert_says, backup, builder, config, empty, fill_shop, shop},
};

/// The script, without any grant.
pub(crate) fn script(snapshot: &Snapshot, paths: &[&str]) -> Result<Vec<u8>> {
    let (script, outcome) = rendered(snapshot, paths);
    outcome.map(|()| script)
}

/// What was written of it, and how that ended.
fn rendered(snapshot: &Snapshot, paths: &[&str]) -> (Vec<u8>, Result<()>) {
    let mut script = Vec::new();
    let harness = Harness::new().snapshot(snapshot.clone());
    let outcome = harness.render::<Postgres>(&config(""), "sql", paths, &mut script);
    (script, outcome)
}

/// Hands a script to psql, with no settings but the script's own. The superuser has the password of the original before and after it.
pub(crate) fn replay(script: &[u8], original: &Cluster, into: &Cluster) -> Output {
    let password = |of: &Cluster| format!("ALTER ROLE postgres PASSWORD '{}'", of.password());
    into.execute("postgres", &password(original)).unwrap();
    let scratch = Scratch::new().unwrap();
    let file = scratch.join("script.sql");
    std::fs::write(&file, script).unwrap();
    let psql = |arguments: &[&str]| {
        let mut psql = into.client("psql", ["--no-psqlrc", "--quiet", "--dbname=postgres"]).unwrap();
        psql.args(arguments).env("PGPASSWORD", original.password()).stdin(Stdio::null());
        psql.output().unwrap()
    };
    let output = psql(&["--file", file.to_str().unwrap()]);
    // The script may have set the superuser to read only.
    let writing = "SET default_transaction_read_only = off";
    let back = psql(&["--command", writing, "--command", &password(into)]);
    assert!(back.status.success(), "{back:?}");
    output
}

pub(crate) fn assert_replayed(output: &Output) {
    assert!(
        output.status.success(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

fn round_trip(original: &Cluster, restored: &Cluster) {
    let (_, snapshot) = backup(original, "").unwrap();
    assert_replayed(&replay(&script(&snapshot, &[]).unwrap(), original, restored));
    assert_same(original, restored);
}

#[test]
fn psql_alone_replays_the_script() {
    round_trip(&shop(), &empty());
}

#[test]
fn psql_alone_replays_scripts_of_the_oldest_and_the_newest_version() {
    for major in [13, 17] {
        let start = || builder().major(major).start().unwrap();
        let original = start();
        fill_shop(&original);
        round_trip(&original, &start());
    }
}

#[test]
fn roles_and_databases_can_be_taken_one_by_one() {
    let original = shop();
    let (_, snapshot) = backup(&original, "").unwrap();
    let restored = empty();
    let folder = "databases/Odd \"Name\"%2Ex%2Fy";
    for paths in [&["globals.sql"][..], &["databases/shop"], &[folder]] {
        assert_replayed(&replay(&script(&snapshot, paths).unwrap(), &original, &restored));
    }
    for name in ["shop", "Odd \"Name\".x/y"] {
        assert_same_database(&original, &restored, name, name);
    }
    let databases = "SELECT count(*) FROM pg_database WHERE datname = 'bytes'";
    assert_eq!(restored.execute("postgres", databases).unwrap(), "0");
    let both = script(&snapshot, &["globals.sql", "databases/shop"]).unwrap();
    let restored = empty();
    assert_replayed(&replay(&both, &original, &restored));
    assert_same_database(&original, &restored, "shop", "shop");
}

#[test]
fn definitions_and_rows_are_scripts_by_themselves() {
    let original = small();
    let restored = empty();
    for content in ["schema", "data"] {
        let (_, snapshot) = backup(&original, &format!(r#", "databases": ["small"], "content": "{content}""#)).unwrap();
        let part = script(&snapshot, &["databases/small"]).unwrap();
        assert_replayed(&replay(&part, &original, &restored));
    }
    assert_same_database(&original, &restored, "small", "small");
}

/// A database with rows, whose foreign key leads from the first table to the second.
fn small() -> Cluster {
    let cluster = empty();
    cluster.execute("postgres", "CREATE DATABASE small").unwrap();
    let content = "CREATE TABLE b (n int PRIMARY KEY); CREATE TABLE a (n int REFERENCES b, t text);
        INSERT INTO b SELECT generate_series(1, 1000); INSERT INTO a SELECT n, '\\.' FROM b; CREATE SEQUENCE s START 7";
    cluster.execute("small", content).unwrap();
    cluster
}

fn small_snapshot() -> (Cluster, Snapshot) {
    let cluster = small();
    let (_, snapshot) = backup(&cluster, r#", "databases": ["small"]"#).unwrap();
    (cluster, snapshot)
}

#[test]
fn a_script_that_is_cut_off_fails() {
    let (original, snapshot) = small_snapshot();
    let whole = script(&snapshot, &["databases/small"]).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    assert!(text.ends_with("\\endif\n"));
    let rows = text.find("FROM stdin").unwrap() + 300;
    let restored = empty();
    for cut in [
        text.find("\\restrict").unwrap(),
        text.find("CREATE TABLE").unwrap() + 20,
        rows,
        whole.len() - 8,
    ] {
        let _ = restored.execute("postgres", "DROP DATABASE IF EXISTS small");
        let output = replay(&whole[..cut], &original, &restored);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(3) || output.status.code() == Some(1),
            "{cut}: {}: {said}",
            output.status
        );
        assert!(!said.is_empty(), "{cut}");
    }
}

fn damaged(snapshot: &Snapshot, path: &str, damage: impl FnOnce(&mut Vec<u8>)) -> Snapshot {
    let mut snapshot = snapshot.clone();
    damage(&mut snapshot.entries.get_mut(path.as_bytes()).unwrap().content);
    snapshot
}

/// What is written of a damaged snapshot is nothing, or a script without its end.
fn assert_fails(snapshot: &Snapshot, kind: ErrorKind, says: &str) {
    let (script, outcome) = rendered(snapshot, &[]);
    let error: Error = outcome.unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.to_string().contains(says), "`{says}` is not in: {error}");
    assert!(!String::from_utf8_lossy(&script).contains("\\endif\n"), "{says}");
}

#[test]
fn a_damaged_snapshot_gives_no_whole_script() {
    let (_, snapshot) = small_snapshot();
    let rows = "databases/small/data/public.b.copy";
    for path in [
        rows,
        "databases/small/post-data.sql",
        "databases/small/sequences.sql",
        "globals.sql",
    ] {
        let cut = damaged(&snapshot, path, |content| content.truncate(content.len() - 3));
        assert_fails(&cut, ErrorKind::Corrupt, path);
        let mut missing = snapshot.clone();
        missing.entries.remove(path.as_bytes());
        assert_fails(&missing, ErrorKind::NotFound, "");
    }
    let short = damaged(&snapshot, rows, |content| {
        let end = content.len() - "1000\n\\.\n".len();
        drop(content.splice(end..end + 5, []));
    });
    assert_fails(&short, ErrorKind::Corrupt, "has 999 rows, the index says 1000");
    let cut = damaged(&snapshot, "index.jsonl", |content| content.truncate(content.len() - 3));
    assert_fails(&cut, ErrorKind::Corrupt, "index.jsonl is cut off");
    assert!(rendered(&cut, &[]).0.is_empty(), "the index is read before anything is written");
}

#[test]
fn what_is_in_a_snapshot_is_no_command_to_psql() {
    let (original, snapshot) = small_snapshot();
    let scratch = Scratch::new().unwrap();
    let trace = scratch.join("trace");
    let command = format!("\\! touch {}\n", trace.display());
    let hostile = damaged(&snapshot, "databases/small/pre-data.sql", |content| {
        let text = String::from_utf8(content.clone()).unwrap();
        let statement = text.find("CREATE TABLE public.a").unwrap();
        let end = statement + text[statement..].find(";\n").unwrap();
        assert!(end - statement > command.len(), "room for the command");
        content[statement..statement + command.len()].copy_from_slice(command.as_bytes());
    });
    let output = replay(&script(&hostile, &["databases/small"]).unwrap(), &original, &empty());
    assert!(!output.status.success());
    assert!(!trace.exists(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_cannot_be_rendered_is_told() {
    let (_, snapshot) = small_snapshot();
    for path in ["databases/large", "databases/small/pre-data.sql"] {
        let error = script(&snapshot, &[path]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert_says(&error, "no database at this path", "`databases/small`");
    }
    let harness = Harness::new().snapshot(snapshot);
    let physical = r#"{"mode":"physical","user":"postgres"}"#;
    let error = harness.render::<Postgres>(physical, "sql", &[], &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_says(&error, "has no format `sql`", "logical");
    let cluster = empty();
    cluster.execute("postgres", "CREATE DATABASE \"two\nlines\"").unwrap();
    let (_, snapshot) = backup(&cluster, "").unwrap();
    let error = script(&snapshot, &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_says(&error, "line break", "through the plugin");
}
