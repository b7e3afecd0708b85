//! What else happens while a backup runs, and what a server has beside its keys.

use std::sync::atomic::{AtomicBool, Ordering};

use bulkhead_sdk::ErrorKind;
use bulkhead_test_support::redis::{Client, Server, cluster};

use crate::setup::{Operations, assert_same, assert_says, content, fact, filled, into_server, over_tcp};

/// A figure of `INFO`.
fn figure(client: &mut Client, section: &str, name: &str) -> u64 {
    let text = client.call(&["INFO", section]).unwrap().text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().parse().unwrap()
}

/// A server that takes half a minute to send its dataset, in this way.
fn slow(diskless: &str) -> Server {
    let server = Server::builder().debug().setting("repl-diskless-sync", diskless).start().unwrap();
    server.call(&["DEBUG", "POPULATE", "30000", "key", "500"]).unwrap();
    server.call(&["CONFIG", "SET", "rdb-key-save-delay", "1000"]).unwrap();
    server
}

#[test]
fn a_server_that_cuts_the_transfer_off() {
    // As it does with a replica whose output buffer is full.
    let server = slow("yes");
    let harness = over_tcp(&server);
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            let sending = |client: &mut Client| figure(client, "stats", "total_net_repl_output_bytes") > 20_000;
            server.wait_until("the transfer did not begin", sending).unwrap();
            server.call(&["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
        });
        harness.backup_with("{}").unwrap_err()
    });
    assert_eq!((error.kind, error.retryable), (ErrorKind::ConnectionLost, true));
    assert_says(&error, "stopped sending its dataset after", "client-output-buffer-limit replica");
    assert!(harness.last().is_none(), "there is a snapshot");
}

#[test]
fn a_server_that_cuts_the_wait_for_its_file() {
    let server = slow("no");
    let harness = over_tcp(&server);
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            let saving = |client: &mut Client| figure(client, "persistence", "rdb_bgsave_in_progress") == 1;
            server.wait_until("the save did not begin", saving).unwrap();
            server.call(&["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
        });
        harness.backup_with("{}").unwrap_err()
    });
    assert_eq!((error.kind, error.retryable), (ErrorKind::ConnectionLost, true));
    assert!(harness.last().is_none(), "there is a snapshot");
}

#[test]
fn a_server_that_is_loading() {
    let server = Server::builder()
        .debug()
        .setting("loading-process-events-interval-bytes", 1024)
        .start()
        .unwrap();
    server.call(&["DEBUG", "POPULATE", "30000", "key", "500"]).unwrap();
    server.call(&["CONFIG", "SET", "key-load-delay", "1000"]).unwrap();
    let mut loader = server.client().unwrap();
    loader.send(&["DEBUG", "RELOAD"]).unwrap();
    let loading = |client: &mut Client| client.ask(&["PING"]).unwrap().text().starts_with("LOADING");
    server.wait_until("it did not begin to load", loading).unwrap();
    let error = over_tcp(&server).backup_with("{}").unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Unreachable, true), "{error}");
    assert_says(&error, "is loading its dataset", "loading:0");
    let findings = over_tcp(&server).check_with("{}").unwrap();
    assert!(findings.iter().any(|finding| finding.code == "server-loading"), "{findings:?}");
}

#[test]
fn keys_that_come_and_go_while_they_are_read() {
    let server = filled(Server::builder());
    server.call(&["DEBUG", "POPULATE", "5000", "key", "50"]).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = server.client().unwrap();
            let mut number = 0_u64;
            while !over.load(Ordering::Relaxed) {
                let key = format!("new:{}", number % 1000);
                let command: &[&str] = if number % 2000 < 1000 {
                    &["SET", &key, "x"]
                } else {
                    &["DEL", &key]
                };
                client.call(command).unwrap();
                number += 1;
            }
            number
        });
        for mode in ["replica", "scan", "replica", "scan"] {
            let result = over_tcp(&server).backup_with(&format!(r#"{{"mode":"{mode}"}}"#));
            let result = result.inspect_err(|_| over.store(true, Ordering::Relaxed)).unwrap();
            assert!(result.proof.complete);
            let keys: u64 = fact(&result.proof.facts, "keys-db0").parse().unwrap();
            assert!(keys >= 5000, "{keys}");
        }
        over.store(true, Ordering::Relaxed);
        assert!(writer.join().unwrap() > 0);
    });
}

#[test]
fn keys_that_have_expired_unseen() {
    let server = Server::builder().debug().start().unwrap();
    server.call(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]).unwrap();
    server.call(&["SET", "kept", "v"]).unwrap();
    for number in 0..10 {
        server.call(&["SET", &format!("gone:{number}"), "v", "PX", "1"]).unwrap();
    }
    let mut client = server.client().unwrap();
    let mut now = || client.call(&["TIME"]).unwrap().list()[0].text().parse::<u64>().unwrap();
    let begin = now();
    while now() < begin + 1 {
        std::thread::yield_now();
    }
    let harness = over_tcp(&server);
    let result = harness.backup_with(r#"{"mode":"replica"}"#).unwrap();
    assert_eq!(fact(&result.proof.facts, "counts-compared"), "exact");
    assert_eq!(fact(&result.proof.facts, "keys"), "11");
    let target = Server::start_default().unwrap();
    let restored = into_server(&harness.last().unwrap(), &target, "{}").unwrap();
    assert_eq!(fact(&restored.facts, "keys-expired"), "10");
    assert_eq!(target.call(&["DBSIZE"]).unwrap(), "1");

    // SCAN removes them as it meets them, and the server counts that.
    let result = over_tcp(&server).backup_with(r#"{"mode":"scan"}"#).unwrap();
    assert_eq!(fact(&result.proof.facts, "keys"), "1");
}

#[test]
fn how_often_and_how_long_ago_keys_were_used() {
    let builder = |policy: &str| {
        Server::builder()
            .setting("maxmemory-policy", policy)
            .setting("lfu-decay-time", 0)
            .start()
            .unwrap()
    };
    let ask = |server: &Server, what: &str| server.call(&["OBJECT", what, "key"]).unwrap().parse::<u64>().unwrap();

    let (server, target) = (builder("allkeys-lfu"), builder("allkeys-lfu"));
    server.call(&["SET", "key", "v"]).unwrap();
    let mut client = server.client().unwrap();
    while ask(&server, "FREQ") < 12 {
        client.call(&["GET", "key"]).unwrap();
    }
    let harness = over_tcp(&server);
    harness.backup_with("{}").unwrap();
    into_server(&harness.last().unwrap(), &target, "{}").unwrap();
    assert_eq!(ask(&target, "FREQ"), ask(&server, "FREQ"));

    let (server, target) = (builder("allkeys-lru"), builder("allkeys-lru"));
    server.call(&["SET", "other", "v"]).unwrap();
    let mut client = server.client().unwrap();
    let payload = client.call(&["DUMP", "other"]).unwrap().bytes();
    client
        .call(&[&b"RESTORE"[..], b"key", b"0", &payload, b"IDLETIME", b"5000"])
        .unwrap();
    let harness = over_tcp(&server);
    harness.backup_with("{}").unwrap();
    into_server(&harness.last().unwrap(), &target, "{}").unwrap();
    assert!((5000..6000).contains(&ask(&target, "IDLETIME")));
}

#[test]
fn a_cluster_whose_keys_are_read_one_by_one() {
    let servers = cluster(1, Server::builder).unwrap();
    let mut client = servers[0].client().unwrap();
    for number in 0..500 {
        client.call(&["SET", &format!("key:{number}"), "v"]).unwrap();
    }
    client.call(&["SET", "last", "one", "PX", "86400000"]).unwrap();
    let harness = over_tcp(&servers[0]);
    let result = harness.backup_with(r#"{"mode":"scan"}"#).unwrap();
    assert_eq!(fact(&result.proof.facts, "keys"), "501");
    let target = Server::start_default().unwrap();
    into_server(&harness.last().unwrap(), &target, "{}").unwrap();
    assert_same(&content(&servers[0]), &content(&target));
}
