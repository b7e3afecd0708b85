//! The readers of replies, for tests and for the fuzz target `resp`, which includes this file. They get a stream in the pieces that somebody else cuts it into.

use std::time::Duration;

use bulkhead_resp::{Decoder, RespError, Session, Transport, Value, Violation};
use bulkhead_sdk::Result;

/// All replies until the end or until what cannot be one.
pub(crate) fn decode<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> (Vec<Value>, Option<Violation>) {
    let mut decoder = Decoder::default();
    let mut replies = Vec::new();
    for piece in pieces {
        decoder.add(piece.to_vec());
        loop {
            match decoder.next_reply() {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(violation) => return (replies, Some(violation)),
            }
        }
    }
    (replies, None)
}

/// A connection over which a server has said all that it will say.
struct Played<'b, C> {
    rest: &'b [u8],
    /// How much of so much comes with one read: something, unless nothing is left.
    cut: C,
}

impl<C: FnMut(usize) -> usize> Transport for Played<'_, C> {
    fn read(&mut self, max: usize, _: Option<Duration>) -> Result<Option<Vec<u8>>> {
        let (now, later) = self.rest.split_at((self.cut)(self.rest.len()).min(max));
        self.rest = later;
        Ok((!now.is_empty()).then(|| now.to_vec()))
    }

    fn write(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// Reads a stream as a session does that expects one large string after the other; the bytes in them, which are no more than came.
pub(crate) fn read_strings(stream: &[u8], cut: impl FnMut(usize) -> usize) {
    let mut session = Session::new(Played { rest: stream, cut });
    let mut bytes = 0;
    loop {
        match session.bulk() {
            Ok(Some(mut bulk)) => {
                while let Ok(Some(piece)) = bulk.next_piece() {
                    bytes += piece.len();
                }
            }
            Ok(None) | Err(RespError::Server(_)) => {}
            Err(_) => break,
        }
    }
    assert!(bytes <= stream.len(), "{bytes} bytes of {}", stream.len());
}
