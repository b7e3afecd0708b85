//! Connections over TCP and Unix sockets, with TLS by rustls.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
    time::Duration,
};

use bulkhead_sdk::{Error, ErrorKind, Result, endpoint::TlsSession, host::Connection};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use super::Grants;

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Gone,
}

struct Socket {
    stream: Mutex<Stream>,
    grants: Grants,
}

pub fn open(grants: &Grants) -> Result<Box<dyn Connection>> {
    let unreachable = |error: std::io::Error| Error::new(ErrorKind::Unreachable, format!("cannot connect to {}: {error}", grants.address));
    let stream = if grants.address.starts_with('/') {
        Stream::Unix(UnixStream::connect(&grants.address).map_err(unreachable)?)
    } else {
        Stream::Tcp(TcpStream::connect(&grants.address).map_err(unreachable)?)
    };
    Ok(Box::new(Socket { stream: Mutex::new(stream), grants: grants.clone() }))
}

impl Socket {
    fn client_config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(self.grants.authority.as_ref().unwrap()).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let builder = ClientConfig::builder().with_root_certificates(roots);
        match &self.grants.client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let chain = CertificateDer::pem_file_iter(&client.certificate).unwrap().map(Result::unwrap).collect();
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&client.key).unwrap()).unwrap()
            }
        }
    }
}

impl Connection for Socket {
    fn read(&self, max: u32, deadline: Option<u64>) -> Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; max as usize];
        let deadline = deadline.map(Duration::from_millis);
        let count = match &mut *self.stream.lock().unwrap() {
            Stream::Tcp(stream) => stream.set_read_timeout(deadline).and_then(|()| stream.read(&mut buffer)),
            Stream::Unix(stream) => stream.set_read_timeout(deadline).and_then(|()| stream.read(&mut buffer)),
            Stream::Tls(stream) => stream.sock.set_read_timeout(deadline).and_then(|()| stream.read(&mut buffer)),
            Stream::Gone => Ok(0),
        };
        let count = count.map_err(|error| Error::new(ErrorKind::ConnectionLost, "the connection broke").with_cause(error))?;
        buffer.truncate(count);
        Ok((count > 0).then_some(buffer))
    }
    fn write(&self, data: &[u8]) -> Result<()> {
        let written = match &mut *self.stream.lock().unwrap() {
            Stream::Tcp(stream) => stream.write_all(data),
            Stream::Unix(stream) => stream.write_all(data),
            Stream::Tls(stream) => stream.write_all(data).and_then(|()| stream.flush()),
            Stream::Gone => Err(std::io::ErrorKind::NotConnected.into()),
        };
        written.map_err(|error| Error::new(ErrorKind::ConnectionLost, "the connection broke").with_cause(error))
    }
    fn start_tls(&self) -> Result<TlsSession> {
        let mut stream = self.stream.lock().unwrap();
        let Stream::Tcp(socket) = std::mem::replace(&mut *stream, Stream::Gone) else { panic!("TLS over what isn't TCP") };
        let host = self.grants.address.rsplit_once(':').unwrap().0.to_owned();
        let client = ClientConnection::new(Arc::new(self.client_config()), ServerName::try_from(host).unwrap()).unwrap();
        let mut tls = Box::new(StreamOwned::new(client, socket));
        while tls.conn.is_handshaking() {
            let unreachable = |error| Error::new(ErrorKind::Unreachable, "TLS was not established").with_cause(error).with_retryable(false);
            tls.conn.complete_io(&mut tls.sock).map_err(unreachable)?;
        }
        let certificate = tls.conn.peer_certificates().unwrap()[0].to_vec();
        *stream = Stream::Tls(tls);
        Ok(TlsSession { protocol: "TLSv1.3".into(), peer_certificate: certificate })
    }
    fn shutdown(&self) -> Result<()> {
        Ok(())
    }
    fn address(&self) -> String {
        self.grants.address.clone()
    }
}
