//! A PostgreSQL cluster of a chosen size, for benchmarks.

use std::thread;

use bulkhead_test_support::mutation::Random;
use bulkhead_test_support::postgres::Cluster;

use super::trees;
use crate::console::{Console, size};
use crate::error::{Error, Result};

/// Bytes of the accounts of pgbench at scale 1, their index included.
const SCALE_BYTES: u64 = 15 << 20;
/// Bytes of texts that go to the server at once.
const BATCH: usize = 16 << 20;
/// Longest text in bytes: those beyond some 2,000 are compressed by the server, and leave their page where that is not enough.
const LONGEST_TEXT: u64 = 6000;

/// Which 1 % of the rows is changed.
#[derive(Clone, Copy)]
pub(super) enum Change {
    /// Every hundredth row: of the accounts of pgbench some in each page but few.
    Scattered,
    /// Neighbours.
    OneRange,
}

/// Starts a cluster and fills it with about `bytes`: half are what pgbench makes, with its indexes, half are texts.
pub(super) fn filled(console: &Console, bytes: u64) -> Result<Cluster> {
    let cluster = Cluster::builder()
        .setting("max_wal_size", "4GB")
        .setting("shared_buffers", "256MB")
        .start()?;
    cluster.execute("postgres", "CREATE ROLE backup LOGIN REPLICATION PASSWORD 'backup'")?;
    console.note(&format!("Filling a cluster with {}…", size(bytes)));
    thread::scope(|scope| {
        let accounts = scope.spawn(|| accounts(&cluster, bytes / 2));
        let documents = documents(&cluster, bytes / 2);
        accounts
            .join()
            .map_err(|_| Error::Broken("filling the tables of pgbench panicked".to_owned()))?
            .and(documents)
    })?;
    settle(&cluster)?;
    Ok(cluster)
}

/// Writes down what the server has put off: else whoever reads a page after a change changes it again, by noting which transactions are over.
pub(super) fn settle(cluster: &Cluster) -> Result<()> {
    cluster.execute("postgres", "VACUUM FREEZE; CHECKPOINT")?;
    Ok(())
}

fn accounts(cluster: &Cluster, bytes: u64) -> Result<()> {
    let scale = format!("--scale={}", (bytes / SCALE_BYTES).max(1));
    bulkhead_test_support::run(&mut cluster.client("pgbench", ["--initialize", "--quiet", &scale, "postgres"])?)?;
    Ok(())
}

fn documents(cluster: &Cluster, bytes: u64) -> Result<()> {
    cluster.execute(
        "postgres",
        "CREATE TABLE document (id bigint PRIMARY KEY, readers int NOT NULL, title text NOT NULL, body text NOT NULL)",
    )?;
    let words = trees::words();
    let mut random = Random::new(0x5EED);
    let mut id = 0;
    while table_bytes(cluster, "document")? < bytes {
        let mut rows = String::from("COPY document FROM STDIN;\n");
        while rows.len() < BATCH.min(bytes as usize) {
            id += 1;
            let mut text = |longest| trees::text(random.below(longest), &words, &mut random).replace('\n', "\\n");
            rows.push_str(&format!("{id}\t0\t{}\t{}\n", text(60), text(LONGEST_TEXT)));
        }
        rows.push_str("\\.\n");
        cluster.execute("postgres", &rows)?;
    }
    Ok(())
}

fn table_bytes(cluster: &Cluster, table: &str) -> Result<u64> {
    let bytes = cluster.execute("postgres", &format!("SELECT pg_total_relation_size('{table}')"))?;
    bytes
        .parse()
        .map_err(|_| Error::Broken(format!("the size of {table} is `{bytes}`")))
}

/// Updates 1 % of the rows; each `round` another 1 %.
pub(super) fn change_one_percent(cluster: &Cluster, change: Change, round: u32) -> Result<()> {
    for (table, key, counter) in [("pgbench_accounts", "aid", "abalance"), ("document", "id", "readers")] {
        let chosen = match change {
            Change::Scattered => format!("{key} % 100 = {round}"),
            Change::OneRange => format!("{key}::bigint * 100 / (SELECT max({key}) + 1 FROM {table}) = {round}"),
        };
        cluster.execute(
            "postgres",
            &format!("UPDATE {table} SET {counter} = {counter} + 1 WHERE {chosen}; CHECKPOINT"),
        )?;
    }
    Ok(())
}
