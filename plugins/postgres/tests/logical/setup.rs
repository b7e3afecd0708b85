//! What the tests share: clusters with something in them, and harnesses with grants.

use std::{io::Write as _, process::Stdio};

use bulkhead_plugin_postgres::Postgres;
use bulkhead_sdk::{
    Error, Result,
    source::{BackupResult, RestoreResult},
    testing::{Endpoint, Harness, Snapshot},
};
use bulkhead_test_support::postgres::{Builder, Cluster};

/// A cluster that waits for no disk.
pub(crate) fn builder() -> Builder {
    Cluster::builder()
        .without_tls()
        .setting("fsync", "off")
        .setting("wal_level", "logical")
}

/// An empty one.
pub(crate) fn empty() -> Cluster {
    builder().start().unwrap()
}

/// One with about everything.
pub(crate) fn shop() -> Cluster {
    let cluster = empty();
    fill_shop(&cluster);
    cluster
}

/// Puts it into a cluster.
pub(crate) fn fill_shop(cluster: &Cluster) {
    cluster.execute("postgres", include_str!("globals.sql")).unwrap();
    cluster.execute("shop", include_str!("shop.sql")).unwrap();
    cluster
        .execute("Odd \"Name\".x/y", "CREATE TABLE t AS SELECT E'\\u00e9'::text AS \"\u{e9}\"")
        .unwrap();
    cluster
        .execute(
            "bytes",
            "SET client_encoding = 'SQL_ASCII'; CREATE TABLE t (a text); INSERT INTO t VALUES (E'\\xff\\xfe')",
        )
        .unwrap();
}

/// JSON of a config for the superuser, with `more` settings (`, "a": 1`).
pub(crate) fn config(more: &str) -> String {
    format!(r#"{{"mode":"logical","user":"postgres"{more}}}"#)
}

/// Grants a server, and its superuser's password.
pub(crate) fn over_tcp(cluster: &Cluster) -> Harness {
    Harness::new()
        .endpoint("server", Endpoint::tcp(cluster.address()))
        .secret("password", cluster.password())
}

/// Backs a cluster up.
pub(crate) fn backup(cluster: &Cluster, more: &str) -> Result<(BackupResult, Snapshot)> {
    let harness = over_tcp(cluster);
    let result = harness.backup::<Postgres>(&config(more))?;
    Ok((result, harness.last().unwrap()))
}

/// Restores `snapshot` into a cluster.
pub(crate) fn restore(cluster: &Cluster, snapshot: &Snapshot, options: &str) -> Result<RestoreResult> {
    over_tcp(cluster)
        .snapshot(snapshot.clone())
        .restore::<Postgres>(&config(""), options)
}

/// Whether an error, with its causes, and its hint have these words.
pub(crate) fn assert_says(error: &Error, message: &str, hint: &str) {
    assert!(error.to_string().contains(message), "`{message}` is not in: {error}");
    let found = error.hint.as_deref().unwrap_or("no hint");
    assert!(found.contains(hint), "`{hint}` is not in: {found}");
}

/// What `work` returns, which waits for somebody's transaction that does `change`, and ends then.
pub(crate) fn while_others<T: Send>(cluster: &Cluster, database: &str, change: &str, work: impl FnOnce() -> T + Send) -> T {
    let count = |what: &str| cluster.execute(database, &format!("SELECT count(*) FROM {what}")).unwrap();
    let changed = "pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE 'SELECT ''changed''%'";
    let waiting = "pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.application_name = 'bulkhead'";
    let pause = || std::thread::sleep(std::time::Duration::from_millis(20));
    std::thread::scope(|scope| {
        let mut holder = cluster.client("psql", ["--quiet", "--dbname", database]).unwrap();
        let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut input = holder.stdin.take().unwrap();
        writeln!(input, "BEGIN; {change}; SELECT 'changed';").unwrap();
        while count(changed) == "0" {
            assert!(holder.try_wait().unwrap().is_none(), "psql has ended");
            pause();
        }
        let work = scope.spawn(work);
        while !work.is_finished() && count(waiting) == "0" {
            pause();
        }
        writeln!(input, "COMMIT;").unwrap();
        drop(input);
        holder.wait().unwrap();
        work.join().unwrap()
    })
}
