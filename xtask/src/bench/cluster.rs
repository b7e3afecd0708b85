//! A PostgreSQL cluster of a chosen size, for benchmarks.

use bulkhead_test_support::postgres::Cluster;

use crate::console::{Console, size};
use crate::error::Result;

/// A row with its overhead: 32 of them make a page of 8 KiB.
const ROW_BYTES: u64 = 256;
/// Sessions that fill the tables side by side.
const TABLES: u64 = 4;

/// Starts a cluster and fills it with about `bytes` of rows. Half of a row is hexadecimal digests, which compress by half, the rest counts and repeated
/// words, which compress well: together about as a ledger does.
pub(super) fn filled(console: &Console, bytes: u64) -> Result<Cluster> {
    let cluster = Cluster::builder()
        .setting("max_wal_size", "4GB")
        .setting("shared_buffers", "256MB")
        .start()?;
    cluster.execute("postgres", "CREATE ROLE backup LOGIN REPLICATION PASSWORD 'backup'")?;
    let rows = bytes / ROW_BYTES / TABLES;
    console.note(&format!("Filling a cluster with {}…", size(bytes)));
    std::thread::scope(|scope| {
        let fill = |table: u64| {
            let sql = format!(
                "CREATE TABLE ledger_{table} AS
                 SELECT n AS id, n % 1000 AS account, n * 7 AS amount, md5(n::text || '-{table}') || md5((n + 1)::text) || md5((n + 2)::text) AS digest,
                     'a posting of the ' || n % 28 || '. day, carried forward and not yet audited by anybody, see the journal' AS remark
                 FROM generate_series(1, {rows}) AS n"
            );
            let cluster = &cluster;
            scope.spawn(move || cluster.execute("postgres", &sql))
        };
        let running: Vec<_> = (0..TABLES).map(fill).collect();
        running
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect::<std::result::Result<Vec<_>, _>>()
    })?;
    cluster.execute("postgres", "VACUUM FREEZE; CHECKPOINT")?;
    Ok(cluster)
}

/// Updates 1 % of the rows in place, in one range or in runs of 1,000 (about 250 kB) scattered evenly; each `round` another 1 %.
pub(super) fn change_one_percent(cluster: &Cluster, round: u32, one_range: bool) -> Result<()> {
    let chosen = match one_range {
        true => format!("id * 100 / (SELECT max(id) + 1 FROM ledger_0) = {round}"),
        false => format!("(id / 1000) % 100 = {round}"),
    };
    for table in 0..TABLES {
        let sql = format!("UPDATE ledger_{table} SET amount = amount + 1 WHERE {chosen}; CHECKPOINT");
        cluster.execute("postgres", &sql)?;
    }
    Ok(())
}
