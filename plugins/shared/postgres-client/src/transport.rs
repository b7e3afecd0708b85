//! What a session is spoken over: [`Transport`].

use std::time::Duration;

use bulkhead_sdk::{Result, endpoint};

/// A connection that can become a TLS connection. Errors are the SDK's: their kinds and hints are the host's, and reach the operator unchanged.
pub trait Transport {
    /// Reads 1 to `max` bytes; `None` at the end of the stream.
    fn read(&mut self, max: usize, deadline: Option<Duration>) -> Result<Option<Vec<u8>>>;
    /// Writes all of it.
    fn write(&mut self, data: &[u8]) -> Result<()>;
    /// Negotiates TLS as the operator's settings say; returns the server's certificate (DER).
    fn start_tls(&mut self) -> Result<Vec<u8>>;
}

impl Transport for endpoint::Connection {
    fn read(&mut self, max: usize, deadline: Option<Duration>) -> Result<Option<Vec<u8>>> {
        self.read_bytes(max, deadline)
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.write_bytes(data)
    }

    fn start_tls(&mut self) -> Result<Vec<u8>> {
        Ok(endpoint::Connection::start_tls(self)?.peer_certificate)
    }
}
