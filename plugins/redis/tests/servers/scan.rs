//! Reading key by key a server that is played: what real ones do when their tables grow, and what they should not do.

use std::{
    io::{BufReader, Write},
    os::unix::net::UnixStream,
    sync::Arc,
};

use bulkhead_rdb::Crc64;
use bulkhead_sdk::{
    ErrorKind,
    testing::{Endpoint, Harness},
};
use bulkhead_test_support::{
    Scratch,
    redis::{Program, Server},
};

use crate::setup::{Operations, assert_says, command, fact, into_folder};

const INFO: &str =
    "redis_version:7.0.15\r\nrole:master\r\nrdb_changes_since_last_save:0\r\nrdb_last_save_time:1\r\nexpired_keys:0\r\nevicted_keys:0\r\n";

/// What DUMP answers for a string.
fn payload(value: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, u8::try_from(value.len()).unwrap()];
    payload.extend_from_slice(value);
    payload.extend_from_slice(&10_u16.to_le_bytes());
    let mut crc = Crc64::default();
    crc.update(&payload);
    payload.extend_from_slice(&crc.value().to_le_bytes());
    payload
}

/// A server that lists these keys, page by page, and says that it has so many; the value of each is `payload`'s.
fn played(pages: &'static [&'static [&'static str]], keys: usize, dump: fn(&str) -> Option<Vec<u8>>) -> Harness {
    let info = Arc::new(format!("{INFO}db0:keys={keys},expires=0\r\n"));
    Harness::new().endpoint(
        "server",
        Endpoint::scripted(move |mut client: UnixStream| {
            let mut reader = BufReader::new(client.try_clone().unwrap());
            while let Some(words) = command(&mut reader) {
                let bulk = |bytes: &[u8]| [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
                let reply = match words[0].as_slice() {
                    b"PING" | b"SELECT" => b"+OK\r\n".to_vec(),
                    b"INFO" => bulk(info.as_bytes()),
                    b"RANDOMKEY" => bulk(pages[0][0].as_bytes()),
                    b"PEXPIRETIME" => b":-1\r\n".to_vec(),
                    b"DUMP" => dump(&String::from_utf8_lossy(&words[1])).map_or(b"$-1\r\n".to_vec(), |payload| bulk(&payload)),
                    b"SCAN" => {
                        let page: usize = String::from_utf8_lossy(&words[1]).parse().unwrap();
                        let next = if page + 1 == pages.len() { 0 } else { page + 1 };
                        let mut reply = format!("*2\r\n${}\r\n{next}\r\n*{}\r\n", next.to_string().len(), pages[page].len()).into_bytes();
                        pages[page].iter().for_each(|key| reply.extend(bulk(key.as_bytes())));
                        reply
                    }
                    _ => b"-NOPERM this user has no permissions to run that command\r\n".to_vec(),
                };
                if client.write_all(&reply).is_err() {
                    return;
                }
            }
        }),
    )
}

const SCAN: &str = r#"{"mode":"scan"}"#;

#[test]
fn keys_that_are_listed_twice_or_gone_when_they_are_read() {
    let dump = |key: &str| (key != "gone").then(|| payload(key.as_bytes()));
    // A table that shrinks meanwhile makes SCAN repeat itself.
    let harness = played(&[&["a", "b", "a"], &["b", "c"], &[], &["gone", "a"]], 3, dump);
    let result = harness.backup_with(SCAN).unwrap();
    assert_eq!(fact(&result.proof.facts, "keys"), "3");
    assert_eq!(fact(&result.proof.facts, "counts-compared"), "exact");
    let folder = Scratch::new().unwrap();
    into_folder(&harness.last().unwrap(), &folder, "{}").unwrap();
    Program::debian().unwrap().check_rdb(&folder.join("dump.rdb")).unwrap();
    let server = Server::builder().rdb(folder.join("dump.rdb")).start().unwrap();
    assert_eq!(server.call(&["MGET", "a", "b", "c"]).unwrap(), "a b c");
}

#[test]
fn values_that_change_on_the_way_and_keys_that_are_hidden() {
    let damaged = |key: &str| {
        let mut payload = payload(b"some value");
        if key == "b" {
            payload[5] ^= 1;
        }
        Some(payload)
    };
    let error = played(&[&["a", "b"]], 2, damaged).backup_with(SCAN).unwrap_err();
    assert_eq!(error.kind, ErrorKind::SourceDamaged);
    assert_says(&error, "does not match its checksum", "run it again");

    let short = |_: &str| Some(b"short".to_vec());
    assert_eq!(played(&[&["a"]], 1, short).backup_with(SCAN).unwrap_err().kind, ErrorKind::Protocol);

    // Sound by its checksum, and no value: the file is read as it is written.
    let nonsense = |key: &str| {
        let mut payload = payload(b"some value");
        if key == "b" {
            payload[0] = 200;
            let body = payload.len() - 8;
            let mut crc = Crc64::default();
            crc.update(&payload[..body]);
            payload[body..].copy_from_slice(&crc.value().to_le_bytes());
        }
        Some(payload)
    };
    let error = played(&[&["a", "b"]], 2, nonsense).backup_with(SCAN).unwrap_err();
    assert_eq!(error.kind, ErrorKind::SourceDamaged, "{error}");

    // A user who sees some keys only.
    let whole = |key: &str| Some(payload(key.as_bytes()));
    let harness = played(&[&["a", "b"]], 3, whole);
    let error = harness.backup_with(SCAN).unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Conflict, true));
    assert_says(&error, "2 keys of database 0 were read, and the server counted 3", "allkeys");
    assert!(harness.last().is_none(), "there is a snapshot");
}
