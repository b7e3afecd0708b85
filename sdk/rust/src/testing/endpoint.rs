//! Endpoints: a real socket of a local server, or a peer that the test plays on a thread of its own.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::lock;
use crate::{
    Error, ErrorKind, Result,
    endpoint::{Settings, TlsMode, TlsSession, Transport},
    host,
};

/// How long one look for data takes.
const POLL: Duration = Duration::from_millis(1);

/// A peer that the test plays: gets the connection, as a socket.
type Script = Arc<dyn Fn(UnixStream) + Send + Sync>;

#[derive(Clone)]
enum Peer {
    Tcp(String),
    Unix(PathBuf),
    Script(Script),
    Refuse,
}

/// An endpoint that a test grants.
#[derive(Clone)]
pub struct Endpoint {
    peer: Peer,
    tls: TlsMode,
    session: Option<TlsSession>,
    deadline: Duration,
}

impl Endpoint {
    fn new(peer: Peer) -> Self {
        Self {
            peer,
            tls: TlsMode::Disable,
            session: None,
            deadline: Duration::from_secs(30),
        }
    }

    /// A server at `host:port`.
    #[must_use]
    pub fn tcp(address: impl Into<String>) -> Self {
        Self::new(Peer::Tcp(address.into()))
    }

    /// A server at a Unix socket.
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::new(Peer::Unix(path.into()))
    }

    /// A peer that the test plays; `script` runs on a thread for each connection, which ends when it returns.
    #[must_use]
    pub fn scripted(script: impl Fn(UnixStream) + Send + Sync + 'static) -> Self {
        Self::new(Peer::Script(Arc::new(script)))
    }

    /// Nobody answers.
    #[must_use]
    pub fn unreachable() -> Self {
        Self::new(Peer::Refuse)
    }

    /// What the operator asks of TLS. `start-tls` then answers with `session`; the bytes stay in clear.
    #[must_use]
    pub fn tls(mut self, mode: TlsMode, session: TlsSession) -> Self {
        (self.tls, self.session) = (mode, Some(session));
        self
    }

    /// The host's own limit of a read without deadline; 30 seconds at first.
    #[must_use]
    pub fn limit(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    fn address(&self) -> String {
        match &self.peer {
            Peer::Tcp(address) => address.clone(),
            Peer::Unix(path) => path.display().to_string(),
            Peer::Script(_) => "scripted.test:1".to_owned(),
            Peer::Refuse => "unreachable.test:1".to_owned(),
        }
    }

    pub(super) fn settings(&self) -> Settings {
        let transport = if matches!(self.peer, Peer::Unix(_)) {
            Transport::Unix
        } else {
            Transport::Tcp
        };
        Settings {
            transport,
            tls: self.tls,
            client_certificate: false,
            addresses: vec![self.address()],
        }
    }

    pub(super) fn open(&self) -> Result<Connection> {
        let unreachable =
            |error: io::Error| Error::new(ErrorKind::Unreachable, format!("{} cannot be reached", self.address())).with_cause(error);
        let socket = match &self.peer {
            Peer::Tcp(address) => Socket::Tcp(TcpStream::connect(address).map_err(unreachable)?),
            Peer::Unix(path) => Socket::Unix(UnixStream::connect(path).map_err(unreachable)?),
            Peer::Script(script) => {
                let (ours, theirs) = UnixStream::pair()?;
                let script = Arc::clone(script);
                std::thread::spawn(move || script(theirs));
                Socket::Unix(ours)
            }
            Peer::Refuse => return Err(unreachable(io::ErrorKind::ConnectionRefused.into())),
        };
        let incoming = Mutex::new(Incoming {
            bytes: VecDeque::new(),
            ended: false,
        });
        Ok(Connection {
            socket,
            incoming,
            endpoint: self.clone(),
        })
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Endpoint({})", self.address())
    }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// What is there within `wait`; `None` where nothing came.
    fn receive(&self, into: &mut [u8], wait: Duration) -> io::Result<Option<usize>> {
        let received = match self {
            Self::Tcp(socket) => socket.set_read_timeout(Some(wait)).and_then(|()| (&*socket).read(into)),
            Self::Unix(socket) => socket.set_read_timeout(Some(wait)).and_then(|()| (&*socket).read(into)),
        };
        match received {
            Ok(count) => Ok(Some(count)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn send(&self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => (&*socket).write_all(data),
            Self::Unix(socket) => (&*socket).write_all(data),
        }
    }

    fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Self::Unix(socket) => socket.shutdown(Shutdown::Write),
        }
    }
}

/// What was received and not read yet.
struct Incoming {
    bytes: VecDeque<u8>,
    ended: bool,
}

/// An open connection.
pub(super) struct Connection {
    socket: Socket,
    incoming: Mutex<Incoming>,
    endpoint: Endpoint,
}

impl Connection {
    /// Whether a read would not wait; looks for at most `wait`.
    fn is_ready(&self, wait: Duration) -> Result<bool> {
        let mut incoming = lock(&self.incoming);
        if incoming.bytes.is_empty() && !incoming.ended {
            let mut buffer = [0; 64 << 10];
            match self.socket.receive(&mut buffer, wait) {
                Ok(Some(0)) => incoming.ended = true,
                Ok(Some(count)) => incoming.bytes.extend(&buffer[..count]),
                Ok(None) => return Ok(false),
                Err(error) => return Err(Error::new(ErrorKind::ConnectionLost, "the connection broke").with_cause(error)),
            }
        }
        Ok(true)
    }
}

impl host::Connection for Connection {
    fn read(&self, max: u32, deadline: Option<u64>) -> Result<Option<Vec<u8>>> {
        let deadline = deadline.map_or(self.endpoint.deadline, Duration::from_millis);
        let begun = Instant::now();
        while !self.is_ready(POLL)? {
            if begun.elapsed() >= deadline {
                return Err(Error::new(
                    ErrorKind::TimedOut,
                    format!("{} said nothing for {deadline:?}", self.address()),
                ));
            }
        }
        let mut incoming = lock(&self.incoming);
        let count = incoming.bytes.len().min(max as usize);
        let data: Vec<u8> = incoming.bytes.drain(..count).collect();
        Ok((!data.is_empty()).then_some(data))
    }

    fn write(&self, data: &[u8]) -> Result<()> {
        let sent = self.socket.send(data);
        sent.map_err(|error| Error::new(ErrorKind::ConnectionLost, "the connection broke").with_cause(error))
    }

    fn start_tls(&self, _protocols: &[&str]) -> Result<TlsSession> {
        if !lock(&self.incoming).bytes.is_empty() {
            return Err(Error::protocol("the peer sent bytes ahead of TLS"));
        }
        self.endpoint
            .session
            .clone()
            .ok_or_else(|| Error::new(ErrorKind::Unreachable, "this endpoint of a test speaks no TLS"))
    }

    fn shutdown(&self) -> Result<()> {
        Ok(self.socket.shutdown()?)
    }

    fn address(&self) -> String {
        self.endpoint.address()
    }
}

/// Positions of the connections that can be read.
pub(super) fn wait_any(connections: &[&Connection], deadline: Option<u64>) -> Result<Vec<u32>> {
    let begun = Instant::now();
    loop {
        // A connection that broke can be read: the read says so.
        let ready = connections
            .iter()
            .zip(0..)
            .filter(|(connection, _)| connection.is_ready(POLL).unwrap_or(true));
        let ready: Vec<u32> = ready.map(|(_, position)| position).collect();
        let is_late = deadline.is_some_and(|deadline| begun.elapsed() >= Duration::from_millis(deadline));
        if !ready.is_empty() || is_late {
            return Ok(ready);
        }
    }
}
