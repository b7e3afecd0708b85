//! Backups that must fail, and say why.

use std::{
    io::{BufReader, Write},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bulkhead_sdk::{
    Error, ErrorKind,
    testing::{Endpoint, Harness},
};
use bulkhead_test_support::{Scratch, redis::Server};

use crate::setup::{Operations, assert_says, codes, command, filled, into_folder, into_server, over_tcp};

/// Keys that the played server says it has.
const INFO: &str = "redis_version:7.0.15\r\nrole:master\r\nmaster_repl_offset:14\r\ndb0:keys=1,expires=0\r\n";
const RESYNC: &str = "+FULLRESYNC aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 14\r\n";
const MARK: &str = "0123456789012345678901234567890123456789";

/// One key, as a server of version 10 sends it.
pub(crate) fn rdb() -> Vec<u8> {
    let mut file = b"REDIS0010\xfe\x00\x00\x01k\x01v\xff".to_vec();
    let mut crc = bulkhead_rdb::Crc64::default();
    crc.update(&file);
    file.extend_from_slice(&crc.value().to_le_bytes());
    file
}

fn played(answer: Vec<u8>) -> Harness {
    played_with(INFO, answer)
}

/// A server that answers as Redis does, and to `PSYNC` with these bytes; then it hangs up.
pub(crate) fn played_with(info: &'static str, answer: Vec<u8>) -> Harness {
    changing(move |_| info, answer)
}

/// The same with an `INFO` that depends on how often it was asked for before.
fn changing(info: impl Fn(usize) -> &'static str + Send + Sync + 'static, answer: Vec<u8>) -> Harness {
    let answer = Arc::new(answer);
    let asked = AtomicUsize::new(0);
    Harness::new().endpoint(
        "server",
        Endpoint::scripted(move |mut client: UnixStream| {
            let mut reader = BufReader::new(client.try_clone().unwrap());
            while let Some(words) = command(&mut reader) {
                let reply = match words[0].as_slice() {
                    b"PING" => b"+PONG\r\n".to_vec(),
                    b"INFO" => {
                        let info = info(asked.fetch_add(1, Ordering::Relaxed));
                        format!("${}\r\n{info}\r\n", info.len()).into_bytes()
                    }
                    b"REPLCONF" => b"+OK\r\n".to_vec(),
                    b"PSYNC" => {
                        let _ = client.write_all(&answer);
                        return;
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

/// A transfer from a file.
pub(crate) fn sized(rdb: &[u8]) -> Vec<u8> {
    [RESYNC.as_bytes(), format!("\n\n${}\r\n", rdb.len()).as_bytes(), rdb].concat()
}

/// A transfer from memory.
fn marked(rdb: &[u8], behind: &str) -> Vec<u8> {
    [RESYNC.as_bytes(), format!("$EOF:{MARK}\r\n").as_bytes(), rdb, behind.as_bytes()].concat()
}

#[track_caller]
fn fails(harness: &Harness) -> Error {
    let error = harness.backup_with(r#"{"attempts":1}"#).unwrap_err();
    assert!(harness.last().is_none(), "there is a snapshot");
    error
}

#[test]
fn the_played_server_is_believed_where_it_behaves() {
    for answer in [sized(&rdb()), marked(&rdb(), MARK)] {
        let result = played(answer).backup_with("{}").unwrap();
        assert!(result.proof.complete);
    }
}

#[test]
fn transfers_that_are_cut_anywhere() {
    for whole in [sized(&rdb()), marked(&rdb(), MARK)] {
        for cut in 0..whole.len() {
            let error = fails(&played(whole[..cut].to_vec()));
            assert_eq!(
                (error.kind, error.retryable),
                (ErrorKind::ConnectionLost, true),
                "cut at {cut}: {error}"
            );
        }
    }
    let error = fails(&played(marked(&rdb(), &MARK[..39])));
    assert_says(&error, "before the end mark", "log");
}

#[test]
fn an_end_that_is_none() {
    let error = fails(&played(marked(&rdb(), "9123456789012345678901234567890123456789")));
    assert_eq!(error.kind, ErrorKind::Protocol);
    let longer = [&rdb()[..], b"more"].concat();
    assert_eq!(fails(&played(sized(&longer))).kind, ErrorKind::Protocol);
    let shorter = &rdb()[..20];
    let error = fails(&played(sized(shorter)));
    assert_eq!(error.kind, ErrorKind::SourceDamaged, "{error}");
    assert_says(&error, "without an end marker", "redis-check-rdb");
}

#[test]
fn an_rdb_that_is_none() {
    for (change, kind, words) in [
        (
            &(|rdb: &mut Vec<u8>| rdb[15] ^= 1) as &dyn Fn(&mut Vec<u8>),
            ErrorKind::SourceDamaged,
            "its checksum is",
        ),
        (&|rdb: &mut Vec<u8>| rdb[11] = 200, ErrorKind::SourceDamaged, "no opcode"),
        (&|rdb: &mut Vec<u8>| rdb[11] = 6, ErrorKind::Unsupported, "release candidate"),
        (
            &|rdb: &mut Vec<u8>| rdb[7..9].copy_from_slice(b"13"),
            ErrorKind::Unsupported,
            "version 13",
        ),
        (&|rdb: &mut Vec<u8>| rdb[0] = b'X', ErrorKind::SourceDamaged, "does not begin"),
    ] {
        let mut damaged = rdb();
        change(&mut damaged);
        let error = fails(&played(sized(&damaged)));
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn keys_that_the_server_counts_and_does_not_send() {
    let more = "redis_version:7.0.15\r\nrole:master\r\nmaster_repl_offset:14\r\ndb0:keys=2,expires=0\r\n";
    let error = fails(&played_with(more, sized(&rdb())));
    assert_eq!((error.kind, error.retryable), (ErrorKind::Conflict, true));
    assert_says(&error, "database 0: 1 keys instead of 2", "redis-check-rdb");
    // Forty bytes of the replication stream later, that may be right.
    let later = "redis_version:7.0.15\r\nrole:master\r\nmaster_repl_offset:54\r\ndb0:keys=2,expires=0\r\n";
    played_with(later, sized(&rdb())).backup_with("{}").unwrap();
}

#[test]
fn servers_that_cannot_be_backed_up_now() {
    for (info, kind, words) in [
        ("role:master\r\nloading:1\r\n", ErrorKind::Unreachable, "loading its dataset"),
        ("role:slave\r\nmaster_link_status:down\r\n", ErrorKind::Conflict, "lost its master"),
        (
            "role:slave\r\nmaster_link_status:up\r\nmaster_last_io_seconds_ago:31\r\n",
            ErrorKind::Conflict,
            "has not heard from its master for 31 s",
        ),
    ] {
        let error = fails(&played_with(info, Vec::new()));
        assert_eq!((error.kind, error.retryable), (kind, true), "{error}");
        assert!(error.message.contains(words), "{error}");
    }
    for (answer, kind, words) in [
        (
            &b"-LOADING Redis is loading the dataset in memory\r\n"[..],
            ErrorKind::Unreachable,
            "loading:0",
        ),
        (
            b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n",
            ErrorKind::Conflict,
            "lost its master",
        ),
        (b"-MASTERDOWN Link with MASTER is down\r\n", ErrorKind::Conflict, "lost its master"),
        (
            b"-NOPERM this user has no permissions to run the 'psync' command\r\n",
            ErrorKind::PermissionDenied,
            "+psync",
        ),
        (b"-ERR max number of clients reached\r\n", ErrorKind::Limit, "maxclients"),
        (b"+CONTINUE\r\n", ErrorKind::Protocol, "Valkey server itself"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ErrorKind::Protocol, "Valkey server itself"),
    ] {
        let error = fails(&played(answer.to_vec()));
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.hint.as_deref().is_some_and(|hint| hint.contains(words)), "{error:?}");
    }
}

#[test]
fn a_server_that_is_ready_in_a_moment_is_waited_for() {
    let ready = |asked: usize| if asked == 0 { "role:master\r\nloading:1\r\n" } else { INFO };
    changing(ready, sized(&rdb())).backup_with("{}").unwrap();
    let error = changing(ready, sized(&rdb())).backup_with(r#"{"attempts":1}"#).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable);
}

#[test]
fn how_long_a_replica_may_be_silent_is_configured() {
    let silent = "redis_version:7.0.15\r\nrole:slave\r\nmaster_link_status:up\r\nmaster_last_io_seconds_ago:45\r\nmaster_repl_offset:14\r\n\
                  db0:keys=1,expires=0\r\n";
    let harness = played_with(silent, sized(&rdb()));
    let error = fails(&harness);
    assert_eq!(error.setting.as_deref(), Some("max-silence"));
    harness.backup_with(r#"{"max-silence":"60 s"}"#).unwrap();
}

#[test]
fn a_collection_without_elements_is_told_and_passed_over() {
    let mut file = b"REDIS0010\xfe\x00\x02\x04none\x00\x00\x01k\x01v\xff".to_vec();
    let mut crc = bulkhead_rdb::Crc64::default();
    crc.update(&file);
    file.extend_from_slice(&crc.value().to_le_bytes());
    let two = "redis_version:7.0.15\r\nrole:master\r\nmaster_repl_offset:14\r\ndb0:keys=2,expires=0\r\n";
    let harness = played_with(two, sized(&file));
    let result = harness.backup_with("{}").unwrap();
    assert!(codes(&result.findings).contains(&"empty-collections"), "{:?}", result.findings);
    // As a server does that loads the file.
    let snapshot = harness.last().unwrap();
    let folder = Scratch::new().unwrap();
    into_folder(&snapshot, &folder, "{}").unwrap();
    let loaded = Server::builder().rdb(folder.join("dump.rdb")).start().unwrap();
    assert_eq!(loaded.call(&["KEYS", "*"]).unwrap(), "k");
    let live = Server::start_default().unwrap();
    let restored = into_server(&snapshot, &live, "{}").unwrap();
    assert_eq!(live.call(&["KEYS", "*"]).unwrap(), "k");
    assert!(codes(&restored.findings).contains(&"empty-collections"), "{:?}", restored.findings);
}

#[test]
fn what_is_not_redis_is_not_believed() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\n",
        b"220 mail ESMTP\r\n",
    ] {
        let endpoint = Endpoint::scripted(move |mut client: UnixStream| {
            let _ = client.write_all(answer);
            let _ = command(&mut BufReader::new(client));
        });
        let error = fails(&Harness::new().endpoint("server", endpoint));
        assert_eq!(error.kind, ErrorKind::Protocol, "{error}");
        assert_says(&error, "does not speak Redis' protocol", "`tls`");
    }
}

#[test]
fn an_empty_server_is_the_wrong_one_unless_it_is_said_to_be_right() {
    let server = Server::start_default().unwrap();
    let harness = over_tcp(&server);
    let error = fails(&harness);
    assert_eq!((error.kind, error.setting.as_deref()), (ErrorKind::Conflict, Some("allow-empty")));
    harness.backup_with(r#"{"allow-empty":true}"#).unwrap();
    harness.backup_with(r#"{"allow-empty":true,"mode":"scan"}"#).unwrap();
}

#[test]
fn real_servers_that_refuse() {
    let server = filled(Server::builder());
    server
        .call(&["ACL", "SETUSER", "reader", "on", ">pw", "allkeys", "+@all", "-psync"])
        .unwrap();
    let harness = over_tcp(&server).secret("password", "pw");
    let error = harness.backup_with(r#"{"user":"reader"}"#).unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
    assert_says(&error, "psync", "+psync");
    // The bare rights of a replica are enough; what cannot be read beside the dataset is said.
    server
        .call(&["ACL", "SETUSER", "backup", "on", ">pw", "+psync", "+replconf", "+info", "+ping"])
        .unwrap();
    let result = harness.backup_with(r#"{"user":"backup"}"#).unwrap();
    let codes: Vec<_> = result.findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes, ["acl-not-backed-up", "config-not-backed-up"]);

    let hidden = filled(
        Server::builder()
            .words("rename-command", &["PSYNC", ""])
            .words("rename-command", &["SYNC", ""]),
    );
    let error = over_tcp(&hidden).backup_with(r#"{"mode":"replica"}"#).unwrap_err();
    assert_eq!((error.kind, error.setting.as_deref()), (ErrorKind::Unsupported, Some("mode")));

    server.call(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    let error = over_tcp(&server).backup_with("{}").unwrap_err();
    assert_eq!((error.kind, error.retryable), (ErrorKind::Conflict, true));
}
