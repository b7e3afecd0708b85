//! What a channel is spoken over: [`Transport`].

use std::time::Duration;

use bulkhead_sdk::{Result, endpoint};

/// A connection on which TLS, where it is wanted, is already up (with `h2` offered). Errors are the SDK's: their kinds and hints are the host's, and
/// reach the operator unchanged.
pub trait Transport {
    /// Reads 1 to `max` bytes, waiting until `deadline` has passed; `None` at the end of the stream.
    ///
    /// # Errors
    /// `TimedOut`, after which the connection stays usable; `ConnectionLost`.
    fn read(&mut self, max: usize, deadline: Option<Duration>) -> Result<Option<Vec<u8>>>;

    /// Writes all of it.
    ///
    /// # Errors
    /// `ConnectionLost`, `TimedOut`.
    fn write(&mut self, data: &[u8]) -> Result<()>;

    /// Who is at the other end (`host:port`), for the `:authority` of requests and for messages.
    fn address(&self) -> String;
}

impl Transport for endpoint::Connection {
    fn read(&mut self, max: usize, deadline: Option<Duration>) -> Result<Option<Vec<u8>>> {
        self.read_bytes(max, deadline)
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.write_bytes(data)
    }

    fn address(&self) -> String {
        endpoint::Connection::address(self)
    }
}
