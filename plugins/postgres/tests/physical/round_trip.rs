//! Backup, restore, and a server that starts from it with the same content.

use bulkhead_sdk::types::Severity;
use bulkhead_test_support::postgres::Cluster;

use crate::setup::{Pipeline, Target, dump, tablespace_oid};

/// Databases, a tablespace, a large object, an unlogged table, roles.
fn fill(cluster: &Cluster) {
    let folder = cluster.tablespace_folder("fast").unwrap();
    cluster.execute("postgres", &format!("CREATE TABLESPACE fast LOCATION '{}'", folder.display())).unwrap();
    cluster.execute("postgres", "CREATE DATABASE shop; CREATE ROLE clerk LOGIN PASSWORD 'x'").unwrap();
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
}

#[test]
fn a_cluster_comes_back_with_the_same_content() {
    let cluster = Cluster::builder().wal_segment_mebibytes(1).start().unwrap();
    fill(&cluster);
    let before = dump(&cluster);
    let pipeline = Pipeline::new(&cluster);
    let result = pipeline.backup().unwrap();
    assert!(result.proof.complete);
    assert!(result.findings.is_empty(), "{:?}", result.findings);
    assert!(result.proof.entries > 900);
    assert!(result.checkpoint.is_some());
    let verified = pipeline.verify().unwrap();
    assert_eq!(verified.iter().map(|finding| finding.code.as_str()).collect::<Vec<_>>(), ["manifest-verified"], "{verified:?}");
    assert!(verified.iter().all(|finding| finding.severity == Severity::Info));

    let oid = tablespace_oid(&cluster);
    cluster.stop().unwrap();
    let target = Target::new(&[oid]);
    let restored = pipeline.restore(&target, "{}", &[]).unwrap();
    assert_eq!(restored.bytes, result.proof.bytes);
    cluster.installation().verify_backup(&target.data).unwrap();
    let twin = Cluster::builder().adopt(&target.data, cluster.password()).unwrap();
    assert_eq!(dump(&twin), before.replace(&format!("{}", cluster.tablespaces().unwrap()[0].display()), &target.directories[&format!("tablespace-{oid}")].display().to_string()));
}
