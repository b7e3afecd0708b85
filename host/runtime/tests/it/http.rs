//! HTTP against a server of the tests' own that records what it is sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bulkhead_model::{Fault, FaultKind};
use bulkhead_runtime::capabilities::endpoint::Endpoints;
use bulkhead_runtime::capabilities::http::{Exchange, HttpClient, Request};
use bulkhead_runtime::capabilities::{Budget, Granted};
use bulkhead_runtime::{AccessTokenProvider, Auth, Destination, EndpointGrant, Limits, PluginKind, SecretBytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::endpoint::authority;
use crate::setup::secret;

type Log = Arc<Mutex<Vec<String>>>;

fn client(grant: EndpointGrant) -> HttpClient {
    let budget = Arc::new(Budget::new(Limits::default_for(PluginKind::Source)));
    let granted = Granted::new("pipeline.test", "endpoint", "{ … }", BTreeMap::from([("api".to_owned(), grant)]));
    HttpClient::new(Endpoints::new(&granted, budget.clone()), budget)
}

fn request(method: &str, path: &str, content_length: Option<u64>) -> Request {
    Request {
        endpoint: "api".to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        content_length,
    }
}

/// Reads requests with an empty line at the end of their bodies, and answers each on the same connection. `/cut` answers half of what it promises, `/refused` with 401.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, log: Log) {
    let mut buffer = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let Ok(read @ 1..) = stream.read(&mut piece).await else {
            log.lock().unwrap().push("closed".to_owned());
            return;
        };
        buffer.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&buffer).to_string();
        let whole = if text.contains("transfer-encoding") {
            text.ends_with("0\r\n\r\n")
        } else {
            text.ends_with("\r\n\r\n") || text.ends_with("END")
        };
        if !whole {
            continue;
        }
        buffer.clear();
        let promised = if text.contains("/cut") { 100 } else { 5 };
        let status = if text.contains("/refused") { "401 Unauthorized" } else { "207 Odd" };
        log.lock().unwrap().push(text);
        stream
            .write_all(format!("HTTP/1.1 {status}\r\nx-test: yes\r\ncontent-length: {promised}\r\n\r\nhello").as_bytes())
            .await
            .unwrap();
        if promised > 5 {
            return;
        }
    }
}

async fn server() -> (String, Log, Arc<Mutex<u32>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/base/", listener.local_addr().unwrap());
    let (log, connections) = (Log::default(), Arc::new(Mutex::new(0)));
    let (requests, count) = (log.clone(), connections.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            *count.lock().unwrap() += 1;
            tokio::spawn(serve(stream, requests.clone()));
        }
    });
    (url, log, connections)
}

async fn body(exchange: &mut Exchange) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    while let Some(piece) = exchange.read(2).await? {
        assert!(piece.len() <= 2);
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

#[tokio::test]
async fn requests_share_a_connection_and_bodies_stream() {
    let (url, log, connections) = server().await;
    let client = client(EndpointGrant::new(Destination::Url(url)));
    for _ in 0..3 {
        let mut exchange = client.send(request("GET", "/list?x=1", Some(0))).await.unwrap();
        let head = exchange.respond().await.unwrap();
        assert_eq!(head.status, 207);
        assert!(head.headers.contains(&("x-test".to_owned(), b"yes".to_vec())));
        assert_eq!(body(&mut exchange).await.unwrap(), b"hello");
    }
    let mut exchange = client.send(request("PUT", "/a", Some(8))).await.unwrap();
    exchange.write("12345".into()).await.unwrap();
    exchange.write("END".into()).await.unwrap();
    exchange.respond().await.unwrap();
    body(&mut exchange).await.unwrap();
    let mut exchange = client.send(request("POST", "/chunked", None)).await.unwrap();
    exchange.write("some".into()).await.unwrap();
    exchange.respond().await.unwrap();
    assert_eq!(*connections.lock().unwrap(), 1);
    let log = log.lock().unwrap();
    assert!(
        log[0].starts_with("GET /base/list?x=1 HTTP/1.1\r\n") && !log[0].contains("content-length"),
        "{}",
        log[0]
    );
    assert!(log[3].contains("content-length: 8") && log[3].ends_with("12345END"), "{}", log[3]);
    assert!(
        log[4].contains("transfer-encoding: chunked") && log[4].contains("4\r\nsome\r\n"),
        "{}",
        log[4]
    );
}

/// Gives out `token-0`, and after each refusal the next one.
#[derive(Debug, Default)]
struct Tokens(Mutex<Vec<String>>);

#[async_trait::async_trait]
impl AccessTokenProvider for Tokens {
    async fn token(&self) -> Result<SecretBytes, Fault> {
        let number = self.0.lock().unwrap().len();
        Ok(SecretBytes::new(format!("token-{number}").into_bytes()))
    }

    async fn refused(&self, token: &SecretBytes) {
        self.0.lock().unwrap().push(String::from_utf8_lossy(token.expose()).into_owned());
    }
}

#[tokio::test]
async fn an_access_token_that_is_refused_is_told_to_who_gave_it_out() {
    let (url, log, _) = server().await;
    let tokens = Arc::new(Tokens::default());
    let mut grant = EndpointGrant::new(Destination::Url(url));
    grant.auth = Some(Auth::AccessToken { tokens: tokens.clone() });
    let client = client(grant);
    for (path, expected) in [("/", "token-0"), ("/refused", "token-0"), ("/", "token-1")] {
        client.send(request("GET", path, Some(0))).await.unwrap().respond().await.unwrap();
        let expected = format!("authorization: Bearer {expected}\r\n");
        assert!(log.lock().unwrap().iter().rev().any(|line| line.contains(&expected)), "{path}");
    }
    assert_eq!(*tokens.0.lock().unwrap(), ["token-0"]);
}

#[tokio::test]
async fn the_host_adds_authentication_and_the_plugin_cannot() {
    let (url, log, _) = server().await;
    let mut grant = EndpointGrant::new(Destination::Url(url));
    let mut forged = request("GET", "/", Some(0));
    forged.headers.push(("Authorization".to_owned(), b"Bearer forged".to_vec()));
    client(grant.clone()).send(forged.clone()).await.unwrap().respond().await.unwrap();
    for (auth, expected) in [
        (
            Auth::Basic {
                user: "Aladdin".to_owned(),
                password: secret("open sesame\n"),
            },
            "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n",
        ),
        (Auth::Bearer { token: secret("abc") }, "authorization: Bearer abc\r\n"),
    ] {
        grant.auth = Some(auth);
        let client = client(grant.clone());
        assert_eq!(
            client.send(forged.clone()).await.err().map(|fault| fault.kind),
            Some(FaultKind::PermissionDenied)
        );
        client.send(request("GET", "/", Some(0))).await.unwrap().respond().await.unwrap();
        assert!(log.lock().unwrap().last().unwrap().contains(expected));
    }
    for reserved in ["host", "Transfer-Encoding", "content-length"] {
        let mut request = request("GET", "/", Some(0));
        request.headers.push((reserved.to_owned(), b"x".to_vec()));
        assert_eq!(
            client(grant.clone()).send(request).await.err().map(|fault| fault.kind),
            Some(FaultKind::PermissionDenied)
        );
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_a_lost_connection() {
    let (url, _, _) = server().await;
    let mut exchange = client(EndpointGrant::new(Destination::Url(url)))
        .send(request("GET", "/cut", Some(0)))
        .await
        .unwrap();
    exchange.respond().await.unwrap();
    let fault = body(&mut exchange).await.unwrap_err();
    assert_eq!((fault.kind, fault.retryable), (FaultKind::ConnectionLost, true));
}

/// Reads from `stream` until `end` has come, or the stream ends.
async fn received(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(read @ 1..) => text.push_str(&String::from_utf8_lossy(&piece[..read])),
            _ => break,
        }
    }
    text
}

/// A client, and the first connection that it makes.
async fn one_connection(length: Option<u64>, body: &'static str) -> (Exchange, tokio::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = client(EndpointGrant::new(Destination::Url(url)));
    let mut exchange = client.send(request("PUT", "/a", length)).await.unwrap();
    exchange.write(body.into()).await.unwrap();
    (exchange, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn an_abandoned_upload_never_looks_complete() {
    let (exchange, mut stream) = one_connection(None, "half").await;
    let sent = received(&mut stream, "half\r\n").await;
    assert!(sent.ends_with("4\r\nhalf\r\n"), "{sent}");
    drop(exchange);
    assert_eq!(received(&mut stream, "never").await, "");
}

#[tokio::test]
async fn a_body_has_the_length_that_was_announced() {
    let (mut exchange, mut stream) = one_connection(Some(8), "12345").await;
    let fault = exchange.write("6789".into()).await.unwrap_err();
    assert_eq!(
        (fault.kind, fault.to_string().contains("longer")),
        (FaultKind::Internal, true),
        "{fault}"
    );
    assert!(exchange.write("678".into()).await.is_err(), "what was refused is missing");
    assert!(exchange.respond().await.is_err());
    let sent = received(&mut stream, "never").await;
    assert!(sent.ends_with("12345") || sent.is_empty(), "{sent}");

    let (mut exchange, mut stream) = one_connection(Some(8), "12345").await;
    let fault = exchange.respond().await.unwrap_err();
    assert_eq!(
        (fault.kind, fault.to_string().contains("shorter")),
        (FaultKind::Internal, true),
        "{fault}"
    );
    assert!(!received(&mut stream, "never").await.contains("123456"));
}

#[tokio::test]
async fn idle_connections_make_room_for_others() {
    let (servers, limit) = ((server().await, server().await), 1);
    let budget = Arc::new(Budget::new(Limits {
        connections: limit,
        ..Limits::default_for(PluginKind::Source)
    }));
    let grant = |url: &str| EndpointGrant::new(Destination::Url(url.to_owned()));
    let grants = BTreeMap::from([("api".to_owned(), grant(&servers.0.0)), ("other".to_owned(), grant(&servers.1.0))]);
    let granted = Granted::new("pipeline.test", "endpoint", "{ … }", grants);
    let client = HttpClient::new(Endpoints::new(&granted, budget.clone()), budget);
    for endpoint in ["api", "other", "api"] {
        let request = Request {
            endpoint: endpoint.to_owned(),
            ..request("GET", "/", Some(0))
        };
        let mut exchange = client.send(request.clone()).await.unwrap();
        // One that is at work does not make room.
        let full = client.send(request).await.err().map(|fault| fault.kind);
        assert_eq!(full, Some(FaultKind::Limit));
        exchange.respond().await.unwrap();
        body(&mut exchange).await.unwrap();
    }
    assert_eq!((*servers.0.2.lock().unwrap(), *servers.1.2.lock().unwrap()), (2, 1));
}

#[tokio::test]
async fn https_is_verified() {
    let ours = authority();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = ours.server.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = TlsAcceptor::from(config.clone()).accept(stream).await {
                tokio::spawn(serve(stream, Log::default()));
            }
        }
    });
    let get = |host: &str, ca| {
        let mut grant = EndpointGrant::new(Destination::Url(format!("https://{host}:{port}")));
        grant.tls.ca = ca;
        async move { client(grant).send(request("GET", "/", Some(0))).await?.respond().await }
    };
    assert_eq!(get("localhost", Some(ours.ca.clone())).await.unwrap().status, 207);
    assert_eq!(
        get("127.0.0.1", Some(ours.ca.clone())).await.unwrap_err().kind,
        FaultKind::Unreachable
    );
    assert_eq!(
        get("localhost", Some(authority().ca)).await.unwrap_err().kind,
        FaultKind::Unreachable
    );
}
