//! What a check finds out beyond getting in.

use bulkhead_sdk::{
    ErrorKind,
    testing::{Endpoint, Harness},
    types::Severity,
};

use crate::setup::{Operations, assert_says, builder, codes, config, make_tablespace, over_tcp, superuser};

#[test]
fn what_would_surprise_at_a_restore_is_said_before() {
    let cluster = builder()
        .without_checksums()
        .setting("max_slot_wal_keep_size", "1GB")
        .start()
        .unwrap();
    let oid = make_tablespace(&cluster, "fast");
    let findings = over_tcp(&cluster).check_as(&superuser()).unwrap();
    assert_eq!(
        codes(&findings),
        ["server-reached", "data-checksums-off", "wal-kept-limited", "tablespaces"]
    );
    assert!(
        findings[3]
            .hint
            .as_deref()
            .unwrap()
            .contains(&format!("directory.tablespace-{oid} = ")),
        "{:?}",
        findings[3]
    );
    assert!(findings[1].hint.as_deref().unwrap().contains("pg_checksums --enable"));
    assert!(findings[0].message.contains("wal_level replica"), "{}", findings[0].message);
    let backup = over_tcp(&cluster).backup_as(&superuser()).unwrap();
    assert_eq!(codes(&backup.findings), ["data-checksums-off"]);
}

#[test]
fn what_keeps_backups_from_being_incremental_is_a_hint() {
    let off = builder().major(17).start().unwrap();
    let findings = over_tcp(&off).check_as(&superuser()).unwrap();
    assert_eq!(codes(&findings), ["server-reached", "incremental-off"]);
    assert_eq!(findings[1].severity, Severity::Info);
    assert!(findings[1].hint.as_deref().unwrap().contains("summarize_wal = on"));
    let never = config("postgres", r#","incremental":"never""#);
    assert_eq!(codes(&over_tcp(&off).check_as(&never).unwrap()), ["server-reached"]);

    let on = builder().major(17).setting("summarize_wal", "on").start().unwrap();
    assert_eq!(codes(&over_tcp(&on).check_as(&superuser()).unwrap()), ["server-reached"]);
}

#[test]
fn a_standby_is_named() {
    let primary = builder().start().unwrap();
    let standby = primary.start_standby().unwrap();
    assert_eq!(
        codes(&over_tcp(&standby).check_as(&superuser()).unwrap()),
        ["server-reached", "server-is-standby"]
    );
}

#[test]
fn the_last_wal_sender_is_named() {
    let cluster = builder().setting("max_wal_senders", 1).start().unwrap();
    let findings = over_tcp(&cluster).check_as(&superuser()).unwrap();
    assert_eq!(codes(&findings), ["server-reached", "wal-senders-scarce"]);
    assert_eq!(findings[1].severity, Severity::Warning);
}

#[test]
fn a_missing_replication_slot_fails_both_check_and_backup() {
    let cluster = builder().setting("max_replication_slots", 1).start().unwrap();
    let harness = || over_tcp(&cluster);
    assert_eq!(
        codes(&harness().check_as(&superuser()).unwrap()),
        ["server-reached", "replication-slots-scarce"]
    );

    cluster
        .execute("postgres", "SELECT pg_create_physical_replication_slot('somebody')")
        .unwrap();
    let findings = harness().check_as(&superuser()).unwrap();
    let slot = findings.iter().find(|finding| finding.code == "replication-slot").unwrap();
    assert_eq!(slot.severity, Severity::Error);
    assert!(slot.hint.as_deref().unwrap().contains("max_replication_slots"));
    let error = harness().backup_as(&superuser()).unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Limit, true));
    assert_says(&error, "replication slots are in use", "max_replication_slots");
}

#[test]
fn a_server_without_senders_says_so() {
    let cluster = builder()
        .setting("max_wal_senders", 0)
        .setting("wal_level", "minimal")
        .start()
        .unwrap();
    let error = over_tcp(&cluster).check_as(&superuser()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Limit);
    assert_says(&error, "max_wal_senders", "wal_level = minimal");
}

#[test]
fn nobody_at_home() {
    let error = Harness::new()
        .endpoint("server", Endpoint::unreachable())
        .check_as(&superuser())
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    let error = Harness::new().check_as(&superuser()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotGranted);
}
