//! Network connections to endpoints that the operator named. The host resolves and dials; addresses, TLS roots, client certificates and server name
//! are the operator's.
//!
//! ```no_run
//! use std::{io::Write as _, time::Duration};
//! use bulkhead_sdk::{Result, endpoint};
//!
//! fn ping() -> Result<Vec<u8>> {
//!     let mut connection = endpoint::open("server")?;
//!     if endpoint::settings("server")?.tls != endpoint::TlsMode::Disable {
//!         connection.start_tls()?;
//!     }
//!     connection.write_all(b"PING\r\n")?;
//!     Ok(connection.read_bytes(64 << 10, Some(Duration::from_secs(10)))?.unwrap_or_default())
//! }
//! ```

use std::{
    io::{self, Read, Write},
    net::IpAddr,
    time::Duration,
};

use crate::{
    Result,
    host::{self, MAX_TRANSFER},
    snapshot::transfer,
};

/// What the operator's `tls.mode` asks for. The words and their meaning are libpq's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsMode {
    /// Never TLS.
    Disable,
    /// TLS where the server offers it, in clear otherwise.
    Prefer,
    /// TLS, any certificate.
    Require,
    /// TLS, certificate signed by the configured authority.
    VerifyCa,
    /// TLS, certificate signed by the configured authority and issued for the server's name.
    VerifyFull,
}

/// How an endpoint is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// A Unix socket.
    Unix,
}

/// The operator's settings of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// TCP or Unix.
    pub transport: Transport,
    /// What is asked of TLS.
    pub tls: TlsMode,
    /// Whether a client certificate is configured.
    pub client_certificate: bool,
    /// The operator's addresses in order (`host:port`, or a socket's path), as written.
    pub addresses: Vec<String>,
}

impl Settings {
    /// Whether nothing leaves this machine: a Unix socket, or loopback addresses only.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.transport == Transport::Unix || self.addresses.iter().all(|address| is_local(address))
    }
}

/// Whether an address (`host:port`, or a socket's path) is this machine's own.
#[must_use]
pub fn is_local(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    address.starts_with('/') || host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A TLS session that was negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSession {
    /// `TLSv1.3`
    pub protocol: String,
    /// The server's certificate (DER): what `tls-server-end-point` channel binding hashes (RFC 5929).
    pub peer_certificate: Vec<u8>,
}

/// An open connection. [`Read`] and [`Write`] are unbuffered; `Read` waits until the connection's own [deadline](Connection::set_deadline).
pub struct Connection {
    inner: Box<dyn host::Connection>,
    deadline: Option<Duration>,
}

impl Connection {
    /// Reads what is there, 1 to `max` bytes (at most 1 MiB), without a copy, waiting until `deadline` has passed (`None`: the host's own limit).
    /// `None` is the end of the stream.
    ///
    /// # Errors
    /// `TimedOut` (the connection stays usable), `ConnectionLost`.
    pub fn read_bytes(&mut self, max: usize, deadline: Option<Duration>) -> Result<Option<Vec<u8>>> {
        self.inner.read(transfer(max), deadline.map(milliseconds))
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// `ConnectionLost`, `TimedOut`.
    pub fn write_bytes(&mut self, data: &[u8]) -> Result<()> {
        data.chunks(MAX_TRANSFER).try_for_each(|part| self.inner.write(part))
    }

    /// How long a [`Read::read`] waits; `None`, as at first, leaves it to the host's own limit.
    pub fn set_deadline(&mut self, deadline: Option<Duration>) {
        self.deadline = deadline;
    }

    /// Negotiates TLS now, as the operator's settings say; nothing may be unread.
    ///
    /// # Errors
    /// `Unreachable` with the reason that TLS gave.
    pub fn start_tls(&mut self) -> Result<TlsSession> {
        self.inner.start_tls(&[])
    }

    /// As [`start_tls`](Self::start_tls), and offers these application protocols in order of preference (ALPN, RFC 7301: `h2`): at most 8, each of 1 to
    /// 255 bytes. Servers that speak several protocols at one port, HTTP/2 among them, choose by it.
    ///
    /// # Errors
    /// As [`start_tls`](Self::start_tls).
    pub fn start_tls_offering(&mut self, protocols: &[&str]) -> Result<TlsSession> {
        self.inner.start_tls(protocols)
    }

    /// Says that nothing more will be written.
    ///
    /// # Errors
    /// `ConnectionLost`.
    pub fn shutdown(&mut self) -> Result<()> {
        self.inner.shutdown()
    }

    /// The address that was dialled, as the operator wrote it.
    #[must_use]
    pub fn address(&self) -> String {
        self.inner.address()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Connection({})", self.address())
    }
}

impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let data = self.read_bytes(into.len(), self.deadline)?.unwrap_or_default();
        into[..data.len()].copy_from_slice(&data);
        Ok(data.len())
    }
}

impl Write for Connection {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_bytes(data)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whole milliseconds, at least 1 for what isn't zero: a deadline is never turned into "at once" by rounding.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// The settings of a granted endpoint.
///
/// # Errors
/// `NotGranted`.
pub fn settings(name: &str) -> Result<Settings> {
    host::with_host(|host| host.endpoint_settings(name))
}

/// Connects to an endpoint: its addresses in order, until one answers.
///
/// # Errors
/// `NotGranted`, `Unreachable`, `Limit` (open connections).
pub fn open(name: &str) -> Result<Connection> {
    host::with_host(|host| host.open_endpoint(name)).map(|inner| Connection { inner, deadline: None })
}

/// Connects to one address (`host:port`): one of the operator's, or one that the source discovered and the grant's `discovered` patterns match.
///
/// # Errors
/// As [`open`].
pub fn open_address(name: &str, address: &str) -> Result<Connection> {
    host::with_host(|host| host.open_address(name, address)).map(|inner| Connection { inner, deadline: None })
}

/// Waits until at least one connection can be read without blocking (data, end or error) and returns their positions; empty when `deadline` has
/// passed.
///
/// # Errors
/// `Cancelled`.
pub fn wait_any(connections: &[&Connection], deadline: Option<Duration>) -> Result<Vec<usize>> {
    let inner: Vec<&dyn host::Connection> = connections.iter().map(|connection| &*connection.inner).collect();
    let ready = host::with_host(|host| host.wait_any(&inner, deadline.map(milliseconds)))?;
    Ok(ready.into_iter().map(|position| position as usize).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_own_addresses_are_local() {
        for address in ["127.0.0.1:5432", "127.8.9.1:1", "[::1]:6379", "localhost:2379", "/run/redis.sock"] {
            assert!(is_local(address), "{address}");
        }
        for address in [
            "127.example.com:1",
            "[fe80::1]:6379",
            "localhost.example.com:1",
            "10.0.0.1:5432",
            "",
        ] {
            assert!(!is_local(address), "{address}");
        }
    }

    #[test]
    fn a_deadline_is_not_rounded_to_at_once() {
        assert_eq!(milliseconds(Duration::from_micros(10)), 1);
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::from_millis(1500)), 1500);
        assert_eq!(milliseconds(Duration::MAX), u64::MAX);
    }
}
