//! Restores into a cluster whose slots move meanwhile, played: real ones do not move on demand.

use std::{
    collections::HashMap,
    io::{BufReader, Write},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
};

use bulkhead_plugin_redis::Redis;
use bulkhead_sdk::{
    Error, ErrorKind,
    testing::{Endpoint, Harness, Snapshot},
};
use bulkhead_test_support::redis::Server;

use crate::setup::{Operations, assert_says, command, over_tcp};

const NODES: &str = "aaaa scripted.test:1@2 myself,master - 0 0 1 connected 0-16383\n";

/// What the node answers to a `RESTORE` of this key, the how manieth it is, and whether `ASKING` came before it; `None` takes it.
type Answer = fn(key: &str, before: usize, asking: bool) -> Option<&'static str>;

/// The keys that a cluster of one node, which sends keys elsewhere as `answer` says, has taken.
fn restored(snapshot: &Snapshot, answer: Answer) -> Result<Vec<String>, Error> {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let attempts = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
    let keys = Arc::clone(&taken);
    let endpoint = Endpoint::scripted(move |client| serve(client, answer, &attempts, &keys));
    let harness = Harness::new().endpoint("server", endpoint).snapshot(snapshot.clone());
    harness.restore::<Redis>("{}", "{}")?;
    let mut keys = taken.lock().unwrap().clone();
    keys.sort();
    Ok(keys)
}

fn serve(mut client: UnixStream, answer: Answer, attempts: &Mutex<HashMap<String, usize>>, taken: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut asking = false;
    while let Some(words) = command(&mut reader) {
        let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
        let reply = match words[0].as_slice() {
            b"PING" => "+PONG\r\n".to_owned(),
            b"INFO" => bulk("redis_version:7.0.15\r\nrole:master\r\ncluster_enabled:1\r\n"),
            b"CLUSTER" => bulk(NODES),
            b"RESTORE" => {
                let key = String::from_utf8_lossy(&words[1]).into_owned();
                let mut attempts = attempts.lock().unwrap();
                let before = attempts.entry(key.clone()).or_default();
                let reply = answer(&key, *before, asking);
                *before += 1;
                if reply.is_none() {
                    taken.lock().unwrap().push(key);
                }
                reply.unwrap_or("+OK\r\n").to_owned()
            }
            b"ASKING" => "+OK\r\n".to_owned(),
            _ => "-NOPERM this user has no permissions to run that command\r\n".to_owned(),
        };
        asking = words[0] == b"ASKING";
        if client.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

/// Small values, and one that is sent as it is read.
fn snapshot() -> Snapshot {
    let server = Server::start_default().unwrap();
    let mut client = server.client().unwrap();
    client.call(&["CONFIG", "SET", "rdbcompression", "no"]).unwrap();
    for key in ["asked", "moved", "steady"] {
        client.call(&["SET", key, "v"]).unwrap();
    }
    client.call(&[&b"SET"[..], b"large", &vec![b'x'; 5 << 20]]).unwrap();
    let harness = over_tcp(&server);
    harness.backup_with("{}").unwrap();
    harness.last().unwrap()
}

#[test]
fn keys_follow_their_slots() {
    let keys = restored(&snapshot(), |key, before, asking| match (key, before) {
        // Without a host: another port of the same one.
        ("moved", 0) => Some("-MOVED 7 :1\r\n"),
        ("asked" | "large", 0) => Some("-ASK 7 scripted.test:1\r\n"),
        // Without ASKING a node that takes a slot in sends its keys back.
        ("asked" | "large", _) if !asking => Some("-MOVED 7 scripted.test:1\r\n"),
        _ => None,
    });
    assert_eq!(keys.unwrap(), ["asked", "large", "moved", "steady"]);
}

#[test]
fn a_cluster_that_sends_a_key_from_node_to_node() {
    for wandering in ["moved", "large"] {
        let answer: Answer = match wandering {
            "moved" => |key, _, _| (key == "moved").then_some("-MOVED 7 scripted.test:1\r\n"),
            _ => |key, _, _| (key == "large").then_some("-MOVED 7 scripted.test:1\r\n"),
        };
        let error = restored(&snapshot(), answer).unwrap_err();
        assert_eq!((error.kind, error.retryable), (ErrorKind::Conflict, true), "{error}");
        assert_says(&error, "from node to node", "cluster_state:ok");
    }
}
