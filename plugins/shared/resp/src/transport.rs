//! What a session is spoken over: [`Transport`].

use std::time::Duration;

use bulkhead_sdk::{Result, endpoint};

/// A connection. Errors are the SDK's: their kinds and hints are the host's, and reach the operator unchanged.
pub trait Transport {
    /// Reads 1 to `max` bytes; `None` at the end of the stream.
    ///
    /// # Errors
    /// `TimedOut`, `ConnectionLost`.
    fn read(&mut self, max: usize, deadline: Option<Duration>) -> Result<Option<Vec<u8>>>;
    /// Writes all of it.
    ///
    /// # Errors
    /// `ConnectionLost`.
    fn write(&mut self, data: &[u8]) -> Result<()>;
}

impl Transport for endpoint::Connection {
    fn read(&mut self, max: usize, deadline: Option<Duration>) -> Result<Option<Vec<u8>>> {
        self.read_bytes(max, deadline)
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.write_bytes(data)
    }
}
