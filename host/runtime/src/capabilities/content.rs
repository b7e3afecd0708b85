//! Bodies of objects on their way through a sink: read from parts that are never concatenated, written into one buffer of a known bound.

use std::sync::{Arc, Mutex, PoisonError};

use bulkhead_model::{Fault, FaultKind};
use bytes::{Bytes, BytesMut};

use super::{check_transfer, transfer_size};
use crate::ObjectBody;

/// The content of an object to store.
#[derive(Debug, Clone)]
pub struct ContentReader {
    body: ObjectBody,
    part: usize,
    offset: usize,
}

/// Where the content of an object goes that was asked for. Clones share the buffer: one is the plugin's, one the host's.
#[derive(Debug, Clone)]
pub struct ContentWriter {
    buffer: Arc<Mutex<BytesMut>>,
    limit: usize,
}

impl ContentReader {
    /// At the beginning of `body`.
    #[must_use]
    pub fn new(body: ObjectBody) -> Self {
        Self { body, part: 0, offset: 0 }
    }

    /// Bytes in all.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.body.parts.iter().map(|part| part.len() as u64).sum()
    }

    /// SHA-256 of the content.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.body.sha256
    }

    /// The next bytes; `None` at the end.
    pub fn read(&mut self, max: u32) -> Option<Bytes> {
        loop {
            let part = self.body.parts.get(self.part)?;
            if self.offset < part.len() {
                let end = part.len().min(self.offset + transfer_size(max));
                let data = part.slice(self.offset..end);
                self.offset = end;
                return Some(data);
            }
            (self.part, self.offset) = (self.part + 1, 0);
        }
    }

    /// Back to the beginning.
    pub fn rewind(&mut self) {
        (self.part, self.offset) = (0, 0);
    }
}

impl ContentWriter {
    /// Takes at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize, expected: usize) -> Self {
        Self {
            buffer: Arc::new(Mutex::new(BytesMut::with_capacity(expected.min(limit)))),
            limit,
        }
    }

    /// Appends.
    ///
    /// # Errors
    /// `limit` when it gets longer than what is taken.
    pub fn write(&self, data: &[u8]) -> Result<(), Fault> {
        check_transfer(data.len())?;
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        if data.len() > self.limit - buffer.len() {
            let message = format!("the content is longer than {} bytes, and no more is taken", self.limit);
            return Err(Fault::new(FaultKind::Limit, message));
        }
        buffer.extend_from_slice(data);
        Ok(())
    }

    /// What was written so far; the buffer is empty afterwards.
    #[must_use]
    pub fn take(&self) -> Bytes {
        std::mem::take(&mut *self.buffer.lock().unwrap_or_else(PoisonError::into_inner)).freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_in_order_and_again_after_rewind() {
        let parts = vec![Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"cde")];
        let mut reader = ContentReader::new(ObjectBody { parts, sha256: [0; 32] });
        assert_eq!(reader.size(), 5);
        for _ in 0..2 {
            let read: Vec<_> = std::iter::from_fn(|| reader.read(2)).collect();
            assert_eq!(read, ["ab", "cd", "e"]);
            reader.rewind();
        }
    }

    #[test]
    fn a_writer_takes_what_was_asked_for_and_no_more() {
        let writer = ContentWriter::new(4, 4);
        assert!(writer.write(b"abc").is_ok());
        assert_eq!(writer.write(b"de").map_err(|fault| fault.kind), Err(FaultKind::Limit));
        assert_eq!(writer.take(), "abc");
    }
}
