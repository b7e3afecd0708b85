//! What goes wrong with real servers: typed errors, and no snapshot.

use bulkhead_plugin_etcd::Etcd;
use bulkhead_sdk::{
    ErrorKind,
    testing::{Endpoint, Harness},
};
use bulkhead_test_support::etcd::{Cluster, Release};

use crate::setup::{assert_says, codes, filled, harness, verified};

#[test]
fn passwords_are_asked_for_checked_and_never_told() {
    for release in Release::all().unwrap() {
        let mut cluster = filled(&release);
        cluster.enable_authentication("right password").unwrap();
        cluster.execute(["user", "add", "reader:reader password"]).unwrap();
        let granted = |password: &str| harness(&cluster).secret("password", password);

        let error = harness(&cluster).backup::<Etcd>("{}").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unauthenticated, "{error}");
        assert_says(&error, "user name is empty", "set `user`");

        let error = harness(&cluster).backup::<Etcd>(r#"{"user":"root"}"#).unwrap_err();
        assert_says(&error, "no password was granted", "reveal = true");

        let wrong = granted("wrong password");
        let error = wrong.backup::<Etcd>(r#"{"user":"root"}"#).unwrap_err();
        assert_eq!((error.kind, error.retryable), (ErrorKind::Unauthenticated, false));
        assert_says(&error, "logging in", "secret.password");
        assert!(!format!("{error:?}").contains("wrong password"));
        assert!(wrong.last().is_none());

        let error = granted("reader password").backup::<Etcd>(r#"{"user":"reader"}"#).unwrap_err();
        assert_eq!(error.kind, ErrorKind::PermissionDenied, "{error}");
        assert_says(&error, "permission denied", "grant-role");

        let right = granted("right password");
        right.backup::<Etcd>(r#"{"user":"root"}"#).unwrap();
        assert_eq!(codes(&verified(&right)), ["snapshot-verified", "hash-agrees"]);
        assert_eq!(codes(&right.check::<Etcd>(r#"{"user":"root"}"#).unwrap()), ["member-reached"]);
    }
}

#[test]
fn a_user_where_nobody_asks_for_one_is_told() {
    let cluster = filled(&Release::debian().unwrap());
    let error = harness(&cluster)
        .secret("password", "x")
        .backup::<Etcd>(r#"{"user":"root"}"#)
        .unwrap_err();
    assert_says(&error, "authentication is not enabled", "take `user` out");
}

#[test]
fn a_cluster_that_lost_its_quorum_is_not_believed() {
    for release in Release::all().unwrap() {
        let cluster = Cluster::builder(&release).members(3).start().unwrap();
        crate::setup::fill(&cluster);
        cluster.kill_member(1).unwrap();
        cluster.kill_member(2).unwrap();
        // The member that is left finds out after an election's time.
        let begun = std::time::Instant::now();
        while has_leader(&cluster) {
            assert!(begun.elapsed().as_secs() < 60, "the member still knows a leader");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let harness = harness(&cluster);
        let error = harness.backup::<Etcd>("{}").unwrap_err();
        assert_eq!(
            (error.kind, error.retryable, error.setting.as_deref()),
            (ErrorKind::Server, true, Some("accept"))
        );
        assert_says(&error, "no leader", "quorum");
        assert!(harness.snapshots().is_empty());
        // What this member has can be saved by whoever asks for it.
        let result = harness.backup::<Etcd>(r#"{"accept":["no-leader"],"skip-hash":true}"#).unwrap();
        assert_eq!(codes(&result.findings), ["no-leader"]);
        assert_eq!(harness.snapshots().len(), 1);
    }
}

fn has_leader(cluster: &Cluster) -> bool {
    let status = cluster.execute_on(0, ["endpoint", "status", "--write-out", "json"]).unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    status[0]["Status"]["leader"].as_u64().unwrap_or(0) != 0
}

#[test]
fn a_cluster_that_comes_back_in_a_moment_is_waited_for() {
    let cluster = filled(&Release::debian().unwrap());
    let harness = harness(&cluster);
    cluster.stop_member(0).unwrap();
    let error = harness.backup::<Etcd>(r#"{"attempts":1}"#).unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Unreachable, true));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !harness.logs().iter().any(|record| record.message.contains("trying again")) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            cluster.start_member(0).unwrap();
        });
        harness.backup::<Etcd>(r#"{"attempts":5}"#).unwrap();
    });
}

#[test]
fn a_server_that_is_not_there_or_no_etcd_is_told() {
    let nobody = Harness::new().endpoint("server", Endpoint::unreachable());
    assert_eq!(nobody.backup::<Etcd>("{}").unwrap_err().kind, ErrorKind::Unreachable);
    let other = Endpoint::scripted(|mut socket| {
        use std::io::{Read as _, Write as _};
        let mut request = [0; 1024];
        let _ = socket.read(&mut request);
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    let error = Harness::new().endpoint("server", other).backup::<Etcd>("{}").unwrap_err();
    assert_says(&error, "HTTP/2", "2379");
}

#[test]
fn a_stored_snapshot_that_was_changed_is_found_out() {
    let cluster = filled(&Release::distro().unwrap());
    let harness = harness(&cluster);
    harness.backup::<Etcd>("{}").unwrap();
    let intact = harness.last().unwrap();
    let length = intact.entries[&b"snapshot.db"[..]].content.len();
    for place in [0, 4096 + 20, length / 3, length / 2, length - 40, length - 1] {
        harness.tamper(|snapshot| {
            *snapshot = intact.clone();
            snapshot.entries.get_mut(&b"snapshot.db"[..]).unwrap().content[place] ^= 1;
        });
        assert!(codes(&verified(&harness)).contains(&"snapshot-damaged"), "byte {place}");
    }
    for cut in [0, 31, 512, length - 1, length - 512] {
        harness.tamper(|snapshot| {
            *snapshot = intact.clone();
            snapshot.entries.get_mut(&b"snapshot.db"[..]).unwrap().content.truncate(cut);
        });
        assert!(codes(&verified(&harness)).contains(&"snapshot-damaged"), "cut at {cut}");
    }
    harness.tamper(|snapshot| {
        *snapshot = intact.clone();
        let fact = snapshot.proof.facts.iter_mut().find(|fact| fact.name == "hash-kv").unwrap();
        fact.value = "1".to_owned();
    });
    assert!(codes(&verified(&harness)).contains(&"hash-differs"));
}
