//! The server of the tests' own: [`Imitation`], over real HTTP on a loopback port, or called directly.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;

use super::{routes, store::Server};
use crate::{Error, Result};

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, …
    pub method: String,
    /// Path and query, as they came.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of that name, in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| &value[..])
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Beside the length, which is added.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Close the connection after so many bytes of the body.
    pub break_after: Option<usize>,
}

impl Answer {
    /// JSON.
    pub fn json(status: u16, body: impl ToString) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body: body.to_string().into_bytes(),
            break_after: None,
        }
    }

    /// CouchDB's own words for a failure.
    #[must_use]
    pub fn failure(status: u16, error: &str, reason: &str) -> Self {
        Self::json(status, serde_json::json!({ "error": error, "reason": reason }))
    }
}

/// Answers in the server's place, or changes what it would answer.
type Meddler = Box<dyn FnMut(&Request, &mut Server) -> Option<Answer> + Send>;

struct Shared {
    state: Mutex<Server>,
    credentials: Option<(String, String)>,
    /// The number of the session that is valid.
    session: Mutex<u64>,
    meddler: Mutex<Option<Meddler>>,
    requests: Mutex<Vec<String>>,
}

/// A server that answers as CouchDB 3.4 does.
#[derive(Clone)]
pub struct Imitation(Arc<Shared>);

impl std::fmt::Debug for Imitation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Imitation")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Imitation {
    /// Without databases. With a user and a password, it answers nobody else.
    #[must_use]
    pub fn new(credentials: Option<(&str, &str)>) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            credentials: credentials.map(|(user, password)| (user.to_owned(), password.to_owned())),
            session: Mutex::default(),
            meddler: Mutex::default(),
            requests: Mutex::default(),
        }))
    }

    /// Its databases.
    pub fn state(&self) -> MutexGuard<'_, Server> {
        lock(&self.0.state)
    }

    /// Lets `meddler` see each request first.
    pub fn meddle(&self, meddler: impl FnMut(&Request, &mut Server) -> Option<Answer> + Send + 'static) {
        *lock(&self.0.meddler) = Some(Box::new(meddler));
    }

    /// Nothing goes wrong any more.
    pub fn behave(&self) {
        *lock(&self.0.meddler) = None;
    }

    /// Whoever has a session has none any more.
    pub fn expire(&self) {
        *lock(&self.0.session) += 1;
    }

    /// "GET /ledger/doc1" and so on, since the last call.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.0.requests))
    }

    /// The answer to a request.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Answer {
        lock(&self.0.requests).push(format!("{} {}", request.method, request.path));
        let mut state = self.state();
        if let Some(answer) = lock(&self.0.meddler).as_mut().and_then(|meddler| meddler(request, &mut state)) {
            return answer;
        }
        if let Some((user, password)) = &self.0.credentials {
            if request.path == "/_session" {
                return self.begin_session(request, user, password);
            }
            let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            let is_basic = request.header("authorization") == Some(&format!("Basic {pair}"));
            if !is_basic && request.header("cookie") != Some(&self.cookie()) {
                return Answer::failure(401, "unauthorized", "You are not a server admin.");
            }
        }
        routes::answer(&mut state, request)
    }

    fn cookie(&self) -> String {
        format!("AuthSession=session-{}", lock(&self.0.session))
    }

    fn begin_session(&self, request: &Request, user: &str, password: &str) -> Answer {
        let login: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if login["name"] != user || login["password"] != password {
            return Answer::failure(401, "unauthorized", "Name or password is incorrect.");
        }
        let mut answer = Answer::json(200, serde_json::json!({ "ok": true, "name": user, "roles": ["_admin"] }));
        let cookie = format!("{}; Version=1; Max-Age=600; Path=/; HttpOnly", self.cookie());
        answer.headers.push(("Set-Cookie".to_owned(), cookie));
        answer
    }

    /// Listens on a loopback port, until the process ends; its URL.
    pub fn serve(&self) -> Result<String> {
        let server = self.clone();
        serve(move |request| server.answer(request))
    }
}

/// Listens on a loopback port, until the process ends, and lets `answer` answer; the URL.
pub(crate) fn serve(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("cannot bind a loopback port"))?;
    let address = listener.local_addr().map_err(Error::io("cannot read a socket's address"))?;
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            // As CouchDB does: else the end of an answer waits 40 ms for the acknowledgement of its beginning.
            let _ = stream.set_nodelay(true);
            std::thread::spawn(move || while exchange(&stream, &*answer).is_some() {});
        }
    });
    Ok(format!("http://{address}"))
}

/// One request and its answer; `None` where the connection is over.
fn exchange(stream: &TcpStream, answer: &dyn Fn(&Request) -> Answer) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request {
        method,
        path,
        headers,
        body: Vec::new(),
    };
    let length: u64 = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    reader.take(length).read_to_end(&mut request.body).ok()?;
    if request.header("content-encoding") == Some("gzip") {
        let sent = std::mem::take(&mut request.body);
        flate2::read::GzDecoder::new(&sent[..]).read_to_end(&mut request.body).ok()?;
    }
    // The answer to HEAD is that to GET without its body (RFC 9110, 9.3.2).
    let is_head = request.method == "HEAD";
    if is_head {
        request.method = "GET".to_owned();
    }
    let answer = answer(&request);
    let mut head = format!("HTTP/1.1 {} Answered\r\nContent-Length: {}\r\n", answer.status, answer.body.len());
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut output = stream;
    output.write_all(head.as_bytes()).ok()?;
    if is_head {
        return Some(());
    }
    let end = answer.break_after.unwrap_or(answer.body.len()).min(answer.body.len());
    output.write_all(&answer.body[..end]).ok()?;
    if answer.break_after.is_some() {
        let _ = stream.shutdown(std::net::Shutdown::Both);
        return None;
    }
    Some(())
}
