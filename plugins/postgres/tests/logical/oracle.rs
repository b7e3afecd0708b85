//! PostgreSQL's own `pg_dumpall` and `pg_dump` as witnesses: [`assert_same`].
//!
//! Their output is compared as they write it, but for this:
//! - The line that gives the superuser `postgres` its password is left out: a restore leaves the role that it logs in as alone.
//! - `DEFAULT NULL`, with which `pg_dump` says that a partition lacks its parent's default, is left out: whether it says so depends on the numbers of partitions of partitions.
//! - Rows are sorted, and their columns too. A table with a fillfactor doesn't keep rows in the order in which they come. A column that a parent got after its child was made
//!   comes before the child's own when both are made anew; `pg_dump` brings it back so too.
//! - The dump is cut into its statements' blocks, which are sorted: `pg_dump` itself orders what has equal names (overloaded operators, casts, members of families) by numbers
//!   that every cluster gives anew.

use bulkhead_test_support::{Scratch, postgres::Cluster, run};

/// What `pg_dumpall` says of a cluster, in an order that does not depend on numbers.
fn everything(cluster: &Cluster) -> Vec<String> {
    let scratch = Scratch::new().unwrap();
    let path = scratch.join("dump.sql");
    cluster.dump_all(&path).unwrap();
    blocks(&String::from_utf8_lossy(&std::fs::read(path).unwrap()))
}

/// What `pg_dump -Fp` says of a database.
pub(crate) fn database(cluster: &Cluster, name: &str) -> Vec<String> {
    let dump = cluster
        .client("pg_dump", ["--format=plain", "--restrict-key=bulkhead", "--dbname", name])
        .unwrap();
    let mut dump = dump;
    blocks(&String::from_utf8_lossy(&run(&mut dump).unwrap().stdout))
}

fn blocks(dump: &str) -> Vec<String> {
    let kept = dump
        .lines()
        .filter(|line| !line.starts_with("ALTER ROLE postgres WITH"))
        .map(|line| line.trim_end_matches(',').trim_end_matches(" DEFAULT NULL"))
        .fold(String::new(), |text, line| text + line + "\n");
    let mut blocks: Vec<String> = kept.split("\n--\n-- ").map(by_name_of_column).collect();
    blocks.sort_unstable();
    blocks
}

/// Rows in one order, with their columns in that of their names.
fn by_name_of_column(block: &str) -> String {
    let Some((before, rows)) = block.split_once(") FROM stdin;\n") else {
        return block.to_owned();
    };
    let Some((copy, columns)) = before.rsplit_once(" (") else {
        return block.to_owned();
    };
    let columns: Vec<&str> = columns.split(", ").collect();
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by_key(|place| columns[*place]);
    let sorted = |values: &[&str], separator: &str| order.iter().map(|place| values[*place]).collect::<Vec<_>>().join(separator);
    let rows = rows.lines().map(|row| {
        let values: Vec<&str> = row.split('\t').collect();
        if values.len() == columns.len() {
            sorted(&values, "\t")
        } else {
            row.to_owned()
        }
    });
    let mut rows: Vec<String> = rows.collect();
    rows.sort_unstable();
    format!("{copy} ({}) FROM stdin;\n{}\n", sorted(&columns, ", "), rows.join("\n"))
}

/// The first lines that differ, of the first blocks that do.
fn differences(one: &[String], other: &[String]) -> String {
    let title = |block: &str| block.lines().next().unwrap_or_default().to_owned();
    let missing =
        |these: &[String], those: &[String]| -> Vec<String> { these.iter().filter(|block| !those.contains(block)).cloned().collect() };
    let (left, right) = (missing(one, other), missing(other, one));
    let mut text = String::new();
    for block in left.iter().take(40) {
        let twin = right.iter().find(|twin| title(twin) == title(block)).cloned().unwrap_or_default();
        text += &format!("=== {}\n", title(block));
        let (these, those): (Vec<&str>, Vec<&str>) = (block.lines().collect(), twin.lines().collect());
        for line in these.iter().filter(|line| !those.contains(line)).take(10) {
            text += &format!("--- {line}\n");
        }
        for line in those.iter().filter(|line| !these.contains(line)).take(10) {
            text += &format!("+++ {line}\n");
        }
    }
    let alone = right.iter().filter(|block| !left.iter().any(|twin| title(twin) == title(block)));
    alone.take(40).fold(text, |text, block| text + "+++ " + block + "\n")
}

/// Fails where PostgreSQL's own tools see a difference, with the differing statements.
pub(crate) fn assert_same(original: &Cluster, restored: &Cluster) {
    let (one, other) = (everything(original), everything(restored));
    assert!(one == other, "pg_dumpall differs:\n{}", differences(&one, &other));
    let names = original
        .execute("postgres", "SELECT datname FROM pg_database WHERE datallowconn")
        .unwrap();
    for name in names.lines() {
        assert_same_database(original, restored, name, name);
    }
}

/// The same for one database, which may have another name.
pub(crate) fn assert_same_database(original: &Cluster, restored: &Cluster, name: &str, restored_name: &str) {
    let (one, other) = (database(original, name), database(restored, restored_name));
    assert!(one == other, "pg_dump of {name} differs:\n{}", differences(&one, &other));
}
