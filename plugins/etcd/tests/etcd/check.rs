//! Preflight against real clusters.

use bulkhead_plugin_etcd::Etcd;
use bulkhead_sdk::types::Severity;
use bulkhead_test_support::etcd::{Cluster, Release};

use crate::setup::{codes, filled, harness};

#[test]
fn a_healthy_cluster_has_nothing_to_complain_about() {
    for release in Release::all().unwrap() {
        let findings = harness(&filled(&release)).check::<Etcd>("{}").unwrap();
        assert_eq!(codes(&findings), ["member-reached"], "{findings:?}");
        assert!(findings[0].message.contains(release.line), "{}", findings[0].message);
    }
}

#[test]
fn members_without_an_address_are_named() {
    let cluster = Cluster::builder(&Release::distro().unwrap()).members(3).start().unwrap();
    let findings = harness(&cluster).check::<Etcd>("{}").unwrap();
    let unnamed = findings.iter().find(|finding| finding.code == "members-not-named").unwrap();
    assert!(
        cluster
            .addresses()
            .iter()
            .all(|address| unnamed.hint.as_ref().unwrap().contains(address))
    );
}

#[test]
fn files_that_are_not_granted_and_a_missing_token_are_found_before_the_first_run() {
    let cluster = filled(&Release::debian().unwrap());
    let findings = harness(&cluster)
        .check::<Etcd>(r#"{"distribution":"k3s","files":["config/k3s.yaml"]}"#)
        .unwrap();
    assert_eq!(codes(&findings), ["member-reached", "file-not-there", "token-not-taken"]);
    assert!(findings[1].hint.as_ref().unwrap().contains("directory.files-config"));
}

#[test]
fn a_full_store_is_an_error_unless_it_is_accepted() {
    let release = Release::distro().unwrap();
    let cluster = Cluster::builder(&release)
        .argument("--quota-backend-bytes=1048576")
        .start()
        .unwrap();
    let value = "v".repeat(100_000);
    let filled = (0..20).any(|n| cluster.execute(["put", &format!("/{n}"), &value]).is_err());
    assert!(filled, "the quota is not kept");
    let severity = |config: &str| {
        let findings = harness(&cluster).check::<Etcd>(config).unwrap();
        findings.iter().find(|finding| finding.code == "alarm-no-space").unwrap().severity
    };
    assert_eq!(severity("{}"), Severity::Error);
    assert_eq!(severity(r#"{"accept":["no-space"]}"#), Severity::Warning);
    let error = harness(&cluster).backup::<Etcd>("{}").unwrap_err();
    crate::setup::assert_says(&error, "NOSPACE", "accept = [\"no-space\"]");
    harness(&cluster).backup::<Etcd>(r#"{"accept":["no-space"]}"#).unwrap();
}
