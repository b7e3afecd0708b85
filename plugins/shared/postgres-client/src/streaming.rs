//! Streaming the write-ahead log: what a server sends after `START_REPLICATION` ([`StreamDecoder`]) and what it wants to hear
//! ([`Session::report_position`]).
//!
//! Source: PostgreSQL's documentation, chapter "Streaming Replication Protocol". Each message travels in a `CopyData`: `w` is log, `k` a sign of life of
//! the server, `r` the client's position. Of `w` only the header is ever put together; its bytes are handed on as they arrive.

use bulkhead_sdk::types::Timestamp;

use crate::{ClientError, CopyEvent, Lsn, Session, TimelineId, Transport, wire::Fields};

/// Kind, start and end of the log, and the server's clock.
const DATA_HEADER: usize = 1 + 8 + 8 + 8;
/// Kind, end of the log, the server's clock, and whether an answer is wanted.
const KEEPALIVE: usize = 1 + 8 + 8 + 1;
/// PostgreSQL counts microseconds from 2000-01-01T00:00:00Z; this many seconds lie between that and 1970.
const EPOCH: i64 = 946_684_800;

const COMMAND: &str = "START_REPLICATION";

/// What a server says in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamMessage<'a> {
    /// Log, or a part of it.
    Data {
        /// Where its first byte belongs.
        start: Lsn,
        /// As many as have arrived, at least one.
        bytes: &'a [u8],
        /// How far the server's log goes.
        end: Lsn,
        /// The server's clock when it sent this.
        sent: Timestamp,
    },
    /// The server has nothing to send, and is there.
    Keepalive {
        /// How far the server's log goes.
        end: Lsn,
        /// The server's clock when it sent this.
        sent: Timestamp,
        /// Whether the server wants to hear [`Session::report_position`] now: it is about to give the client up, or waits for it in order to shut down.
        reply: bool,
    },
}

/// Puts the messages of a stream together from pieces of `CopyData`.
#[derive(Debug, Default)]
pub struct StreamDecoder {
    header: Vec<u8>,
    /// Bytes of log in this message that were handed on.
    passed: u64,
}

impl StreamDecoder {
    /// Takes the next piece, as [`CopyEvent::CopyData`] gives it. `None` where the piece ends before it says anything.
    pub fn take<'a>(&mut self, bytes: &'a [u8], first: bool, last: bool) -> Result<Option<StreamMessage<'a>>, ClientError> {
        if first {
            self.header.clear();
            self.passed = 0;
        }
        let rest = self.complete_header(bytes)?;
        let message = match self.header.first() {
            Some(b'w') if self.header.len() == DATA_HEADER => self.data(rest)?,
            Some(b'k') if self.header.len() == KEEPALIVE => Some(self.keepalive()?),
            _ if last => return Err(lacks("whole messages")),
            _ => None,
        };
        Ok(message)
    }

    /// Fills the header up; what is left of the piece.
    fn complete_header<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ClientError> {
        let kind = self.header.first().or(bytes.first());
        let length = match kind {
            None => return Ok(bytes),
            Some(b'w') => DATA_HEADER,
            Some(b'k') => KEEPALIVE,
            Some(_) => return Err(lacks("messages of a known type")),
        };
        let (header, rest) = bytes.split_at(bytes.len().min(length - self.header.len()));
        self.header.extend_from_slice(header);
        Ok(rest)
    }

    fn data<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<StreamMessage<'a>>, ClientError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut fields = Fields::new(&self.header[1..]);
        let malformed = |_| lacks("whole messages");
        let start = fields.u64().map_err(malformed)?;
        let end = Lsn(fields.u64().map_err(malformed)?);
        let sent = timestamp(fields.u64().map_err(malformed)?);
        let start = Lsn(start.checked_add(self.passed).ok_or_else(|| lacks("possible log positions"))?);
        self.passed += bytes.len() as u64;
        Ok(Some(StreamMessage::Data { start, bytes, end, sent }))
    }

    fn keepalive(&self) -> Result<StreamMessage<'static>, ClientError> {
        let mut fields = Fields::new(&self.header[1..]);
        let malformed = |_| lacks("whole messages");
        Ok(StreamMessage::Keepalive {
            end: Lsn(fields.u64().map_err(malformed)?),
            sent: timestamp(fields.u64().map_err(malformed)?),
            reply: fields.u8().map_err(malformed)? != 0,
        })
    }
}

fn lacks(what: &'static str) -> ClientError {
    ClientError::Answer { command: COMMAND, what }
}

/// A time as the protocol has it. One that is absurd is a time all the same: nothing but reports depends on it.
fn timestamp(microseconds: u64) -> Timestamp {
    let microseconds = microseconds.cast_signed();
    let nanoseconds = microseconds.rem_euclid(1_000_000) * 1_000;
    Timestamp {
        seconds: microseconds.div_euclid(1_000_000).saturating_add(EPOCH),
        nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
    }
}

/// The reverse.
fn microseconds(time: Timestamp) -> i64 {
    let seconds = time.seconds.saturating_sub(EPOCH).saturating_mul(1_000_000);
    seconds.saturating_add(i64::from(time.nanoseconds / 1_000))
}

/// Where a server goes on after the end of a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextTimeline {
    /// Its number.
    pub timeline: TimelineId,
    /// Where it left the former one.
    pub start: Lsn,
}

impl<T: Transport> Session<T> {
    /// Begins to stream the log of `timeline` from `start` on through the physical slot called `slot`, which must need no quoting. What comes is
    /// for [`Self::next_event_within`] and a [`StreamDecoder`].
    pub fn start_physical_replication(&mut self, slot: &str, start: Lsn, timeline: TimelineId) -> Result<(), ClientError> {
        self.start(&format!("START_REPLICATION SLOT {slot} PHYSICAL {start} TIMELINE {timeline}"))?;
        match self.next_event()? {
            CopyEvent::CopyBoth => Ok(()),
            _ => Err(lacks("a stream")),
        }
    }

    /// Tells the server how far the log has been `received`, and up to where it is `durable`: a slot lets go of what is before that.
    /// The server answers with a keepalive, which has its own position and clock.
    pub fn report_position(&mut self, received: Lsn, durable: Lsn) -> Result<(), ClientError> {
        let mut message = Vec::with_capacity(34);
        message.push(b'r');
        for position in [received, durable, Lsn(0)] {
            message.extend_from_slice(&position.0.to_be_bytes());
        }
        message.extend_from_slice(&microseconds(Timestamp::now()).to_be_bytes());
        message.push(1);
        self.copy_data(&message)
    }

    /// After [`CopyEvent::CopyDone`]: ends the stream from this side too, and hears where the server goes on.
    pub fn end_of_timeline(&mut self) -> Result<NextTimeline, ClientError> {
        self.copy_done()?;
        let mut next = None;
        loop {
            match self.next_event()? {
                CopyEvent::Row(row) => next = next.or(next_timeline(&row)),
                CopyEvent::Ready => return next.ok_or_else(|| lacks("the timeline that follows")),
                _ => {}
            }
        }
    }

    /// The file that says where `timeline` and those before it began, as the server has it: its name and content.
    ///
    /// A comment in it that isn't UTF-8 is changed; nothing reads it.
    pub fn timeline_history(&mut self, timeline: TimelineId) -> Result<(String, String), ClientError> {
        let sets = self.query(&format!("TIMELINE_HISTORY {timeline}"))?;
        let mut row = sets
            .into_iter()
            .next()
            .and_then(|set| set.rows.into_iter().next())
            .into_iter()
            .flatten();
        match (row.next().flatten(), row.next().flatten()) {
            (Some(name), Some(content)) => Ok((name, content)),
            _ => Err(ClientError::Answer {
                command: "TIMELINE_HISTORY",
                what: "a name and a content",
            }),
        }
    }
}

/// Number and beginning, as text.
fn next_timeline(row: &[Option<String>]) -> Option<NextTimeline> {
    let field = |index: usize| row.get(index).and_then(Option::as_deref);
    Some(NextTimeline {
        timeline: TimelineId(field(0)?.parse().ok()?),
        start: field(1)?.parse().ok()?,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn data(start: u64, content: &[u8]) -> Vec<u8> {
        let mut message = vec![b'w'];
        message.extend_from_slice(&start.to_be_bytes());
        message.extend_from_slice(&(start + content.len() as u64).to_be_bytes());
        message.extend_from_slice(&0_u64.to_be_bytes());
        message.extend_from_slice(content);
        message
    }

    /// The log in a message that arrives in pieces of `size`; every piece must go on where the one before it ended.
    fn received(message: &[u8], size: usize) -> Vec<u8> {
        let mut decoder = StreamDecoder::default();
        let mut log = Vec::new();
        let count = message.len().div_ceil(size);
        for (number, piece) in message.chunks(size).enumerate() {
            if let Some(StreamMessage::Data { start, bytes, end, .. }) = decoder.take(piece, number == 0, number + 1 == count).unwrap() {
                assert_eq!((start, end), (Lsn(1000 + log.len() as u64), Lsn(1040)));
                log.extend_from_slice(bytes);
            }
        }
        log
    }

    #[test]
    fn pieces_make_no_difference() {
        let content: Vec<u8> = (0..40).collect();
        for size in 1..=70 {
            assert_eq!(received(&data(1000, &content), size), content, "pieces of {size}");
        }
    }

    #[test]
    fn a_sign_of_life_may_want_an_answer() {
        let mut message = vec![b'k'];
        message.extend_from_slice(&7_u64.to_be_bytes());
        message.extend_from_slice(&1_500_000_u64.to_be_bytes());
        message.push(1);
        let sent = Timestamp {
            seconds: EPOCH + 1,
            nanoseconds: 500_000_000,
        };
        let expected = StreamMessage::Keepalive {
            end: Lsn(7),
            sent,
            reply: true,
        };
        assert_eq!(StreamDecoder::default().take(&message, true, true).unwrap(), Some(expected));
        assert_eq!(microseconds(sent), 1_500_000);
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        let mut decoder = StreamDecoder::default();
        assert!(decoder.take(b"x", true, true).is_err());
        assert!(decoder.take(b"", true, true).is_err());
        assert!(decoder.take(&data(0, b"")[..20], true, true).is_err(), "a header that ends early");
        assert!(decoder.take(&data(u64::MAX - 1, b"")[..], true, false).unwrap().is_none());
        assert!(decoder.take(b"ab", false, false).is_ok());
        assert!(
            decoder.take(b"cd", false, true).is_err(),
            "beyond the last position that there can be"
        );
    }
}
