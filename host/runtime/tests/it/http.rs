//! HTTP against a server of the tests' own that records what it is sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bulkhead_model::{Fault, FaultKind};
use bulkhead_runtime::capabilities::endpoint::Endpoints;
use bulkhead_runtime::capabilities::http::{Exchange, HttpClient, Request};
use bulkhead_runtime::capabilities::{Budget, Granted};
use bulkhead_runtime::{Auth, Destination, EndpointGrant, Limits, PluginKind};
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

/// Reads requests with an empty line at the end of their bodies, and answers each on the same connection. `/cut` answers half of what it promises.
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
        log.lock().unwrap().push(text);
        stream
            .write_all(format!("HTTP/1.1 207 Odd\r\nx-test: yes\r\ncontent-length: {promised}\r\n\r\nhello").as_bytes())
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

#[tokio::test]
async fn an_abandoned_upload_never_looks_complete() {
    let (url, log, _) = server().await;
    let client = client(EndpointGrant::new(Destination::Url(url)));
    let mut exchange = client.send(request("PUT", "/half", None)).await.unwrap();
    exchange.write("half".into()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    drop(exchange);
    tokio::time::timeout(std::time::Duration::from_secs(5), async {
        while log.lock().unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(*log.lock().unwrap(), ["closed"]);
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
