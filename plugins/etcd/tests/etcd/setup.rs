//! What the tests share: clusters with something in them, harnesses, and etcd's own word for what a cluster holds.

use std::{io::Write as _, process::Stdio};

use bulkhead_plugin_etcd::Etcd;
use bulkhead_sdk::{
    Error,
    testing::{Endpoint, Harness},
    types::{Fact, Finding},
};
use bulkhead_test_support::etcd::{Cluster, Release};
use serde_json::Value;

/// Grants one member.
pub(crate) fn harness(cluster: &Cluster) -> Harness {
    Harness::new().endpoint("server", Endpoint::tcp(cluster.address(0)))
}

/// A cluster of one with [`fill`]'s content.
pub(crate) fn filled(release: &Release) -> Cluster {
    let cluster = Cluster::builder(release).start().unwrap();
    fill(&cluster);
    cluster
}

/// Enough of everything: many keys in transactions, histories, deletions, binary and large values, leases, and a compaction in the middle.
pub(crate) fn fill(cluster: &Cluster) {
    transact(
        cluster,
        (0..2000).map(|n| format!("put /registry/pods/{n:05} \"{}\"", "x".repeat(n % 300))),
    );
    transact(cluster, (0..300).map(|n| format!("put /registry/pods/{:05} again-{n}", n * 3)));
    cluster.execute(["del", "/registry/pods/0001", "--prefix"]).unwrap();
    let revision = revision(cluster);
    cluster.execute(["compact", &(revision - 3).to_string()]).unwrap();
    transact(
        cluster,
        (0..50).map(|n| format!("put /registry/pods/{:05} \"after the compaction\"", n * 7)),
    );
    cluster.execute(["del", "/registry/pods/00021"]).unwrap();
    put(cluster, "/binary", &(0..=255_u8).cycle().take(5000).collect::<Vec<_>>(), None);
    put(cluster, "/large", &vec![b'L'; 1_200_000], None);
    cluster.execute(["put", "/empty", ""]).unwrap();
    for (key, ttl) in [("/leased/a", "3600"), ("/leased/b", "7200")] {
        let granted = cluster.execute(["lease", "grant", ttl]).unwrap();
        let lease = granted.split_whitespace().nth(1).unwrap();
        put(cluster, key, b"leased", Some(lease));
        put(cluster, &format!("{key}/too"), b"leased", Some(lease));
    }
}

/// Commands in transactions of 100.
fn transact(cluster: &Cluster, commands: impl Iterator<Item = String>) {
    let commands: Vec<String> = commands.collect();
    for part in commands.chunks(100) {
        // An empty comparison, then what to do, then what else.
        feed(cluster, &["txn"], format!("\n{}\n\n\n", part.join("\n")).as_bytes());
    }
}

/// Writes a key whose value is given on standard input.
pub(crate) fn put(cluster: &Cluster, key: &str, value: &[u8], lease: Option<&str>) {
    let lease = lease.map(|lease| format!("--lease={lease}"));
    let arguments: Vec<&str> = ["put", key].into_iter().chain(lease.as_deref()).collect();
    feed(cluster, &arguments, value);
}

fn feed(cluster: &Cluster, arguments: &[&str], input: &[u8]) {
    let mut child = cluster
        .client(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The cluster's revision.
pub(crate) fn revision(cluster: &Cluster) -> i64 {
    let answer: Value = serde_json::from_str(&cluster.execute(["get", "x", "--write-out", "json"]).unwrap()).unwrap();
    answer["header"]["revision"].as_i64().unwrap()
}

/// Every key with all that etcd says of it, in order.
pub(crate) fn keys(cluster: &Cluster) -> Vec<Value> {
    let mut answer: Value = serde_json::from_str(&cluster.dump().unwrap()).unwrap();
    match answer["kvs"].take() {
        Value::Array(keys) => keys,
        _ => Vec::new(),
    }
}

/// Keys and values, without revisions and leases.
pub(crate) fn values(cluster: &Cluster) -> Vec<(Value, Value)> {
    keys(cluster).iter().map(|key| (key["key"].clone(), key["value"].clone())).collect()
}

/// The value of a fact.
pub(crate) fn fact<'a>(facts: &'a [Fact], name: &str) -> &'a str {
    let fact = facts.iter().find(|fact| fact.name == name);
    &fact.unwrap_or_else(|| panic!("no fact {name} in {facts:?}")).value
}

/// The codes of findings.
pub(crate) fn codes(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.code.as_str()).collect()
}

/// Whether an error, with its causes, and its hint have these words.
pub(crate) fn assert_says(error: &Error, message: &str, hint: &str) {
    assert!(error.to_string().contains(message), "`{message}` is not in: {error}");
    let found = error.hint.as_deref().unwrap_or("no hint");
    assert!(found.contains(hint), "`{hint}` is not in: {found} ({error})");
}

/// The plugin's findings about the last snapshot.
pub(crate) fn verified(harness: &Harness) -> Vec<Finding> {
    harness.verify::<Etcd>("{}").unwrap()
}
