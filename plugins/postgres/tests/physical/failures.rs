//! Backups that must fail, and say why.

use std::{
    io::{Read, Seek, SeekFrom, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use bulkhead_sdk::{
    ErrorKind,
    testing::{Endpoint, Harness},
};
use bulkhead_test_support::postgres::Cluster;

use crate::setup::{Operations, Target, assert_says, builder, codes, config, over_tcp, superuser};

/// Waits until the server's statistics have such a row.
fn wait_for(cluster: &Cluster, row: &str) {
    while cluster.execute("postgres", &format!("SELECT count(*) FROM {row}")).unwrap() == "0" {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A backup that takes seconds, with `during` a while after its start.
fn slow_backup(cluster: &Cluster, during: impl FnOnce() + Send) -> bulkhead_sdk::Error {
    let harness = over_tcp(cluster);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for(cluster, "pg_stat_progress_basebackup WHERE backup_streamed > 1000000");
            during();
        });
        let error = harness.backup_as(&config("postgres", r#", "max-rate": "1 MiB/s""#)).unwrap_err();
        assert!(harness.last().is_none());
        error
    })
}

#[test]
fn a_server_that_dies_midway_fails_the_backup() {
    let cluster = builder().start().unwrap();
    let error = slow_backup(&cluster, || cluster.kill().unwrap());
    assert_eq!((error.kind, error.retryable), (ErrorKind::ConnectionLost, true), "{error}");
}

#[test]
fn a_terminated_connection_fails_the_backup() {
    let cluster = builder().start().unwrap();
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_replication";
    let error = slow_backup(&cluster, || drop(cluster.execute("postgres", terminate).unwrap()));
    assert_eq!((error.kind, error.retryable), (ErrorKind::ConnectionLost, true), "{error}");
    assert_says(&error, "57P01", "administrator");
}

#[test]
fn log_that_the_server_may_not_keep_fails_the_backup() {
    let limits = ["max_slot_wal_keep_size", "min_wal_size", "max_wal_size"];
    let cluster = limits
        .into_iter()
        .fold(builder(), |builder, name| builder.setting(name, "2MB"))
        .start()
        .unwrap();
    let error = slow_backup(&cluster, || {
        for _ in 0..8 {
            cluster
                .execute(
                    "postgres",
                    "SELECT pg_logical_emit_message(false, 'x', 'y'), pg_switch_wal(); CHECKPOINT",
                )
                .unwrap();
        }
    });
    assert_says(&error, "the base backup failed", "max_slot_wal_keep_size");
    assert!(cluster.log().contains("to release replication slot"), "{}", cluster.log());
}

#[test]
fn all_wal_senders_in_use() {
    let cluster = builder().setting("max_wal_senders", 1).start().unwrap();
    let error = {
        let cluster = &cluster;
        let mut second = None;
        slow_backup_outcome(cluster, || second = over_tcp(cluster).backup_as(&superuser()).err());
        second.unwrap()
    };
    assert_eq!((error.kind, error.retryable), (ErrorKind::Limit, true));
    assert_says(&error, "max_wal_senders", "max_wal_senders");
}

/// A backup that goes well, with `during` in the middle of it.
fn slow_backup_outcome(cluster: &Cluster, during: impl FnOnce() + Send) {
    let harness = over_tcp(cluster);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for(cluster, "pg_stat_replication WHERE state = 'backup'");
            during();
        });
        harness.backup_as(&config("postgres", r#", "max-rate": "8 MiB/s""#)).unwrap();
    });
}

#[test]
fn damaged_pages_fail_the_backup_or_are_a_finding() {
    let cluster = builder().start().unwrap();
    cluster
        .execute("postgres", "CREATE TABLE t AS SELECT generate_series(1, 10000) AS n; CHECKPOINT")
        .unwrap();
    let file = cluster.execute("postgres", "SELECT pg_relation_filepath('t')").unwrap();
    cluster.stop().unwrap();
    let mut relation = std::fs::File::options()
        .read(true)
        .write(true)
        .open(cluster.data_directory().join(&file))
        .unwrap();
    relation.seek(SeekFrom::Start(8192 + 5000)).unwrap();
    relation.write_all(b"damage").unwrap();
    cluster.start().unwrap();

    let harness = over_tcp(&cluster);
    let error = harness.backup_as(&superuser()).unwrap_err();
    assert_eq!(
        (error.kind, error.setting.as_deref()),
        (ErrorKind::SourceDamaged, Some("accept-damaged-pages"))
    );
    assert_says(&error, &format!("wrong checksums in {file}"), "pg_filenode_relation");
    assert!(harness.last().is_none());

    let result = harness.backup_as(&config("postgres", r#", "accept-damaged-pages": true"#)).unwrap();
    assert_eq!(codes(&result.findings), ["damaged-pages"]);
    assert!(result.findings[0].message.contains(&file));
    let target = Target::new(&[]);
    target.restore(&harness.last().unwrap(), "{}", &[]).unwrap();
    cluster.installation().verify_backup(&target.path("data")).unwrap();
}

/// A server that says `answer` after the startup message.
fn played(answer: Vec<u8>) -> bulkhead_sdk::Error {
    let endpoint = Endpoint::scripted(move |mut client: UnixStream| {
        let mut startup = [0; 1024];
        let _ = client.read(&mut startup).unwrap();
        client.write_all(&answer).unwrap();
    });
    Harness::new().endpoint("server", endpoint).backup_as(&superuser()).unwrap_err()
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}

#[test]
fn what_is_not_postgres_is_not_believed() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"-ERR unknown command\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &[0; 64],
    ] {
        let error = played(answer.to_vec());
        assert_eq!(error.kind, ErrorKind::Protocol, "{error}");
        assert_says(&error, "does not speak PostgreSQL's protocol", "endpoint.server");
    }
    let error = played(Vec::new());
    assert_eq!(error.kind, ErrorKind::ConnectionLost, "{error}");
}

#[test]
fn other_versions_are_refused_by_name() {
    for version in ["9.6.24", "12.22", "18.1", "19beta1", "mystery"] {
        let hello = [
            message(b'R', &0_u32.to_be_bytes()),
            message(b'S', format!("server_version\0{version}\0").as_bytes()),
            message(b'Z', b"I"),
        ];
        let error = played(hello.concat());
        assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
        assert_says(&error, version, "version");
    }
}
