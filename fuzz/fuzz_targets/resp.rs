//! Replies of Redis: the decoder says the same of them whole and byte by byte, and a large string is never longer than what came.
#![no_main]

use std::time::Duration;

use bulkhead_resp::{Decoder, RespError, Session, Transport, Value, Violation};
use bulkhead_sdk::Result;
use libfuzzer_sys::fuzz_target;

/// A server that has said all that it will say.
struct Played<'a>(&'a [u8]);

impl Transport for Played<'_> {
    fn read(&mut self, max: usize, _: Option<Duration>) -> Result<Option<Vec<u8>>> {
        let (now, later) = self.0.split_at(self.0.len().min(max).min(64));
        self.0 = later;
        Ok((!now.is_empty()).then(|| now.to_vec()))
    }

    fn write(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// All replies until the end or until what cannot be one.
fn decode(stream: &[u8], piece: usize) -> (Vec<Value>, Option<Violation>) {
    let mut decoder = Decoder::default();
    let mut replies = Vec::new();
    for part in stream.chunks(piece.max(1)) {
        decoder.add(part.to_vec());
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

/// Reads the stream as one large string after the other.
fn strings(stream: &[u8]) -> usize {
    let mut session = Session::new(Played(stream));
    let mut bytes = 0;
    loop {
        match session.bulk() {
            Ok(Some(mut bulk)) => {
                while let Ok(Some(piece)) = bulk.next_piece() {
                    bytes += piece.len();
                }
            }
            Ok(None) | Err(RespError::Server(_)) => {}
            Err(_) => return bytes,
        }
    }
}

fuzz_target!(|stream: &[u8]| {
    assert_eq!(decode(stream, stream.len()), decode(stream, 1));
    assert!(strings(stream) <= stream.len());
});
