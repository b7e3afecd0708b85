//! Addresses that lead elsewhere: Sentinels that are behind, and a cluster, played, with two nodes behind one address, which is what load balancers and
//! addresses that are used anew make.

use std::{
    io::{BufReader, Write},
    os::unix::net::UnixStream,
    sync::atomic::{AtomicUsize, Ordering},
};

use bulkhead_sdk::{
    Error, ErrorKind,
    testing::{Endpoint, Harness},
};
use bulkhead_test_support::redis::{Sentinel, Server};

use crate::{
    failures::{rdb, sized},
    setup::{Operations, assert_says, codes, command, fact, over_tcp},
};

/// A connection reaches the node `aaaa`, or `bbbb`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    A,
    B,
}

use Node::{A, B};

fn nodes(myself: Node) -> String {
    let flag = |node| if node == myself { "myself," } else { "" };
    format!(
        "aaaa scripted.test:1@2 {}master - 0 0 1 connected 0-8191\nbbbb scripted.test:1@2 {}master - 0 0 2 connected 8192-16383\n",
        flag(A),
        flag(B)
    )
}

/// Where the connections lead, one after the other, and what a node says that its process is.
fn played(reached: &'static [Node], run_id: fn(Node) -> &'static str) -> Harness {
    let connections = AtomicUsize::new(0);
    Harness::new().endpoint(
        "server",
        Endpoint::scripted(move |mut client: UnixStream| {
            let node = reached[connections.fetch_add(1, Ordering::SeqCst).min(reached.len() - 1)];
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len()).into_bytes();
            while let Some(words) = command(&mut reader) {
                let reply = match words[0].as_slice() {
                    b"PING" => b"+PONG\r\n".to_vec(),
                    b"INFO" => bulk(&format!(
                        "redis_version:7.0.15\r\nrole:master\r\ncluster_enabled:1\r\n{}master_repl_offset:14\r\ndb0:keys=1,expires=0\r\n",
                        run_id(node)
                    )),
                    b"CLUSTER" => bulk(&nodes(node)),
                    b"REPLCONF" => b"+OK\r\n".to_vec(),
                    b"PSYNC" => sized(&rdb()),
                    _ => b"-NOPERM this user has no permissions to run that command\r\n".to_vec(),
                };
                if client.write_all(&reply).is_err() {
                    return;
                }
            }
        }),
    )
}

fn of_its_own(node: Node) -> &'static str {
    if node == A { "run_id:one\r\n" } else { "run_id:two\r\n" }
}

#[track_caller]
fn fails(harness: &Harness) -> Error {
    let error = harness.backup_with("{}").unwrap_err();
    assert!(harness.last().is_none(), "there is a snapshot");
    assert_eq!((error.kind, error.retryable), (ErrorKind::Conflict, true), "{error}");
    error
}

#[test]
fn each_shard_is_read_of_its_own_node() {
    // The seed; then for each shard one to ask and one to read.
    let result = played(&[A, A, A, B, B], of_its_own).backup_with("{}").unwrap();
    assert_eq!(fact(&result.proof.facts, "keys"), "2");

    let error = fails(&played(&[A], of_its_own));
    assert_says(
        &error,
        "should be the node bbbb of the shard bbbb, and is the master aaaa",
        "load balancers",
    );
    let error = fails(&played(&[A, A, B], of_its_own));
    assert_says(&error, "reached another server", "load balancer");
    let error = fails(&played(&[A, A, B], |_| ""));
    assert_says(&error, "should be the node aaaa", "load balancers");
    let error = fails(&played(&[A, A, A, B, B], |_| "run_id:one\r\n"));
    assert_says(&error, "was read as another shard already", "CLUSTER NODES");
}

#[test]
fn a_check_tells_that_a_shard_is_another_one() {
    let findings = played(&[A], of_its_own).check_with("{}").unwrap();
    assert!(codes(&findings).contains(&"shard-not-fit"), "{findings:?}");
}

#[test]
fn what_a_sentinel_says_is_compared_with_what_the_server_says() {
    let master = Server::start_default().unwrap();
    master.call(&["SET", "a", "b"]).unwrap();
    let replica = Server::builder()
        .setting("replicaof", format!("127.0.0.1 {}", master.port()))
        .start()
        .unwrap();
    let asking = |sentinel: &Sentinel, server: &Server| {
        over_tcp(server)
            .endpoint("sentinel", Endpoint::tcp(sentinel.address()))
            .backup_with(r#"{"sentinel":{"master":"cache"}}"#)
    };
    let sentinel = Sentinel::watch(&master, "cache", 1, None).unwrap();
    let result = asking(&sentinel, &master).unwrap();
    assert_eq!(fact(&result.proof.facts, "server-role"), "master");
    // One that takes the replica for the master.
    let stale = Sentinel::watch(&replica, "cache", 0, None).unwrap();
    let error = asking(&stale, &replica).unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Conflict, true), "{error}");
    assert_says(&error, "and the server says that it is a replica", "SENTINEL CKQUORUM");
}
