//! Requests that fail on their way: [`Proxy`].

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::{Error, Result};

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It is answered with this status, these headers ("name: value") and this body, and does not reach the server.
    Answer(u16, Vec<String>, String),
    /// The connection ends after so many bytes of the request's body.
    CutRequest(usize),
    /// The server answers, and the connection ends after so many bytes of the whole answer, head included.
    CutAnswer(usize),
    /// The bit 0 of this byte of the request's body is flipped.
    FlipRequest(usize),
    /// The bit 0 of this byte, counted from the end of the answer, is flipped.
    FlipAnswer(usize),
    /// It is taken and never answered; the connection stays for as long as the client has it open.
    Silence,
}

type Choice = dyn Fn(&str) -> Option<Fault> + Send + Sync;

struct Shared {
    server: u16,
    choose: Mutex<Arc<Choice>>,
    heads: Mutex<Vec<String>>,
    ended: AtomicBool,
}

/// A proxy in front of a server on 127.0.0.1. It carries one request a connection, so that the server's answer ends with its connection.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Proxy({})", self.port)
    }
}

impl Proxy {
    /// Starts one in front of `server`, a port; it lets everything pass.
    pub fn start(server: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("cannot bind a loopback port"))?;
        let port = listener.local_addr().map_err(Error::io("cannot read a socket's address"))?.port();
        let shared = Arc::new(Shared {
            server,
            choose: Mutex::new(Arc::new(|_| None)),
            heads: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let ours = shared.clone();
        let listener = std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if ours.ended.load(Ordering::SeqCst) {
                    return;
                }
                let shared = ours.clone();
                // A connection that breaks is what is wanted here.
                std::thread::spawn(move || drop(carry(client, &shared)));
            }
        });
        Ok(Self {
            port,
            shared,
            listener: Some(listener),
        })
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on, `choose` says what happens to a request, by its first line ("PUT /bucket/key HTTP/1.1").
    pub fn inject(&self, choose: impl Fn(&str) -> Option<Fault> + Send + Sync + 'static) {
        *self.shared.choose.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(choose);
    }

    /// The next `count` requests whose first line contains `what` fail so, and no others.
    pub fn inject_times(&self, what: &str, count: usize, fault: Fault) {
        let (what, left) = (what.to_owned(), Mutex::new(count));
        self.inject(move |line| {
            let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
            if *left == 0 || !line.contains(&what) {
                return None;
            }
            *left -= 1;
            Some(fault.clone())
        });
    }

    /// First lines of all requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.heads().iter().map(|head| first_line(head).to_owned()).collect()
    }

    /// All requests so far, without their bodies.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the listener up.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(listener) = self.listener.take() {
            // A panic in it has failed the test already.
            let _ = listener.join();
        }
    }
}

/// Carries one request and its answer.
fn carry(client: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut request = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if request.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let first = first_line(&head);
    shared.heads.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
    let choose = shared.choose.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let fault = choose(first);
    let mut body = vec![0; content_length(&head)];
    if let Some(Fault::CutRequest(bytes)) = fault {
        let bytes = bytes.min(body.len());
        request.read_exact(&mut body[..bytes])?;
        return client.shutdown(Shutdown::Both);
    }
    request.read_exact(&mut body)?;
    let mut client = client;
    if let Some(Fault::Answer(status, headers, text)) = &fault {
        return answer(&mut client, first, *status, headers, text);
    }
    if let Some(Fault::Silence) = fault {
        // Ends with the client.
        return io::copy(&mut request, &mut io::sink()).map(drop);
    }
    if let Some(Fault::FlipRequest(byte)) = fault {
        flip(&mut body, byte);
    }
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.server))?;
    let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    server.write_all(head.as_bytes())?;
    server.write_all(&body)?;
    let mut whole = Vec::new();
    server.read_to_end(&mut whole)?;
    match fault {
        Some(Fault::CutAnswer(bytes)) => whole.truncate(bytes),
        Some(Fault::FlipAnswer(byte)) => {
            let length = whole.len();
            flip(&mut whole, length.saturating_sub(byte));
        }
        _ => {}
    }
    client.write_all(&whole)?;
    client.shutdown(Shutdown::Both)
}

fn first_line(head: &str) -> &str {
    head.lines().next().unwrap_or_default()
}

fn answer(client: &mut TcpStream, request: &str, status: u16, headers: &[String], text: &str) -> io::Result<()> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let body = if request.starts_with("HEAD ") { "" } else { text };
    let head = format!(
        "HTTP/1.1 {status} Injected\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body.as_bytes())?;
    client.shutdown(Shutdown::Both)
}

fn content_length(head: &str) -> usize {
    let value = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    value.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

fn flip(bytes: &mut [u8], position: usize) {
    if let Some(byte) = bytes.get_mut(position) {
        *byte ^= 1;
    }
}
