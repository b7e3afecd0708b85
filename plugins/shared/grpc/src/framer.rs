//! Messages out of the bytes of a stream: [`Framer`]. Each has a prefix of five bytes, a flag for compression and its length.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::GrpcError;

const PREFIX: usize = 5;

/// Puts messages together.
#[derive(Debug)]
pub(crate) struct Framer {
    buffer: BytesMut,
    limit: usize,
}

impl Framer {
    /// One that refuses messages of more than `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            limit,
        }
    }

    /// Adds what arrived.
    pub(crate) fn feed(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// The next whole message.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, GrpcError> {
        let Some((&[compressed, a, b, c, d], _)) = self.buffer.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        if compressed != 0 {
            return Err(GrpcError::Compressed);
        }
        let size = u32::from_be_bytes([a, b, c, d]);
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        if length > self.limit {
            return Err(GrpcError::MessageTooLarge { size, limit: self.limit });
        }
        if self.buffer.len() - PREFIX < length {
            self.buffer.reserve(PREFIX + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Whether nothing is left over.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// `message` with its prefix.
pub(crate) fn frame(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = Vec::with_capacity(PREFIX + length);
    frame.push(0);
    // Requests are ours, and far below 4 GiB.
    frame.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    message.encode_raw(&mut frame);
    frame.into()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn messages_come_out_however_the_bytes_come_in() {
        let stream = b"\0\0\0\0\x03abc\0\0\0\0\0\0\0\0\0\x02de";
        for piece in 1..=stream.len() {
            let mut framer = Framer::new(16);
            let mut messages = Vec::new();
            for part in stream.chunks(piece) {
                framer.feed(part);
                while let Some(message) = framer.next().unwrap() {
                    messages.push(message);
                }
            }
            assert_eq!(messages, [&b"abc"[..], b"", b"de"], "in pieces of {piece}");
            assert!(framer.is_empty());
        }
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_anything_is_kept_for_it() {
        let mut framer = Framer::new(16);
        framer.feed(b"\0\xff\xff\xff\xff");
        assert!(matches!(
            framer.next(),
            Err(GrpcError::MessageTooLarge { size: u32::MAX, limit: 16 })
        ));
    }

    #[test]
    fn a_compressed_message_is_refused() {
        let mut framer = Framer::new(16);
        framer.feed(b"\x01\0\0\0\0");
        assert!(matches!(framer.next(), Err(GrpcError::Compressed)));
    }
}
