//! A backup, judged by etcd's own tools: the snapshot's status, a server that starts from it, and every key in it.

use bulkhead_plugin_etcd::{
    Etcd,
    bolt::{Database, Scanner},
};
use bulkhead_sdk::{
    Error, ErrorKind,
    digest::{Algorithm, digest},
    metadata::NodeType,
    source::{BackupResult, BrowseRequest},
    testing::{Directory, Harness},
    types::Severity,
};
use bulkhead_test_support::{
    Scratch,
    etcd::{Cluster, Release},
};
use serde_json::Value;

use crate::setup::{assert_says, codes, fact, filled, harness, keys, put, revision, verified};

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
fn a_cluster_of_three_comes_back_as_three() {
    for release in Release::all().unwrap() {
        let cluster = Cluster::builder(&release).members(3).start().unwrap();
        crate::setup::fill(&cluster);
        // The harness has one address to an endpoint; the black-box tests have all three, and read from a follower.
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
        let mut compared = 0;
        for _ in 0..5 {
            let result = harness.backup::<Etcd>("{}").unwrap();
            let findings = verified(&harness);
            assert!(!findings.iter().any(|finding| finding.severity == Severity::Error), "{findings:?}");
            assert!(codes(&result.findings).is_empty() || codes(&result.findings) == ["no-hash"]);
            compared += usize::from(codes(&findings).contains(&"hash-agrees"));
        }
        assert!(compared > 0, "no hash was compared in any of the runs");
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

/// What is taken of a folder `server` with these files, each `name -> content`, and links, each `name -> target`.
fn k3s_files(cluster: &Cluster, server: &Scratch, files: &str) -> (Harness, Result<BackupResult, Error>) {
    let config = format!(r#"{{"distribution":"k3s","skip-hash":true,"files":{files}}}"#);
    let harness = harness(cluster).directory("files-server", Directory::at(server.path()).read_only());
    let result = harness.backup::<Etcd>(&config);
    (harness, result)
}

#[test]
fn a_link_that_the_config_names_is_stored_with_its_content() {
    let cluster = Cluster::builder(&Release::debian().unwrap()).start().unwrap();
    let server = Scratch::new().unwrap();
    server.private_file("token", "K10secret::server:abc").unwrap();
    std::fs::create_dir(server.join("tls")).unwrap();
    // As K3s links it, with the whole path, and through a further link.
    std::os::unix::fs::symlink(server.join("token"), server.join("tls/current")).unwrap();
    std::os::unix::fs::symlink("tls/current", server.join("node-token")).unwrap();
    let (harness, result) = k3s_files(&cluster, &server, r#"["server/node-token"]"#);
    assert!(codes(&result.unwrap().findings).is_empty());
    let snapshot = harness.last().unwrap();
    let stored = &snapshot.entries[&b"files/server/node-token"[..]];
    assert_eq!(
        (&stored.metadata.node_type, &stored.content[..]),
        (&NodeType::File, &b"K10secret::server:abc"[..])
    );
    let runbook = String::from_utf8(snapshot.entries[&b"RUNBOOK.md"[..]].content.clone()).unwrap();
    assert!(runbook.contains("$(cat files/server/node-token)"), "{runbook}");
}

#[test]
fn a_named_link_that_leads_out_of_its_grant_or_nowhere_fails_the_run() {
    let cluster = Cluster::builder(&Release::debian().unwrap()).start().unwrap();
    let server = Scratch::new().unwrap();
    let link = |target: &str| {
        let _ = std::fs::remove_file(server.join("node-token"));
        std::os::unix::fs::symlink(target, server.join("node-token")).unwrap();
        let (harness, result) = k3s_files(&cluster, &server, r#"["server/node-token"]"#);
        assert!(harness.last().is_none());
        result.unwrap_err()
    };
    let error = link("/etc/rancher/secret/token");
    assert_eq!((error.kind, error.setting.as_deref()), (ErrorKind::NotGranted, Some("files")));
    assert_says(&error, "/etc/rancher/secret/token", "path = \"/etc/rancher/secret\"");
    assert_says(&link("../token"), "../token", "grant the folder");
    let error = link("gone");
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("leads nowhere"), "{error}");
    assert_says(&link("node-token"), "symbolic links", "name the file itself");
}

#[test]
fn only_a_server_token_with_content_counts_as_one() {
    let cluster = Cluster::builder(&Release::debian().unwrap()).start().unwrap();
    let server = Scratch::new().unwrap();
    server.private_file("token", "").unwrap();
    server.private_file("agent-token", "for agents only").unwrap();
    std::fs::create_dir(server.join("server")).unwrap();
    std::os::unix::fs::symlink("../token", server.join("server/node-token")).unwrap();
    let found = |files: &str| {
        let (harness, result) = k3s_files(&cluster, &server, files);
        let findings = result.unwrap().findings;
        let config = format!(r#"{{"distribution":"k3s","files":{files}}}"#);
        let checked = harness.check::<Etcd>(&config).unwrap();
        let told = |code: &&str| code.starts_with("link") || code.starts_with("token");
        let checked: Vec<String> = codes(&checked).into_iter().filter(told).map(str::to_owned).collect();
        assert_eq!(checked, codes(&findings), "`check` says what a run says");
        findings
    };
    for nothing in [
        r#"["server/token"]"#,
        r#"["server/agent-token"]"#,
        r#"["server/server/node-token"]"#,
    ] {
        assert_eq!(codes(&found(nothing)), ["token-not-taken"], "{nothing}");
    }
    // Below a folder a link is a link; its target is not in the snapshot.
    let findings = found(r#"["server/server"]"#);
    assert_eq!(codes(&findings), ["link-leads-out", "token-not-taken"]);
    assert!(findings[0].message.contains("files/server/server/node-token"), "{:?}", findings[0]);
    std::fs::write(server.join("token"), "K10secret").unwrap();
    assert_eq!(codes(&found(r#"["server/server"]"#)), ["link-leads-out", "token-not-taken"]);
    assert!(codes(&found(r#"["server/server","server/token"]"#)).is_empty());
}

/// FNV-1a, as bbolt sums up a meta page.
fn fnv1a(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// `store` with unused pages behind it, of which the first says that it has more overflow than the scanner puts together.
fn with_a_page_too_large(mut store: Vec<u8>) -> Vec<u8> {
    const OVERFLOW: u32 = 17_000;
    let page = u64::try_from(store.len() / 4096).unwrap();
    let pages = page + u64::from(OVERFLOW) + 1;
    for meta in [16, 4096 + 16] {
        store[meta + 40..meta + 48].copy_from_slice(&pages.to_le_bytes());
        let sum = fnv1a(&store[meta..meta + 56]);
        store[meta + 56..meta + 64].copy_from_slice(&sum.to_le_bytes());
    }
    store.extend_from_slice(&page.to_le_bytes());
    store.extend_from_slice(&[2, 0, 0, 0]);
    store.extend_from_slice(&OVERFLOW.to_le_bytes());
    store.resize(usize::try_from(pages).unwrap() * 4096, 0);
    store
}

#[test]
fn a_store_beyond_what_the_scanner_remembers_is_verified_page_by_page() {
    let cluster = filled(&Release::debian().unwrap());
    let harness = harness(&cluster);
    harness.backup::<Etcd>("{}").unwrap();
    let mut intact = harness.content("snapshot.db").unwrap();
    intact.truncate(intact.len() - 32);
    // Both ways of reading a store come to the same.
    harness.run(|| {
        let mut scanner = Scanner::default();
        scanner.feed(&intact).unwrap();
        let (_, summary) = scanner.finish().unwrap();
        assert_eq!(Database::open(&intact[..]).unwrap().summarize(), Ok(summary.unwrap()));
    });
    let large = with_a_page_too_large(intact);
    let store = |content: &[u8]| {
        let trailer = harness.run(|| digest(Algorithm::Sha256, content));
        harness.tamper(|snapshot| {
            snapshot.entries.get_mut(&b"snapshot.db"[..]).unwrap().content = [content, &trailer].concat();
            let unknown = ["sha256", "total-size"];
            snapshot.proof.facts.retain(|fact| !unknown.contains(&&fact.name[..]));
        });
        verified(&harness)
    };
    let findings = store(&large);
    assert_eq!(codes(&findings), ["snapshot-verified", "hash-agrees"], "{findings:?}");
    // The root's only page: of what leads to it, the meta pages are right.
    let root = usize::try_from(u64::from_le_bytes(large[32..40].try_into().unwrap())).unwrap() * 4096;
    let mut damaged = large;
    damaged[root + 24] ^= 0x40;
    assert_eq!(codes(&store(&damaged)), ["snapshot-damaged"]);
}
