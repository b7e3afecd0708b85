//! What a check finds out beyond getting in.

use bulkhead_plugin_postgres::Postgres;

use crate::setup::{Operations, builder, cluster, codes, config, over_tcp, write_log};

#[test]
fn what_could_fill_the_servers_disk_is_said() {
    let cluster = cluster();
    let harness = over_tcp(&cluster);
    assert_eq!(codes(&harness.checked()), ["server-reached", "slot-missing", "wal-kept-unlimited"]);
    assert_eq!(
        cluster.execute("postgres", "SELECT count(*) FROM pg_replication_slots").unwrap(),
        "0",
        "a check changes nothing"
    );

    harness.catch_up().unwrap();
    assert_eq!(codes(&harness.checked()), ["server-reached", "slot-state", "wal-kept-unlimited"]);
    write_log(&cluster, 3);
    let findings = harness.check::<Postgres>(&config(r#","slot-warning":"1 MiB""#)).unwrap();
    assert_eq!(codes(&findings), ["server-reached", "slot-lag", "wal-kept-unlimited"]);
    let kept: u64 = findings[1].message.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    assert!((3_000_000..8_000_000).contains(&kept), "{kept} bytes");
}

#[test]
fn a_limit_of_the_server_is_named() {
    let cluster = builder().setting("max_slot_wal_keep_size", "1GB").start().unwrap();
    let findings = over_tcp(&cluster).checked();
    assert_eq!(codes(&findings), ["server-reached", "slot-missing", "wal-kept-limited"]);
    assert!(findings[2].message.contains("1GB"));
}

#[test]
fn slots_and_senders_that_are_all_in_use_are_named() {
    let cluster = builder().setting("max_replication_slots", 1).start().unwrap();
    cluster
        .execute("postgres", "SELECT pg_create_physical_replication_slot('somebody')")
        .unwrap();
    let findings = over_tcp(&cluster).checked();
    assert!(codes(&findings).contains(&"replication-slots-scarce"), "{findings:?}");
    let error = over_tcp(&cluster).catch_up().unwrap_err();
    assert!(error.to_string().contains("making the replication slot failed"), "{error}");
}

#[test]
fn a_slot_for_logical_decoding_is_not_used() {
    let cluster = builder().setting("wal_level", "logical").start().unwrap();
    cluster
        .execute("postgres", "SELECT pg_create_logical_replication_slot('bulkhead', 'pgoutput')")
        .unwrap();
    let findings = over_tcp(&cluster).checked();
    assert!(codes(&findings).contains(&"slot-logical"), "{findings:?}");
    let error = over_tcp(&cluster).catch_up().unwrap_err();
    assert_eq!(error.setting, None);
}
