//! The sink over a real server of S3, unsigned: what the host adds is tested from the outside.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use bulkhead_plugin_s3::S3;
use bulkhead_sdk::{
    ErrorKind,
    sink::PutOptions,
    testing::{Harness, HttpRequest, HttpResponse, conformance},
    types::Timestamp,
};
use bulkhead_test_support::s3::{Answer, LockingServer, Server};

const CONFIG: &str = r#"{"bucket":"vaults","prefix":"a/vault"}"#;

fn forward(server: &Server, request: &HttpRequest) -> HttpResponse {
    response(
        server
            .exchange(&request.method, &request.path, &request.headers, &request.body)
            .unwrap(),
    )
}

fn response(answer: Answer) -> HttpResponse {
    HttpResponse {
        status: answer.status,
        headers: answer.headers,
        body: answer.body,
        break_after: None,
    }
}

/// A harness whose endpoint is a server that asks for no signature.
fn harness() -> (Harness, Arc<Server>) {
    let server = Arc::new(Server::without_keys().unwrap());
    let ours = server.clone();
    (Harness::new().http("storage", move |request| forward(&ours, request)), server)
}

#[test]
fn it_conforms() {
    conformance::sink::<S3>(&harness().0, CONFIG);
}

#[test]
fn it_conforms_where_the_server_ignores_conditions() {
    let server = Server::without_keys().unwrap();
    let harness = Harness::new().http("storage", move |request| {
        let mut request = request.clone();
        request.headers.retain(|(name, _)| name != "if-none-match");
        forward(&server, &request)
    });
    conformance::sink::<S3>(&harness, r#"{"bucket":"vaults","conditional-put":false}"#);
}

#[test]
fn listings_go_on_beyond_the_servers_pages_and_ours() {
    let (harness, server) = harness();
    let folder = server.bucket().join("a/vault/data/ab");
    std::fs::create_dir_all(&folder).unwrap();
    let names: Vec<String> = (0..12_345).map(|number| format!("{number:05}")).collect();
    for name in &names {
        std::fs::write(folder.join(name), name).unwrap();
    }
    let mut sink = harness.sink::<S3>(CONFIG).unwrap();
    let first = sink.with(|sink| bulkhead_sdk::sink::Sink::list(sink, "data/", None)).unwrap();
    assert_eq!((first.objects.len(), first.next.as_deref()), (10_000, Some("data/ab/09999")));
    let keys: Vec<String> = sink.list("data/").unwrap().into_iter().map(|object| object.key).collect();
    assert_eq!(keys, names.iter().map(|name| format!("data/ab/{name}")).collect::<Vec<_>>());
}

#[test]
fn a_store_of_somebody_else_is_not_initialized() {
    let (harness, server) = harness();
    std::fs::create_dir_all(server.bucket().join("a/vault")).unwrap();
    std::fs::write(server.bucket().join("a/vault/holiday.jpg"), "x").unwrap();
    let mut sink = harness.sink::<S3>(CONFIG).unwrap();
    assert_eq!(sink.initialize().unwrap_err().kind, ErrorKind::Conflict);
    let findings = sink.check().unwrap();
    assert_eq!(
        findings.iter().map(|finding| finding.code.as_str()).collect::<Vec<_>>(),
        ["foreign-content"]
    );
    let mut beside = harness.sink::<S3>(r#"{"bucket":"vaults","prefix":"a/vaul"}"#).unwrap();
    beside.initialize().unwrap();
}

#[test]
fn what_is_sent_is_checked_by_the_server() {
    let server = Server::without_keys().unwrap();
    let harness = Harness::new().http("storage", move |request| {
        let mut request = request.clone();
        if let Some(byte) = request.body.first_mut() {
            *byte ^= 1;
        }
        forward(&server, &request)
    });
    let mut sink = harness.sink::<S3>(r#"{"bucket":"vaults","attempts":2}"#).unwrap();
    let error = sink.put("data/00/00", b"content").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
    assert!(error.message.contains("gave up after 2 attempts"), "{error}");
}

#[test]
fn a_server_that_asks_for_a_pause_gets_it() {
    let (begin, requests) = (std::time::Instant::now(), std::sync::Mutex::new(0));
    let harness = Harness::new().http("storage", move |_| {
        let mut requests = requests.lock().unwrap();
        *requests += 1;
        if *requests == 1 {
            HttpResponse::new(503, "").header("retry-after", "2")
        } else {
            HttpResponse::new(404, "")
        }
    });
    let mut sink = harness.sink::<S3>(CONFIG).unwrap();
    assert_eq!(sink.stat("config").unwrap(), None);
    assert!(begin.elapsed() >= Duration::from_secs(2));
}

/// A harness whose endpoint is a server that keeps versions and locks.
fn locking() -> (Harness, Arc<LockingServer>) {
    let server = Arc::new(LockingServer::start().unwrap());
    let ours = server.clone();
    let harness = Harness::new().http("storage", move |request| {
        let answer = ours.exchange(&request.method, &request.path, &request.headers, &request.body);
        response(answer.unwrap())
    });
    (harness, server)
}

fn from_now(seconds: u64) -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_seconds(i64::try_from(now.as_secs() + seconds).unwrap())
}

fn locked_put(until: Timestamp) -> PutOptions {
    PutOptions {
        if_absent: false,
        lock_until: Some(until),
    }
}

const LOCKING: &str = r#"{"bucket":"locking","prefix":"a vault"}"#;
const KEY: &str = "data/ab/abcd";
const PATH: &str = "a%20vault/data/ab/abcd";

#[test]
fn it_conforms_where_versions_are_kept() {
    let (harness, _server) = locking();
    conformance::sink::<S3>(&harness, LOCKING);
}

#[test]
fn what_is_locked_stays_and_locks_grow_only() {
    let (harness, server) = locking();
    let mut sink = harness.sink::<S3>(LOCKING).unwrap();
    sink.put("config", b"not locked").unwrap();
    assert_eq!(sink.locked_until("config").unwrap(), None);
    assert_eq!(sink.locked_until(KEY).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(sink.extend_lock(KEY, from_now(60)).unwrap_err().kind, ErrorKind::NotFound);

    let (day, week) = (from_now(86_400), from_now(7 * 86_400));
    sink.put_with(KEY, b"locked", locked_put(day)).unwrap();
    assert_eq!(sink.locked_until(KEY).unwrap(), Some(day));
    sink.extend_lock(KEY, week).unwrap();
    assert_eq!(sink.locked_until(KEY).unwrap(), Some(week));
    sink.extend_lock(KEY, day).unwrap();
    assert_eq!(sink.locked_until(KEY).unwrap(), Some(week), "a lock became shorter");
    assert!(server.locked_until(PATH).unwrap().is_some());

    // Removing leaves a mark, and what it hides.
    sink.delete(KEY).unwrap();
    assert_eq!(sink.stat(KEY).unwrap(), None);
    assert_eq!(server.versions(PATH).unwrap(), (1, true));
}

#[test]
fn versions_are_removed_but_for_those_that_are_locked() {
    let (harness, server) = locking();
    let mut sink = harness
        .sink::<S3>(r#"{"bucket":"locking","prefix":"a vault","versions":"remove"}"#)
        .unwrap();
    sink.put("index/ab", b"first").unwrap();
    sink.put("index/ab", b"second").unwrap();
    assert_eq!(server.versions("a%20vault/index/ab").unwrap(), (2, false));
    sink.delete("index/ab").unwrap();
    assert_eq!(server.versions("a%20vault/index/ab").unwrap(), (0, false));

    sink.put(KEY, b"not locked").unwrap();
    sink.put_with(KEY, b"locked", locked_put(from_now(86_400))).unwrap();
    sink.delete(KEY).unwrap();
    assert_eq!(sink.stat(KEY).unwrap(), None);
    assert_eq!(server.versions(PATH).unwrap(), (1, true), "what is locked, behind its mark");
    // A key that begins with it is somebody else's.
    sink.put("data/ab/abcde", b"another").unwrap();
    sink.delete(KEY).unwrap();
    assert_eq!(sink.get("data/ab/abcde").unwrap(), b"another");
}

#[test]
fn a_bucket_that_does_not_lock_is_told() {
    let (harness, _server) = locking();
    let mut sink = harness.sink::<S3>(r#"{"bucket":"plain"}"#).unwrap();
    let error = sink.put_with(KEY, b"locked", locked_put(from_now(60))).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("does not lock"), "{error}");
    assert_eq!(sink.stat(KEY).unwrap(), None);

    let mut unchecked = harness.sink::<S3>(r#"{"bucket":"locking","checksum":"none"}"#).unwrap();
    let error = unchecked.put_with(KEY, b"locked", locked_put(from_now(60))).unwrap_err();
    assert_eq!((error.kind, error.setting.as_deref()), (ErrorKind::Config, Some("checksum")));
}
