//! Key by key into a running cluster.

use bulkhead_plugin_etcd::Etcd;
use bulkhead_sdk::{
    Error, ErrorKind,
    source::RestoreResult,
    testing::{Endpoint, Harness, Snapshot},
};
use bulkhead_test_support::etcd::{Cluster, Release};

use crate::setup::{assert_says, codes, fact, filled, harness, keys, put, values};

fn taken(cluster: &Cluster) -> Snapshot {
    let harness = harness(cluster);
    harness.backup::<Etcd>("{}").unwrap();
    harness.last().unwrap()
}

fn restore(snapshot: &Snapshot, target: &Cluster, options: &str) -> Result<RestoreResult, Error> {
    let harness = Harness::new()
        .snapshot(snapshot.clone())
        .endpoint("server", Endpoint::tcp(target.address(0)));
    harness.restore::<Etcd>("{}", options)
}

#[test]
fn every_key_and_lease_comes_back_in_a_running_cluster() {
    for release in Release::all().unwrap() {
        let original = filled(&release);
        let target = Cluster::builder(&release).members(3).start().unwrap();
        let result = restore(&taken(&original), &target, "{}").unwrap();
        assert_eq!(values(&target), values(&original), "{}", release.line);
        let leases = |cluster: &Cluster| -> Vec<_> { keys(cluster).iter().map(|key| key["lease"].clone()).collect() };
        assert_eq!(leases(&target), leases(&original), "leases keep their numbers");
        assert_eq!(fact(&result.facts, "keys"), keys(&original).len().to_string());
        assert_eq!((fact(&result.facts, "leases"), result.findings.len()), ("2", 0));
    }
}

#[test]
fn a_prefix_is_selected_and_renamed() {
    let release = Release::debian().unwrap();
    let original = filled(&release);
    // Into the original itself, whose leases are taken.
    let options = r#"{"prefix":"/leased/","rename":"/copy/of/"}"#;
    let result = restore(&taken(&original), &original, options).unwrap();
    assert_eq!(fact(&result.facts, "keys"), "4");
    assert_eq!(codes(&result.findings), ["leases-renumbered"]);
    let copies = original.execute(["get", "/copy/of/", "--prefix", "--keys-only"]).unwrap();
    let names: Vec<&str> = copies.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(names, ["/copy/of/a", "/copy/of/a/too", "/copy/of/b", "/copy/of/b/too"]);
    let nothing = restore(&taken(&original), &original, r#"{"prefix":"/nowhere/"}"#).unwrap();
    assert_eq!(codes(&nothing.findings), ["nothing-selected"]);
}

#[test]
fn existing_keys_are_what_the_target_says() {
    let release = Release::distro().unwrap();
    let original = filled(&release);
    let snapshot = taken(&original);
    let target = Cluster::builder(&release).start().unwrap();
    put(&target, "/registry/pods/01500", b"precious", None);
    put(&target, "/other", b"untouched", None);

    let error = restore(&snapshot, &target, "{}").unwrap_err();
    assert_eq!((error.kind, error.setting.as_deref()), (ErrorKind::AlreadyExists, Some("existing")));
    assert_says(&error, "/registry/pods/01500", "existing = \"skip\"");
    assert_eq!(keys(&target).len(), 2, "nothing was written");

    let result = restore(&snapshot, &target, r#"{"existing":"skip"}"#).unwrap();
    assert_eq!(
        (fact(&result.facts, "skipped-keys"), codes(&result.findings)),
        ("1", vec!["keys-skipped"])
    );
    assert_eq!(
        target.execute(["get", "/registry/pods/01500", "--print-value-only"]).unwrap(),
        "precious"
    );
    assert_eq!(keys(&target).len(), keys(&original).len() + 1);

    restore(&snapshot, &target, r#"{"existing":"replace","request-size":"64 KiB"}"#).unwrap();
    target.execute(["del", "/other"]).unwrap();
    assert_eq!(values(&target), values(&original));
}

#[test]
fn a_value_that_the_target_does_not_take_is_named() {
    let release = Release::debian().unwrap();
    let snapshot = taken(&filled(&release));
    let target = Cluster::builder(&release).argument("--max-request-bytes=1000000").start().unwrap();
    let error = restore(&snapshot, &target, r#"{"request-size":"512 KiB"}"#).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Limit);
    assert_says(&error, "/large", "--max-request-bytes");
}

#[test]
fn a_target_that_grants_nothing_or_both_is_told_what_to_grant() {
    let error = Harness::new()
        .snapshot(Snapshot::default())
        .restore::<Etcd>("{}", "{}")
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert_says(&error, "`directory.target` and `endpoint.server`", "directory.target");
}
