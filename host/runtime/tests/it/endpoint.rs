//! Connections against servers of the tests' own: addresses, deadlines, TLS in all its modes, and the rule for what may pass before it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_model::{Fault, FaultKind};
use bulkhead_runtime::capabilities::endpoint::{Connection, Endpoints, TlsSession};
use bulkhead_runtime::capabilities::{Budget, Granted};
use bulkhead_runtime::{ClientCertificate, Destination, EndpointGrant, Limits, PluginKind, TlsMode};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::setup::secret;

fn endpoints(grant: EndpointGrant) -> Endpoints {
    endpoints_within(grant, Limits::default_for(PluginKind::Source))
}

fn endpoints_within(grant: EndpointGrant, limits: Limits) -> Endpoints {
    let granted = Granted::new("pipeline.test", "endpoint", "{ … }", BTreeMap::from([("server".to_owned(), grant)]));
    Endpoints::new(&granted, Arc::new(Budget::new(limits)))
}

fn addresses(addresses: &[&str]) -> EndpointGrant {
    EndpointGrant::new(Destination::Addresses(
        addresses.iter().map(|address| (*address).to_owned()).collect(),
    ))
}

fn kind<T>(result: Result<T, Fault>) -> Option<FaultKind> {
    result.err().map(|fault| fault.kind)
}

/// An authority with a server's certificate for `localhost` and a client's, as files.
pub(crate) struct Authority {
    _folder: tempfile::TempDir,
    pub(crate) ca: PathBuf,
    pub(crate) server: Arc<ServerConfig>,
    server_certificate: CertificateDer<'static>,
    client: (PathBuf, String),
    roots: RootCertStore,
}

fn pkcs8(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

pub(crate) fn authority() -> Authority {
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let issue = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        (certificate, key)
    };
    let (server, server_key) = issue("localhost");
    let (client, client_key) = issue("client");
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = config
        .with_no_client_auth()
        .with_single_cert(vec![server.der().clone()], pkcs8(&server_key))
        .unwrap();
    Authority {
        ca: file("ca.pem", &issuer.pem()),
        server: Arc::new(config),
        server_certificate: server.der().clone(),
        client: (file("client.pem", &client.pem()), client_key.serialize_pem()),
        roots,
        _folder: folder,
    }
}

/// A server that talks as PostgreSQL does before TLS: 8 bytes ask for it, `S` agrees. Then it echoes.
async fn serve(config: Arc<ServerConfig>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(negotiate(stream, config.clone()));
        }
    });
    address
}

async fn negotiate(mut stream: TcpStream, config: Arc<ServerConfig>) -> std::io::Result<()> {
    let mut request = [0; 8];
    stream.read_exact(&mut request).await?;
    stream.write_all(b"S").await?;
    let stream = TlsAcceptor::from(config).accept(stream).await?;
    let (mut read, mut write) = tokio::io::split(stream);
    tokio::io::copy(&mut read, &mut write).await?;
    write.shutdown().await
}

async fn start_tls(grant: EndpointGrant) -> Result<(Connection, TlsSession), Fault> {
    start_tls_offering(grant, &[]).await
}

async fn start_tls_offering(grant: EndpointGrant, protocols: &[&str]) -> Result<(Connection, TlsSession), Fault> {
    let mut connection = endpoints(grant).open("server").await?;
    connection.write("SSLReque".into()).await?;
    assert_eq!(connection.read(1, None).await?.unwrap(), "S");
    let protocols: Vec<String> = protocols.iter().map(|protocol| (*protocol).to_owned()).collect();
    let session = connection.start_tls(&protocols).await?;
    Ok((connection, session))
}

fn tls(address: &str, mode: TlsMode, ca: Option<&PathBuf>) -> EndpointGrant {
    let mut grant = addresses(&[address]);
    grant.tls.mode = mode;
    grant.tls.ca = ca.cloned();
    grant
}

#[tokio::test]
async fn tls_modes_mean_what_they_mean_to_libpq() {
    let (ours, theirs) = (authority(), authority());
    let by_name = serve(ours.server.clone()).await;
    let by_number = by_name.replace("localhost", "127.0.0.1");
    use TlsMode::{Prefer, Require, VerifyCa, VerifyFull};
    let cases = [
        (Prefer, &by_number, None, true),
        (Prefer, &by_number, Some(&theirs.ca), true),
        (Require, &by_number, None, true),
        (Require, &by_number, Some(&ours.ca), true),
        (Require, &by_number, Some(&theirs.ca), false),
        (VerifyCa, &by_number, Some(&ours.ca), true),
        (VerifyCa, &by_name, Some(&theirs.ca), false),
        (VerifyFull, &by_name, Some(&ours.ca), true),
        (VerifyFull, &by_number, Some(&ours.ca), false),
        (VerifyFull, &by_name, Some(&theirs.ca), false),
        (VerifyFull, &by_name, None, false),
    ];
    for (mode, address, ca, accepted) in cases {
        let result = start_tls(tls(address, mode, ca)).await;
        assert_eq!(result.is_ok(), accepted, "{mode:?} {address} {ca:?}: {:?}", result.err());
        if let Err(fault) = result {
            assert_eq!(fault.kind, FaultKind::Unreachable);
            assert!(fault.hint.is_some_and(|hint| hint.contains("tls.")));
        }
    }
}

#[tokio::test]
async fn application_protocols_reach_a_server_that_chooses_by_them() {
    let ours = authority();
    let mut config = ServerConfig::clone(&ours.server);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let address = serve(Arc::new(config)).await;
    let grant = || tls(&address, TlsMode::VerifyFull, Some(&ours.ca));
    assert!(start_tls_offering(grant(), &["h2", "http/1.1"]).await.is_ok());
    assert_eq!(
        kind(start_tls_offering(grant(), &["postgresql"]).await),
        Some(FaultKind::Unreachable)
    );
    assert_eq!(kind(start_tls_offering(grant(), &["h2"; 9]).await), Some(FaultKind::Limit));
    assert_eq!(kind(start_tls_offering(grant(), &[""]).await), Some(FaultKind::Limit));
}

#[tokio::test]
async fn a_session_carries_data_and_tells_its_certificate() {
    let ours = authority();
    let address = serve(ours.server.clone()).await;
    let (mut connection, session) = start_tls(tls(&address, TlsMode::VerifyFull, Some(&ours.ca))).await.unwrap();
    assert_eq!(
        (session.protocol.as_str(), &session.peer_certificate[..]),
        ("TLSv1.3", &ours.server_certificate[..])
    );
    let data: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).take(1_000_000).collect();
    let sent = data.clone();
    let mut received = Vec::new();
    for piece in sent.chunks(50_000) {
        connection.write(bytes::Bytes::copy_from_slice(piece)).await.unwrap();
        let goal = received.len() + piece.len();
        while received.len() < goal {
            received.extend_from_slice(&connection.read(1 << 20, None).await.unwrap().unwrap());
        }
    }
    assert!(received == data);
    connection.shutdown().await.unwrap();
    assert_eq!(connection.read(1, None).await.unwrap(), None);
}

#[tokio::test]
async fn another_server_name_can_be_asked_for() {
    let ours = authority();
    let address = serve(ours.server.clone()).await.replace("localhost", "127.0.0.1");
    let mut grant = tls(&address, TlsMode::VerifyFull, Some(&ours.ca));
    grant.tls.server_name = Some("localhost".to_owned());
    start_tls(grant).await.unwrap();
}

/// A server with a certificate that nobody else signed, and the file of it.
async fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> (String, PathBuf, tempfile::TempDir) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, certificate.pem()).unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = config
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], pkcs8(&key))
        .unwrap();
    (serve(Arc::new(config)).await, ca, folder)
}

#[tokio::test]
async fn a_self_signed_certificate_may_be_its_own_authority() {
    for is_ca in [IsCa::Ca(BasicConstraints::Unconstrained), IsCa::ExplicitNoCa, IsCa::NoCa] {
        let (address, ca, _folder) = self_signed(|params| params.is_ca = is_ca).await;
        start_tls(tls(&address, TlsMode::VerifyFull, Some(&ca))).await.unwrap();
        let number = address.replace("localhost", "127.0.0.1");
        assert_eq!(
            kind(start_tls(tls(&number, TlsMode::VerifyFull, Some(&ca))).await),
            Some(FaultKind::Unreachable)
        );
    }
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_not_trusted_wherever_it_stands() {
    for is_ca in [IsCa::Ca(BasicConstraints::Unconstrained), IsCa::ExplicitNoCa, IsCa::NoCa] {
        let (address, ca, _folder) = self_signed(|params| {
            params.is_ca = is_ca;
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        })
        .await;
        for mode in [TlsMode::VerifyCa, TlsMode::VerifyFull] {
            let fault = start_tls(tls(&address, mode, Some(&ca))).await.unwrap_err();
            assert_eq!(fault.hint.as_deref(), Some("renew the server's certificate"), "{fault}");
        }
    }
}

#[tokio::test]
async fn a_write_that_was_cut_off_leaves_no_connection_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let limits = Limits {
        call_timeout: Duration::from_millis(200),
        ..Limits::default_for(PluginKind::Source)
    };
    let mut grant = addresses(&[&listener.local_addr().unwrap().to_string()]);
    grant.tls.mode = TlsMode::Disable;
    let mut connection = endpoints_within(grant, limits).open("server").await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    // Nobody reads, until the buffers of both ends are full.
    let fault = loop {
        if let Err(fault) = connection.write(vec![7; 1 << 20].into()).await {
            break fault;
        }
    };
    assert_eq!(fault.kind, FaultKind::TimedOut);
    assert_eq!(kind(connection.write("more".into()).await), Some(FaultKind::ConnectionLost));
    assert_eq!(kind(connection.read(1, None).await), Some(FaultKind::ConnectionLost));
    // The server sees the end, though the plugin still holds the connection.
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    assert!(!received.ends_with(b"more"));
}

#[tokio::test]
async fn a_client_certificate_is_presented() {
    let ours = authority();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(ours.roots.clone()), provider())
        .build()
        .unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = config
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![own.der().clone()], pkcs8(&key))
        .unwrap();
    let address = serve(Arc::new(config)).await;
    let mut grant = tls(&address, TlsMode::Require, None);
    grant.tls.client_certificate = Some(ClientCertificate {
        certificate: ours.client.0.clone(),
        key: secret(&ours.client.1),
    });
    assert!(endpoints(grant.clone()).settings("server").unwrap().client_certificate);
    let (mut connection, _) = start_tls(grant).await.unwrap();
    connection.write("hello".into()).await.unwrap();
    assert_eq!(connection.read(5, None).await.unwrap().unwrap(), "hello");
}

#[tokio::test]
async fn where_tls_is_required_hardly_anything_passes_in_clear() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&[7; 2000]).await.unwrap();
            tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
        }
    });
    let open = |mode| endpoints(tls(&address, mode, None));
    let mut connection = open(TlsMode::Require).open("server").await.unwrap();
    connection.write(vec![0; 512].into()).await.unwrap();
    assert_eq!(kind(connection.write("x".into()).await), Some(FaultKind::PermissionDenied));
    let mut connection = open(TlsMode::VerifyCa).open("server").await.unwrap();
    assert_eq!(connection.read(512, None).await.unwrap().unwrap().len(), 512);
    assert_eq!(kind(connection.read(1, None).await), Some(FaultKind::PermissionDenied));
    // What came before the handshake is never taken for what comes after it.
    assert_eq!(kind(connection.start_tls(&[]).await), Some(FaultKind::Protocol));
    let mut connection = open(TlsMode::Prefer).open("server").await.unwrap();
    connection.write(vec![0; 5000].into()).await.unwrap();
    assert_eq!(connection.read(2000, None).await.unwrap().unwrap().len(), 2000);
    let mut connection = open(TlsMode::Disable).open("server").await.unwrap();
    assert_eq!(kind(connection.start_tls(&[]).await), Some(FaultKind::Config));
}

#[tokio::test]
async fn addresses_are_tried_in_order() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let address = listener.local_addr().unwrap().to_string();
    let connection = endpoints(addresses(&[&closed, &address])).open("server").await.unwrap();
    assert_eq!(connection.address(), address);
    let fault = endpoints(addresses(&[&closed, "nonsense"])).open("server").await.unwrap_err();
    assert_eq!((fault.kind, fault.retryable, fault.causes.len()), (FaultKind::Unreachable, true, 2));
}

#[tokio::test]
async fn discovered_addresses_need_a_pattern() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut grant = addresses(&["127.0.0.9:1"]);
    assert_eq!(
        kind(endpoints(grant.clone()).open_address("server", &address).await),
        Some(FaultKind::NotGranted)
    );
    grant.discovered.push("127.0.0.*:*".to_owned());
    assert_eq!(endpoints(grant).open_address("server", &address).await.unwrap().address(), address);
}

#[tokio::test]
async fn a_deadline_leaves_the_connection_usable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut connection = endpoints(addresses(&[&listener.local_addr().unwrap().to_string()]))
        .open("server")
        .await
        .unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let begun = Instant::now();
    let fault = connection.read(10, Some(50)).await.unwrap_err();
    assert!(
        fault.kind == FaultKind::TimedOut && begun.elapsed() >= Duration::from_millis(50),
        "{fault}"
    );
    server.write_all(b"late").await.unwrap();
    assert_eq!(connection.read(10, Some(5000)).await.unwrap().unwrap(), "late");
    drop(server);
    assert_eq!(connection.read(10, None).await.unwrap(), None);
}

#[tokio::test]
async fn a_unix_socket_never_uses_tls() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let mut grant = EndpointGrant::new(Destination::Socket(path));
    grant.tls.mode = TlsMode::VerifyFull;
    let endpoints = endpoints(grant);
    assert_eq!(endpoints.settings("server").unwrap().tls, TlsMode::Disable);
    let mut connection = endpoints.open("server").await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    connection.write(vec![1; 4096].into()).await.unwrap();
    let mut received = vec![0; 4096];
    server.read_exact(&mut received).await.unwrap();
}
