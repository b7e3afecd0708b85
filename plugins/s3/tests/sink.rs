//! The sink over a real server of S3, unsigned: what the host adds is tested from the outside.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use bulkhead_plugin_s3::S3;
use bulkhead_sdk::{
    ErrorKind,
    testing::{Harness, HttpRequest, HttpResponse, conformance},
};
use bulkhead_test_support::s3::Server;

const CONFIG: &str = r#"{"bucket":"vaults","prefix":"a/vault"}"#;

fn forward(server: &Server, request: &HttpRequest) -> HttpResponse {
    let answer = server
        .exchange(&request.method, &request.path, &request.headers, &request.body)
        .unwrap();
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
