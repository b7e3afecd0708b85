//! The server on the network: HTTP/1.1 over TLS, also through a `CONNECT`, and what can go wrong on the way ([`Fault`]).
//!
//! A client that knows no other name than Google's reaches it as its proxy: whatever it wants to be connected to, it gets this server, whose certificate is
//! in these names too.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::state::Drive;
use crate::couchdb::{Answer, Request};
use crate::postgres::Certificates;
use crate::{Error, Result, Scratch};

/// Names that the certificate is for.
const NAMES: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:www.googleapis.com,DNS:oauth2.googleapis.com";

/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It is answered so, and nothing is done.
    Answer(Answer),
    /// The connection ends after so many bytes of its body. Of an upload, what has come is kept.
    CutRequest(usize),
    /// It is carried out, and the connection ends before the answer.
    Silence,
    /// It is carried out, and the connection ends after so many bytes of the answer's body.
    CutAnswer(usize),
    /// The bit 0 of this byte of its body is flipped.
    FlipRequest(usize),
    /// The bit 0 of this byte of the answer's body is flipped.
    FlipAnswer(usize),
}

impl Fault {
    /// A refusal in Drive's words.
    #[must_use]
    pub fn refusal(status: u16, reason: &str) -> Self {
        Self::Answer(*super::routes::refuse(status, reason, &format!("Injected: {reason}.")))
    }

    /// A failure that asks for a pause of so many seconds.
    #[must_use]
    pub fn pause(status: u16, seconds: u64) -> Self {
        let mut answer = *super::routes::refuse(status, "backendError", "Backend Error");
        answer.headers.push(("Retry-After".to_owned(), seconds.to_string()));
        Self::Answer(answer)
    }

    /// The answer, where there is no connection that could end.
    pub(super) fn carry_out(&self, drive: &Drive, request: &Request) -> Answer {
        let broken = || *super::routes::refuse(503, "backendError", "The connection would end here.");
        match self {
            Self::CutRequest(bytes) => {
                cut_request(drive, request, *bytes);
                broken()
            }
            Self::Silence => {
                let _ = drive.route(request);
                broken()
            }
            Self::CutAnswer(bytes) => Answer {
                break_after: Some(*bytes),
                ..drive.route(request)
            },
            other => other.on_the_way(drive, request),
        }
    }

    /// The answer to a request that has come whole.
    fn on_the_way(&self, drive: &Drive, request: &Request) -> Answer {
        match self {
            Self::Answer(answer) => answer.clone(),
            Self::FlipRequest(position) => {
                let mut request = request.clone();
                flip(&mut request.body, *position);
                drive.route(&request)
            }
            Self::FlipAnswer(position) => {
                let mut answer = drive.route(request);
                flip(&mut answer.body, *position);
                answer
            }
            _ => drive.route(request),
        }
    }
}

/// What has come of an upload is kept; half of anything else is nothing.
fn cut_request(drive: &Drive, request: &Request, bytes: usize) {
    if request.path.contains("upload_id=") {
        let mut request = request.clone();
        request.body.truncate(bytes);
        let _ = drive.route(&request);
    }
}

fn flip(bytes: &mut [u8], position: usize) {
    if let Some(byte) = bytes.get_mut(position) {
        *byte ^= 1;
    }
}

/// A server that listens, until the process ends.
#[derive(Debug)]
pub struct Served {
    scratch: Scratch,
    port: u16,
}

impl Served {
    /// `https://localhost:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As a proxy: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn proxy(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where access tokens are to be had.
    #[must_use]
    pub fn token_url(&self) -> String {
        format!("{}/token", self.url())
    }

    /// The certificate of the authority that signed the server's, PEM.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.scratch.join("ca.crt")
    }
}

impl Drive {
    /// Listens on a loopback port, until the process ends.
    pub fn serve(&self) -> Result<Served> {
        let scratch = Scratch::new()?;
        let certificates = Certificates::for_names(scratch.path().to_owned(), NAMES)?;
        let unusable = |error: &dyn std::fmt::Display| Error::Unusable(format!("no TLS: {error}"));
        let chain: std::result::Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificates.server_certificate())
            .map_err(|error| unusable(&error))?
            .collect();
        let key = PrivateKeyDer::from_pem_file(certificates.server_key()).map_err(|error| unusable(&error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .with_no_client_auth()
            .with_single_cert(chain.map_err(|error| unusable(&error))?, key)
            .map_err(|error| unusable(&error))?;
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("cannot bind a loopback port"))?;
        let port = listener.local_addr().map_err(Error::io("cannot read a socket's address"))?.port();
        let drive = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (drive, config) = (drive.clone(), config.clone());
                // A connection that breaks is nothing to speak of here.
                std::thread::spawn(move || drop(converse(stream, &drive, config)));
            }
        });
        Ok(Served { scratch, port })
    }
}

fn converse(mut stream: TcpStream, drive: &Drive, config: Arc<ServerConfig>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut first = [0];
    stream.peek(&mut first)?;
    if first[0] != HANDSHAKE {
        connect(&mut stream)?;
    }
    let raw = stream.try_clone()?;
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = BufReader::with_capacity(64 << 10, StreamOwned::new(connection, stream));
    while exchange(&mut stream, drive)? {}
    raw.shutdown(Shutdown::Both)
}

/// Says yes to a `CONNECT`, byte by byte, since what follows its head is for TLS.
fn connect(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    if !head.starts_with(b"CONNECT ") {
        stream.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        return Err(io::ErrorKind::InvalidInput.into());
    }
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
}

/// One request and its answer; `false` where the connection is over.
fn exchange<S: Read + Write>(stream: &mut BufReader<S>, drive: &Drive) -> io::Result<bool> {
    let Some(mut request) = head(stream)? else { return Ok(false) };
    let fault = drive.choose(&request);
    if request
        .header("expect")
        .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    {
        stream.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if let Some(Fault::CutRequest(bytes)) = fault {
        let length = content_length(&request).min(bytes as u64);
        stream.by_ref().take(length).read_to_end(&mut request.body)?;
        cut_request(drive, &request, bytes);
        return Ok(false);
    }
    request.body = body(stream, &request)?;
    std::thread::sleep(drive.latency());
    let answer = match &fault {
        None => drive.route(&request),
        Some(Fault::Silence) => {
            let _ = drive.route(&request);
            return Ok(false);
        }
        Some(Fault::CutAnswer(bytes)) => Answer {
            break_after: Some(*bytes),
            ..drive.route(&request)
        },
        Some(fault) => fault.on_the_way(drive, &request),
    };
    write(stream.get_mut(), &request, &answer)
}

fn head<S: Read>(stream: &mut BufReader<S>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Some(Request {
        method,
        path,
        headers,
        body: Vec::new(),
    }))
}

fn content_length(request: &Request) -> u64 {
    request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)
}

/// The body, of a length that was told or in chunks.
fn body<S: Read>(stream: &mut BufReader<S>, request: &Request) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if request.header("transfer-encoding") != Some("chunked") {
        let length = content_length(request);
        stream.by_ref().take(length).read_to_end(&mut body)?;
        // A body that breaks off by itself is as one that was cut.
        return Ok(body);
    }
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim(), 16).map_err(|_| io::ErrorKind::InvalidData)?;
        stream.by_ref().take(length).read_to_end(&mut body)?;
        stream.read_line(&mut String::new())?;
        if length == 0 {
            return Ok(body);
        }
    }
}

fn write(stream: &mut impl Write, request: &Request, answer: &Answer) -> io::Result<bool> {
    let mut head = format!("HTTP/1.1 {} Answered\r\n", answer.status);
    if answer.status != 204 {
        head.push_str(&format!("Content-Length: {}\r\n", answer.body.len()));
    }
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    let end = answer.break_after.unwrap_or(answer.body.len()).min(answer.body.len());
    stream.write_all(&answer.body[..end])?;
    stream.flush()?;
    if answer.break_after.is_some() {
        // What was written is to arrive before the connection ends.
        std::thread::sleep(Duration::from_millis(20));
        return Ok(false);
    }
    Ok(request
        .header("connection")
        .is_none_or(|value| !value.eq_ignore_ascii_case("close")))
}
