//! A hostile server, for what a real one cannot be made to do: HTTP/2 by hand, so that every byte of it can be wrong.
//!
//! The client's calls come in a known order, one stream each: Status (1), Alarm (3), Status (5), Snapshot (7), HashKV (9).

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::{Arc, OnceLock},
};

use bulkhead_plugin_etcd::{
    Etcd,
    rpc::messages::{AlarmMember, AlarmResponse, HashKvResponse, ResponseHeader, SnapshotResponse, StatusResponse},
};
use bulkhead_sdk::{
    Error, ErrorKind,
    digest::{Algorithm, digest},
    testing::{Endpoint, Harness},
};
use bulkhead_test_support::etcd::{Cluster, Release};
use prost::Message as _;

use crate::setup::{assert_says, codes, harness, verified};

const ALARM_STREAM: u32 = 3;
pub(crate) const SNAPSHOT_STREAM: u32 = 7;
const HASH_STREAM: u32 = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH: u8 = 5;
const GO_AWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// One frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Headers that go into no table.
fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        for text in [name, value] {
            if text == name {
                block.push(0);
            }
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

pub(crate) fn begin(stream: u32) -> Vec<u8> {
    let fields = [(":status", "200"), ("content-type", "application/grpc")];
    frame(HEADERS, END_HEADERS, stream, &headers(&fields))
}

pub(crate) fn end(stream: u32, status: &str, message: &str) -> Vec<u8> {
    let fields = [("grpc-status", status), ("grpc-message", message)];
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &headers(&fields))
}

/// A message as gRPC frames it.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let prefix = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &prefix[..], message].concat()
}

/// Frames of 16 KiB at most.
pub(crate) fn data(stream: u32, body: &[u8]) -> Vec<u8> {
    body.chunks(16 << 10).flat_map(|part| frame(DATA, 0, stream, part)).collect()
}

fn messages(stream: u32, message: &[u8]) -> Vec<u8> {
    data(stream, &framed(message))
}

fn answered(stream: u32, message: &[u8]) -> Vec<u8> {
    [begin(stream), messages(stream, message), end(stream, "0", "")].concat()
}

pub(crate) fn blob(content: &[u8]) -> Vec<u8> {
    let blob = content.to_vec().into();
    SnapshotResponse { blob }.encode_to_vec()
}

pub(crate) fn status() -> Vec<u8> {
    let header = ResponseHeader {
        cluster_id: 1,
        member_id: 2,
        revision: 3,
        raft_term: 4,
    };
    let status = StatusResponse {
        header: Some(header),
        version: "3.5.99".to_owned(),
        leader: 2,
        ..StatusResponse::default()
    };
    status.encode_to_vec()
}

/// What a server says before the snapshot is asked for, and then.
fn preamble() -> Vec<(u32, Vec<u8>)> {
    vec![
        (1, answered(1, &status())),
        (ALARM_STREAM, answered(ALARM_STREAM, b"")),
        (5, answered(5, &status())),
    ]
}

/// Everything that a well-meaning server sends, in one piece.
pub(crate) fn recording() -> Vec<u8> {
    let mut all = frame(SETTINGS, 0, 0, b"");
    preamble().into_iter().for_each(|(_, answer)| all.extend(answer));
    all.extend(whole(&with_trailer(small_store())));
    all
}

fn whole(content: &[u8]) -> Vec<u8> {
    let parts: Vec<u8> = content
        .chunks(10_000)
        .flat_map(|part| messages(SNAPSHOT_STREAM, &blob(part)))
        .collect();
    [begin(SNAPSHOT_STREAM), parts, end(SNAPSHOT_STREAM, "0", "")].concat()
}

/// A real server's store of a few pages, without its trailer.
pub(crate) fn small_store() -> Vec<u8> {
    static STORE: OnceLock<Vec<u8>> = OnceLock::new();
    let take = || {
        let cluster = Cluster::builder(&Release::debian().unwrap()).start().unwrap();
        cluster.execute(["put", "/key", "value"]).unwrap();
        let harness = harness(&cluster);
        harness.backup::<Etcd>("{}").unwrap();
        let mut content = harness.content("snapshot.db").unwrap();
        content.truncate(content.len() - 32);
        assert!(content.len() < 60_000, "it must fit into a window that nobody opens further");
        content
    };
    STORE.get_or_init(take).clone()
}

fn with_trailer(mut content: Vec<u8>) -> Vec<u8> {
    let trailer = Harness::new().run(|| digest(Algorithm::Sha256, &content));
    content.extend(trailer);
    content
}

/// Serves one connection: answers each stream as soon as its request begins, and closes where there is no answer.
fn serve(mut socket: UnixStream, answers: &[(u32, Vec<u8>)]) {
    let mut preface = [0; 24];
    if socket.read_exact(&mut preface).is_err() || socket.write_all(&frame(SETTINGS, 0, 0, b"")).is_err() {
        return;
    }
    let last = answers.iter().map(|(stream, _)| *stream).max();
    let mut head = [0; 9];
    while socket.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if socket.read_exact(&mut payload).is_err() {
            return;
        }
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match (head[3], head[4], answers.iter().find(|(answered, _)| *answered == stream)) {
            (SETTINGS, 0, _) => _ = socket.write_all(&frame(SETTINGS, 1, 0, b"")),
            (HEADERS, _, Some((_, answer))) => _ = socket.write_all(answer),
            (HEADERS, _, None) => return,
            _ => {}
        }
        if Some(stream) == last && head[3] == DATA && head[4] & END_STREAM != 0 {
            // Nothing comes after this.
            return;
        }
    }
}

/// What a plugin is granted that talks to this server.
fn granted(answers: Vec<(u32, Vec<u8>)>) -> Harness {
    let answers = Arc::new(answers);
    let endpoint = Endpoint::scripted(move |socket| serve(socket, &answers));
    Harness::new().endpoint("server", endpoint)
}

/// A backup from a server that answers the snapshot's call with these bytes.
pub(crate) fn backup_of(answer: Vec<u8>) -> Result<(), Error> {
    let mut answers = preamble();
    answers.push((SNAPSHOT_STREAM, answer));
    let harness = granted(answers);
    let result = harness.backup::<Etcd>(r#"{"skip-hash":true,"attempts":1}"#).map(drop);
    assert_eq!(harness.last().is_some(), result.is_ok(), "a failed run leaves no snapshot");
    result
}

fn fails(answer: Vec<u8>) -> Error {
    backup_of(answer).unwrap_err()
}

#[test]
fn the_script_itself_is_a_server() {
    backup_of(whole(&with_trailer(small_store()))).unwrap();
}

#[test]
fn members_that_disagree_are_not_believed() {
    let alarm = AlarmMember { member_id: 2, alarm: 2 };
    let alarms = AlarmResponse { alarms: vec![alarm] };
    let mut answers = preamble();
    answers[1].1 = answered(ALARM_STREAM, &alarms.encode_to_vec());
    answers.push((SNAPSHOT_STREAM, whole(&with_trailer(small_store()))));
    let harness = granted(answers);
    let error = harness.backup::<Etcd>(r#"{"skip-hash":true,"attempts":1}"#).unwrap_err();
    assert_eq!((error.kind, error.setting.as_deref()), (ErrorKind::SourceDamaged, Some("accept")));
    assert_says(&error, "CORRUPT", "hashkv");
    assert!(harness.last().is_none());
    let accepted = harness.backup::<Etcd>(r#"{"skip-hash":true,"accept":["corrupt"]}"#).unwrap();
    assert!(codes(&accepted.findings).contains(&"alarm-corrupt"), "{:?}", accepted.findings);
}

#[test]
fn a_hash_that_the_member_cannot_tell_any_more_is_a_warning_and_a_wrong_one_an_error() {
    let answering = |hash: Vec<u8>| {
        let mut answers = preamble();
        answers.push((SNAPSHOT_STREAM, whole(&with_trailer(small_store()))));
        answers.push((HASH_STREAM, hash));
        let harness = granted(answers);
        let result = harness.backup::<Etcd>("{}").unwrap();
        (codes(&result.findings).join(" "), codes(&verified(&harness)).join(" "))
    };
    let fields = [
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-status", "11"),
        ("grpc-message", "etcdserver: mvcc: required revision has been compacted"),
    ];
    let compacted = frame(HEADERS, END_HEADERS | END_STREAM, HASH_STREAM, &headers(&fields));
    let (backup, verify) = answering(compacted);
    assert_eq!(backup, "no-hash");
    assert_eq!(verify, "snapshot-verified no-hash");
    let wrong = HashKvResponse {
        hash: 1,
        ..HashKvResponse::default()
    };
    let (_, verify) = answering(answered(HASH_STREAM, &wrong.encode_to_vec()));
    assert!(verify.contains("hash-differs"), "{verify}");
}

#[test]
fn a_wrong_trailer_fails_the_run() {
    let mut content = with_trailer(small_store());
    let last = content.len() - 1;
    content[last] ^= 1;
    let error = fails(whole(&content));
    assert_eq!((error.kind, error.retryable), (ErrorKind::SourceDamaged, true));
    assert_says(&error, "SHA-256", "try again");
}

#[test]
fn a_stream_that_ends_before_its_trailer_fails_the_run_however_well_it_ends() {
    let content = with_trailer(small_store());
    for cut in [content.len() - 32, content.len() - 1, 4096, 512, 32, 1] {
        let error = fails(whole(&content[..cut]));
        assert!(
            matches!(error.kind, ErrorKind::ConnectionLost | ErrorKind::SourceDamaged),
            "cut at {cut}: {error}"
        );
    }
    let error = fails(whole(&content[..content.len() - 32]));
    assert_says(&error, "before its SHA-256 trailer", "member's own log");
    assert_says(&fails(answered(SNAPSHOT_STREAM, b"")), "before its SHA-256 trailer", "log");
}

#[test]
fn a_broken_connection_fails_the_run() {
    let content = with_trailer(small_store());
    let answer = whole(&content);
    for cut in [0, 9, 30, 5000, answer.len() / 2, answer.len() - 10] {
        let error = fails(answer[..cut].to_vec());
        assert_eq!(error.kind, ErrorKind::ConnectionLost, "cut at {cut}: {error:?}");
        assert!(error.retryable);
    }
}

#[test]
fn a_store_that_is_damaged_at_its_source_fails_the_run_though_its_checksum_is_right() {
    let intact = small_store();
    let page = |number: usize| number * 4096;
    // Magic, version, page size, root, checksum; the same of the second; a page of the tree.
    let root = u64::from_le_bytes(intact[32..40].try_into().unwrap());
    let root = page(usize::try_from(root).unwrap());
    for place in [16, 20, 25, 33, 72, page(1) + 16, page(1) + 72, root, root + 8, root + 10, root + 24] {
        let mut content = intact.clone();
        content[place] ^= 0x40;
        let error = fails(whole(&with_trailer(content)));
        assert_eq!(error.kind, ErrorKind::SourceDamaged, "byte {place}: {error:?}");
        assert_says(&error, "store is damaged", "another member");
    }
    let error = fails(whole(&with_trailer(intact[..page(2)].to_vec())));
    assert_says(&error, "where its meta page says", "another member");
}

#[test]
fn a_servers_error_in_the_middle_is_told_in_its_words() {
    let content = with_trailer(small_store());
    let begun = [begin(SNAPSHOT_STREAM), messages(SNAPSHOT_STREAM, &blob(&content[..8192]))].concat();
    let told = |status: &str, message: &str| fails([begun.clone(), end(SNAPSHOT_STREAM, status, message)].concat());
    let error = told("15", "etcdserver: corrupt cluster");
    assert_eq!(error.kind, ErrorKind::SourceDamaged);
    assert_says(&error, "broke off after 8192 bytes", "hashkv");
    assert_eq!(
        told("11", "etcdserver: mvcc: required revision has been compacted").kind,
        ErrorKind::Conflict
    );
    assert_eq!(told("12", "unknown method Snapshot").kind, ErrorKind::Unsupported);
    // Before anything was sent, in the headers.
    let fields = [
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-status", "14"),
        ("grpc-message", "etcdserver: no leader"),
    ];
    let refused = frame(HEADERS, END_HEADERS | END_STREAM, SNAPSHOT_STREAM, &headers(&fields));
    assert_says(&fails(refused), "no leader", "quorum");
    let no_status = [begun.clone(), frame(DATA, END_STREAM, SNAPSHOT_STREAM, b"")].concat();
    assert_eq!(fails(no_status).kind, ErrorKind::ConnectionLost);
}

#[test]
fn a_peer_that_breaks_http2_or_grpc_is_refused_at_once() {
    let begun = begin(SNAPSHOT_STREAM);
    let html = headers(&[(":status", "502"), ("content-type", "text/html")]);
    let cases: [(&str, Vec<u8>, ErrorKind); 8] = [
        ("reset", frame(RESET, 0, SNAPSHOT_STREAM, &[0, 0, 0, 8]), ErrorKind::ConnectionLost),
        (
            "go away",
            frame(GO_AWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 11]),
            ErrorKind::ConnectionLost,
        ),
        (
            "push",
            frame(PUSH, END_HEADERS, SNAPSHOT_STREAM, &[0, 0, 0, 2, 0x88]),
            ErrorKind::Protocol,
        ),
        (
            "continuation of nothing",
            frame(CONTINUATION, 0, SNAPSHOT_STREAM, b"x"),
            ErrorKind::Protocol,
        ),
        (
            "a frame beyond all bounds",
            [0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 7].to_vec(),
            ErrorKind::Protocol,
        ),
        ("no gRPC", frame(HEADERS, END_HEADERS, SNAPSHOT_STREAM, &html), ErrorKind::Protocol),
        (
            "a message beyond all bounds",
            [begun.clone(), frame(DATA, 0, SNAPSHOT_STREAM, &[0, 0xff, 0xff, 0xff, 0xff])].concat(),
            ErrorKind::Limit,
        ),
        (
            "a compressed message",
            [begun.clone(), frame(DATA, 0, SNAPSHOT_STREAM, &[1, 0, 0, 0, 0])].concat(),
            ErrorKind::Protocol,
        ),
    ];
    for (case, answer, kind) in cases {
        let error = fails(answer);
        assert_eq!(error.kind, kind, "{case}: {error:?}");
    }
    let garbled = [begun, messages(SNAPSHOT_STREAM, b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")].concat();
    assert_says(&fails(garbled), "cannot be decoded", "2379");
}

#[test]
fn messages_with_nothing_in_them_end_the_run() {
    let endless: Vec<u8> = framed(&blob(b"")).repeat(2000);
    let answer = [
        begin(SNAPSHOT_STREAM),
        data(SNAPSHOT_STREAM, &endless),
        end(SNAPSHOT_STREAM, "0", ""),
    ]
    .concat();
    let error = fails(answer);
    assert_eq!(error.kind, ErrorKind::Protocol, "{error}");
    assert!(error.to_string().contains("nothing in them"), "{error}");
}
