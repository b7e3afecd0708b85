//! A backup, judged by etcd's own tools: the snapshot's status, a server that starts from it, and every key in it.

use bulkhead_plugin_etcd::Etcd;
use bulkhead_sdk::{
    metadata::NodeType,
    source::BrowseRequest,
    testing::{Directory, Harness},
    types::Severity,
};
use bulkhead_test_support::{
    Scratch,
    etcd::{Cluster, Release},
};
use serde_json::Value;

use crate::setup::{codes, fact, filled, harness, keys, put, revision, verified};

/// Writes the stored snapshot where etcd's tools can read it.
fn written(harness: &Harness, scratch: &Scratch) -> std::path::PathBuf {
    scratch
        .private_file("snapshot.db", harness.content("snapshot.db").unwrap())
        .unwrap()
}

#[test]
fn a_snapshot_is_what_etcds_own_tools_say_it_is() {
    for release in Release::all().unwrap() {
        let cluster = filled(&release);
        let harness = harness(&cluster);
        let result = harness.backup::<Etcd>("{}").unwrap();
        assert!(codes(&result.findings).is_empty(), "{:?}", result.findings);
        let facts = &result.proof.facts;

        let scratch = Scratch::new().unwrap();
        let file = written(&harness, &scratch);
        let status: Value = serde_json::from_str(&release.snapshot_status(&file).unwrap()).unwrap();
        let hash = u32::from_str_radix(fact(facts, "hash"), 16).unwrap();
        assert_eq!(status["hash"].as_u64().unwrap(), u64::from(hash), "{}", release.line);
        for (name, field) in [("revision", "revision"), ("total-keys", "totalKey"), ("total-size", "totalSize")] {
            assert_eq!(status[field].to_string(), fact(facts, name), "{name} of {}", release.line);
        }
        assert_eq!(fact(facts, "revision"), revision(&cluster).to_string());
        assert!(fact(facts, "server-version").starts_with(release.line));

        let findings = verified(&harness);
        assert_eq!(codes(&findings), ["snapshot-verified", "hash-agrees"], "{findings:?}");

        let restored = Cluster::builder(&release).from_snapshot(&file).start().unwrap();
        assert_eq!(keys(&restored), keys(&cluster), "keys, values, revisions, versions and leases");
        assert_eq!(leases(&restored), leases(&cluster));
    }
}

/// Numbers and granted times of all leases.
fn leases(cluster: &Cluster) -> Vec<String> {
    let list = cluster.execute(["lease", "list"]).unwrap();
    let mut leases: Vec<String> = list
        .lines()
        .skip(1)
        .map(|lease| {
            let told: Value =
                serde_json::from_str(&cluster.execute(["lease", "timetolive", lease, "--write-out", "json"]).unwrap()).unwrap();
            format!("{lease} {}", told["granted-ttl"])
        })
        .collect();
    leases.sort();
    assert_eq!(leases.len(), 2);
    leases
}

#[test]
fn a_cluster_of_three_is_read_from_a_follower_and_comes_back_as_three() {
    for release in Release::all().unwrap() {
        let cluster = Cluster::builder(&release).members(3).start().unwrap();
        crate::setup::fill(&cluster);
        // The harness has one address to an endpoint; the black-box tests have all three.
        let harness = harness(&cluster);
        harness.backup::<Etcd>("{}").unwrap();
        assert_eq!(codes(&verified(&harness)), ["snapshot-verified", "hash-agrees"]);
        let scratch = Scratch::new().unwrap();
        let file = written(&harness, &scratch);
        let restored = Cluster::builder(&release).members(3).from_snapshot(&file).start().unwrap();
        assert_eq!(keys(&restored), keys(&cluster));
    }
}

#[test]
fn a_store_right_after_its_birth_is_backed_up_too() {
    for release in Release::all().unwrap() {
        let cluster = Cluster::builder(&release).start().unwrap();
        let harness = harness(&cluster);
        let result = harness.backup::<Etcd>("{}").unwrap();
        assert_eq!(fact(&result.proof.facts, "revision"), "0", "nothing was ever written");
        assert!(!verified(&harness).iter().any(|finding| finding.severity == Severity::Error));
    }
}

#[test]
fn a_snapshot_taken_under_load_agrees_with_the_member() {
    let release = Release::distro().unwrap();
    let cluster = filled(&release);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                put(&cluster, &format!("/busy/{}", number % 10), b"value", None);
                if number % 20 == 19 {
                    let compacted = cluster.execute(["compact", &(revision(&cluster) - 5).to_string()]);
                    compacted.unwrap();
                }
                number += 1;
            }
        });
        let harness = harness(&cluster);
        for _ in 0..5 {
            let result = harness.backup::<Etcd>("{}").unwrap();
            let findings = verified(&harness);
            assert!(!findings.iter().any(|finding| finding.severity == Severity::Error), "{findings:?}");
            assert!(codes(&result.findings).is_empty() || codes(&result.findings) == ["no-hash"]);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn live_keys_are_listed_in_order() {
    let cluster = filled(&Release::debian().unwrap());
    let harness = harness(&cluster);
    harness.backup::<Etcd>("{}").unwrap();
    let browse = |prefix: &str, after: Option<&str>| {
        let request = BrowseRequest {
            entry: b"snapshot.db".to_vec(),
            prefix: prefix.to_owned(),
            after: after.map(str::to_owned),
        };
        harness.browse::<Etcd>("{}", request).unwrap()
    };
    let items = browse("", None);
    assert_eq!(items.len(), keys(&cluster).len());
    assert!(items.is_sorted_by_key(|item| item.name.clone()));
    let leased = browse("/leased/", Some("/leased/a"));
    let names: Vec<&str> = leased.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["/leased/a/too", "/leased/b", "/leased/b/too"]);
    assert_ne!(fact(&leased[0].facts, "lease"), "0");
    let large = &browse("/large", None)[0];
    assert_eq!((large.size, fact(&large.facts, "version")), (Some(1_200_000), "1"));
}

#[test]
fn the_restored_file_comes_with_the_files_and_the_way_back() {
    let release = Release::distro().unwrap();
    let cluster = filled(&release);
    let server = Scratch::new().unwrap();
    server.private_file("token", "K10secret::server:abc").unwrap();
    std::fs::create_dir(server.join("tls")).unwrap();
    std::fs::write(server.join("tls/ca.crt"), "certificate").unwrap();
    std::os::unix::fs::symlink("ca.crt", server.join("tls/link")).unwrap();
    let config = r#"{"distribution":"k3s","files":["server/token","server/tls"]}"#;
    let harness = harness(&cluster).directory("files-server", Directory::at(server.path()).read_only());
    let result = harness.backup::<Etcd>(config).unwrap();
    assert!(codes(&result.findings).is_empty());
    let snapshot = harness.last().unwrap();
    assert_eq!(snapshot.entries[&b"files/server/token"[..]].content, b"K10secret::server:abc");
    assert_eq!(
        snapshot.entries[&b"files/server/tls/link"[..]].metadata.node_type,
        NodeType::Symlink(b"ca.crt".to_vec())
    );
    let runbook = String::from_utf8(snapshot.entries[&b"RUNBOOK.md"[..]].content.clone()).unwrap();
    assert!(runbook.contains("--cluster-reset-restore-path") && runbook.contains("`files/server/token`"));
    assert!(!runbook.contains("K10secret"), "no secret in the runbook");

    let target = Scratch::new().unwrap();
    let restoring = Harness::new().snapshot(snapshot).directory("target", Directory::at(target.path()));
    let result = restoring.restore::<Etcd>("{}", "{}").unwrap();
    assert_eq!(result.entries, 4);
    assert!(fact(&result.facts, "restore-command").starts_with("etcdutl snapshot restore"));
    release.snapshot_status(&target.join("snapshot.db")).unwrap();
    assert_eq!(std::fs::read(target.join("files/server/token")).unwrap(), b"K10secret::server:abc");
    let again = restoring.restore::<Etcd>("{}", "{}").unwrap_err();
    crate::setup::assert_says(&again, "is not empty", "empty folder");
}
