//! A connection with real TLS for the harness, whose own `start-tls` leaves bytes in clear: a bridge that speaks TLS with the server.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    sync::Arc,
    time::Duration,
};

use bulkhead_sdk::{
    endpoint::{TlsMode, TlsSession},
    testing::Endpoint,
};
use bulkhead_test_support::postgres::{ClientCertificate, Cluster};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

/// How long a look for bytes from the server takes.
const POLL: Duration = Duration::from_millis(1);

/// The length of `SSLRequest`.
const REQUEST: usize = 8;

/// The server of `cluster` over TLS, verified; with a client certificate where there is one.
pub(crate) fn endpoint(cluster: &Cluster, client: Option<&ClientCertificate>) -> Endpoint {
    let certificates = cluster.certificates().unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(certificates.authority_certificate()).unwrap())
        .unwrap();
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let certificate = CertificateDer::from_pem_file(&client.certificate).unwrap();
            builder
                .with_client_auth_cert(vec![certificate], PrivateKeyDer::from_pem_file(&client.key).unwrap())
                .unwrap()
        }
    };
    let (address, config) = (cluster.address(), Arc::new(config));
    // What the plugin binds its authentication to must be what the server really shows.
    let certificate = handshake(&address, &config).conn.peer_certificates().unwrap()[0].to_vec();
    let session = TlsSession {
        protocol: "TLSv1.3".into(),
        peer_certificate: certificate,
    };
    Endpoint::scripted(move |plugin| bridge(plugin, &address, &config)).tls(TlsMode::VerifyFull, session)
}

fn handshake(address: &str, config: &Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    let mut answer = [0];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"S");
    let client = ClientConnection::new(config.clone(), ServerName::try_from("127.0.0.1").unwrap()).unwrap();
    let mut stream = StreamOwned::new(client, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    stream
}

/// Hands bytes to and fro until either side is gone.
fn bridge(mut plugin: UnixStream, address: &str, config: &Arc<ClientConfig>) {
    let mut request = [0; REQUEST];
    plugin.read_exact(&mut request).unwrap();
    let mut server = handshake(address, config);
    plugin.write_all(b"S").unwrap();
    plugin.set_nonblocking(true).unwrap();
    server.sock.set_read_timeout(Some(POLL)).unwrap();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match plugin.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => server.write_all(&buffer[..count]).and_then(|()| server.flush()).unwrap(),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        match server.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                plugin.set_nonblocking(false).unwrap();
                if plugin.write_all(&buffer[..count]).is_err() {
                    return;
                }
                plugin.set_nonblocking(true).unwrap();
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}
