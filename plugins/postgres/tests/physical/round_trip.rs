//! Backup, restore, and a server that starts from it with the same content.

use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use bulkhead_sdk::testing::Harness;
use bulkhead_test_support::postgres::Cluster;

use crate::{
    setup::{Operations, Target, builder, codes, config, dump, make_tablespace, over_tcp, superuser},
    tls,
};

/// Databases, a table in a tablespace, a large object, an unlogged table, a role. Returns the tablespace's OID.
fn fill(cluster: &Cluster) -> u32 {
    let oid = make_tablespace(cluster, "fast");
    cluster
        .execute("postgres", "CREATE DATABASE shop; CREATE ROLE clerk LOGIN PASSWORD 'x'")
        .unwrap();
    cluster
        .execute(
            "shop",
            "CREATE TABLE orders (id int PRIMARY KEY, note text);
             INSERT INTO orders SELECT n, repeat('x', n % 100) FROM generate_series(1, 20000) n;
             CREATE TABLE archived (id int) TABLESPACE fast;
             INSERT INTO archived SELECT generate_series(1, 5000);
             CREATE UNLOGGED TABLE scratch (id int);
             SELECT lo_from_bytea(0, decode(repeat('ab', 100000), 'hex'));
             GRANT SELECT ON orders TO clerk",
        )
        .unwrap();
    oid
}

#[test]
fn a_cluster_comes_back_with_the_same_content() {
    let cluster = builder().start().unwrap();
    let oid = fill(&cluster);
    let before = dump(&cluster);
    let harness = Harness::new()
        .endpoint("server", tls::endpoint(&cluster, None))
        .secret("password", cluster.password());
    let result = harness.backup_as(&superuser()).unwrap();
    assert!(result.findings.is_empty(), "{:?}", result.findings);
    let fact = |name: &str| result.proof.facts.iter().find(|fact| fact.name == name).unwrap().value.clone();
    assert_eq!(fact("files"), result.proof.entries.to_string());
    assert_eq!(fact("tablespaces"), "1");
    assert_eq!(fact("server-role"), "primary");
    assert!(fact("manifest-verified-files").parse::<u64>().unwrap() > 900);
    assert_eq!(codes(&harness.verified()), ["manifest-verified"]);
    // The server's clock says when it ended, not ours: as the server wrote the log's marks, which it does last.
    let snapshot = harness.last().unwrap();
    let mut marks = snapshot.entries.iter().filter(|(path, _)| path.ends_with(b".done"));
    let marked = marks.next().unwrap().1.metadata.modified.unwrap().seconds;
    assert_eq!(fact("finished").parse::<i64>().unwrap(), marked + 1, "the end of that second");
    let progress = harness.progress();
    assert!(
        progress
            .iter()
            .all(|report| report.total_bytes.is_some_and(|total| report.bytes <= total))
    );
    assert!(progress.len() > 5, "{progress:?}");

    // The original must be gone: its tablespace's folder is what a wrong link would lead to.
    cluster.stop().unwrap();
    let target = Target::new(&[oid]);
    let restored = target.restore(&harness.last().unwrap(), "{}", &[]).unwrap();
    assert_eq!(restored.bytes, result.proof.bytes);
    assert_owner_mode_and_time(&cluster, &target.path("data"));
    cluster.installation().verify_backup(&target.path("data")).unwrap();

    let twin = builder().adopt(&target.path("data"), cluster.password()).unwrap();
    let (from, to) = (cluster.tablespaces().unwrap().remove(0), target.path(&format!("tablespace-{oid}")));
    assert_eq!(dump(&twin), before.replace(&from.display().to_string(), &to.display().to_string()));
}

/// Compares restored files with the original's.
fn assert_owner_mode_and_time(original: &Cluster, restored: &Path) {
    for name in ["PG_VERSION", "base", "global/pg_filenode.map", ""] {
        let (one, other) = (original.data_directory().join(name), restored.join(name));
        let (one, other) = (std::fs::metadata(one).unwrap(), std::fs::metadata(other).unwrap());
        assert_eq!(
            (one.uid(), one.gid(), one.permissions().mode()),
            (other.uid(), other.gid(), other.permissions().mode()),
            "{name:?}"
        );
    }
    let modified = |root: &Path| std::fs::metadata(root.join("PG_VERSION")).unwrap().mtime();
    assert_eq!(modified(original.data_directory()), modified(restored));
}

#[test]
fn a_standby_can_be_the_source() {
    let primary = builder().start().unwrap();
    primary
        .execute("postgres", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
        .unwrap();
    let standby = primary.start_standby().unwrap();
    // The standby's restart point, from which its backup begins, must know of the table's files.
    primary.execute("postgres", "CHECKPOINT").unwrap();
    let harness = over_tcp(&standby);
    let result = harness.backup_as(&superuser()).unwrap();
    assert!(
        result
            .proof
            .facts
            .iter()
            .any(|fact| fact.name == "server-role" && fact.value == "standby")
    );
    let target = Target::new(&[]);
    target.restore(&harness.last().unwrap(), "{}", &[]).unwrap();
    primary.installation().verify_backup(&target.path("data")).unwrap();
    // A backup of a standby has its `standby.signal`, and would follow the primary.
    std::fs::remove_file(target.path("data/standby.signal")).unwrap();
    drop(standby);
    let twin = builder().adopt(&target.path("data"), primary.password()).unwrap();
    assert_eq!(twin.execute("postgres", "SELECT count(*) FROM t").unwrap(), "1000");
}

#[test]
fn a_backup_beside_writes_is_consistent() {
    let cluster = builder().start().unwrap();
    cluster
        .execute(
            "postgres",
            "CREATE TABLE pairs (a int, b int); INSERT INTO pairs SELECT n, -n FROM generate_series(1, 100000) n",
        )
        .unwrap();
    let harness = over_tcp(&cluster);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // Several segments a second: without the slot and the log in the backup, no restore would become consistent.
                cluster
                    .execute("postgres", "UPDATE pairs SET a = a + 1, b = b - 1 WHERE a % 3 = 0; CHECKPOINT")
                    .unwrap();
            }
        });
        let outcome = harness.backup_as(&config("postgres", r#", "max-rate": "20 MiB/s""#));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        outcome.unwrap();
    });
    let segments = harness
        .last()
        .unwrap()
        .entries
        .keys()
        .filter(|path| path.starts_with(b"data/pg_wal/0"))
        .count();
    assert!(segments > 3, "{segments} segments: the test did not write enough");
    let target = Target::new(&[]);
    target.restore(&harness.last().unwrap(), "{}", &[]).unwrap();
    cluster.installation().verify_backup(&target.path("data")).unwrap();
    let twin = builder().adopt(&target.path("data"), cluster.password()).unwrap();
    assert_eq!(
        twin.execute("postgres", "SELECT count(*), sum(a + b) FROM pairs").unwrap(),
        "100000|0"
    );
}
