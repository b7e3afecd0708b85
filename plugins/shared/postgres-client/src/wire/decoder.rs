//! Cutting the server's byte stream into frames: [`Decoder`].
//!
//! A frame is a type byte, a length of four bytes that counts itself, and a body. Everything but `CopyData` is assembled whole, within a limit.
//! `CopyData` carries the backup itself, so it is never assembled: its bytes are handed on as slices of what the connection delivered. That
//! costs no copy and makes the length that the server states irrelevant for memory.

/// The longest message other than `CopyData`, 16 MiB. The longest that a plugin asks for are rows with a function's source or a view's definition;
/// the default memory limit of a plugin, 128 MiB, holds several of these.
pub const MAX_MESSAGE: usize = 16 << 20;

/// The longest message before the login is done, 32 KiB: nobody has proved who they are yet. libpq draws the line at 30,000 bytes.
pub const MAX_MESSAGE_BEFORE_LOGIN: usize = 32 << 10;

const COPY_DATA: u8 = b'd';
const HEADER: usize = 5;

/// A stream that is not PostgreSQL's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A length that doesn't even cover itself.
    #[error("message {:?} states a length of {length} bytes, which is less than the length field itself", char::from(*tag))]
    TooShort {
        /// Type byte.
        tag: u8,
        /// As stated.
        length: u32,
    },
    /// More than the limit for this state of the connection.
    #[error("message {:?} states a length of {length} bytes; the limit is {limit}", char::from(*tag))]
    TooLong {
        /// Type byte.
        tag: u8,
        /// As stated.
        length: u32,
        /// In force.
        limit: usize,
    },
}

/// What [`Decoder::next_frame`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole message.
    Message {
        /// Type byte.
        tag: u8,
        /// Without type and length.
        body: &'a [u8],
    },
    /// A piece of a `CopyData` message.
    CopyData {
        /// May be empty only in an empty message.
        bytes: &'a [u8],
        /// Whether the message begins with this piece.
        first: bool,
        /// Whether the message ends with this piece.
        last: bool,
    },
}

#[derive(Debug, Clone, Copy)]
enum State {
    Header,
    Body { tag: u8, length: usize },
    Copy { remaining: usize, first: bool },
}

/// Takes chunks as the connection delivers them and gives frames.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    limit: usize,
    chunk: Vec<u8>,
    position: usize,
    /// A header or body that began in an earlier chunk.
    partial: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            state: State::Header,
            limit: MAX_MESSAGE_BEFORE_LOGIN,
            chunk: Vec::new(),
            position: 0,
            partial: Vec::new(),
        }
    }
}

impl Decoder {
    /// Lifts the limit from [`MAX_MESSAGE_BEFORE_LOGIN`] to [`MAX_MESSAGE`].
    pub fn logged_in(&mut self) {
        self.limit = MAX_MESSAGE;
    }

    /// Whether the stream may end here without cutting a message.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        matches!(self.state, State::Header) && self.partial.is_empty() && self.unread() == 0
    }

    fn unread(&self) -> usize {
        self.chunk.len() - self.position
    }

    /// Adds what the connection delivered. Call it only after [`Self::next_frame`] has said that there is no frame left.
    pub fn feed(&mut self, chunk: Vec<u8>) {
        debug_assert_eq!(self.unread(), 0, "frames are left");
        self.chunk = chunk;
        self.position = 0;
    }

    /// The next frame, or `None` when more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, DecodeError> {
        Ok(self.locate()?.map(|found| self.frame(&found)))
    }

    /// As [`Self::next_frame`], but without a borrow: a place that [`Self::frame`] turns into the frame, before the decoder is used again.
    pub(crate) fn locate(&mut self) -> Result<Option<Located>, DecodeError> {
        if matches!(self.state, State::Header) && !self.read_header()? {
            return Ok(None);
        }
        match self.state {
            State::Header => Ok(None),
            State::Body { tag, length } => Ok(self.read_body(tag, length)),
            State::Copy { remaining, first } => Ok(self.read_copy(remaining, first)),
        }
    }

    pub(crate) fn frame(&self, located: &Located) -> Frame<'_> {
        match *located {
            Located::Message { tag, start, end } => Frame::Message {
                tag,
                body: &self.chunk[start..end],
            },
            Located::CopyData { start, end, first, last } => Frame::CopyData {
                bytes: &self.chunk[start..end],
                first,
                last,
            },
        }
    }

    /// Moves up to `wanted - partial.len()` bytes into `partial`; true once it holds `wanted` bytes. Grows by what is here, never by what is promised.
    fn assemble(&mut self, wanted: usize) -> bool {
        let missing = wanted.saturating_sub(self.partial.len());
        let end = self.position + missing.min(self.unread());
        self.partial.extend_from_slice(&self.chunk[self.position..end]);
        self.position = end;
        self.partial.len() == wanted
    }

    /// The next bytes as a header. Rows come as messages of their own, so one that is here in one piece, as nearly all are, is not assembled.
    fn header(&mut self) -> Option<[u8; HEADER]> {
        if let Some(header) = self.chunk[self.position..].first_chunk().filter(|_| self.partial.is_empty()) {
            self.position += HEADER;
            return Some(*header);
        }
        if !self.assemble(HEADER) {
            return None;
        }
        let header = self.partial.first_chunk().copied();
        self.partial.clear();
        header
    }

    fn read_header(&mut self) -> Result<bool, DecodeError> {
        let Some([tag, a, b, c, d]) = self.header() else { return Ok(false) };
        let length = u32::from_be_bytes([a, b, c, d]);
        let body = length.checked_sub(4).ok_or(DecodeError::TooShort { tag, length })? as usize;
        if tag == COPY_DATA {
            self.state = State::Copy {
                remaining: body,
                first: true,
            };
        } else if body > self.limit {
            return Err(DecodeError::TooLong {
                tag,
                length,
                limit: self.limit,
            });
        } else {
            self.state = State::Body { tag, length: body };
        }
        Ok(true)
    }

    fn read_body(&mut self, tag: u8, length: usize) -> Option<Located> {
        if self.partial.is_empty() && self.unread() >= length {
            let start = self.position;
            self.position += length;
            self.state = State::Header;
            return Some(Located::Message {
                tag,
                start,
                end: self.position,
            });
        }
        if !self.assemble(length) {
            return None;
        }
        self.state = State::Header;
        // The assembled message takes the place of what was read of the chunk, so that `partial` is free for the next header.
        let unread = self.chunk.split_off(self.position);
        self.chunk = std::mem::take(&mut self.partial);
        self.position = self.chunk.len();
        self.chunk.extend_from_slice(&unread);
        Some(Located::Message {
            tag,
            start: 0,
            end: length,
        })
    }

    fn read_copy(&mut self, remaining: usize, first: bool) -> Option<Located> {
        let available = self.unread().min(remaining);
        if available == 0 && remaining > 0 {
            return None;
        }
        let start = self.position;
        self.position += available;
        let last = available == remaining;
        self.state = if last {
            State::Header
        } else {
            State::Copy {
                remaining: remaining - available,
                first: false,
            }
        };
        Some(Located::CopyData {
            start,
            end: self.position,
            first,
            last,
        })
    }
}

/// Where a frame lies in the decoder's chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Located {
    Message { tag: u8, start: usize, end: usize },
    CopyData { start: usize, end: usize, first: bool, last: bool },
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Clone)]
    enum Seen {
        Message(u8, Vec<u8>),
        Copy(Vec<u8>),
    }

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        [&[tag][..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
    }

    /// All messages, with `CopyData` put together again, when the stream arrives in chunks of `size`.
    fn decode(stream: &[u8], size: usize) -> Result<Vec<Seen>, DecodeError> {
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        let mut copy = Vec::new();
        for chunk in stream.chunks(size) {
            decoder.feed(chunk.to_vec());
            while let Some(frame) = decoder.next_frame()? {
                match frame {
                    Frame::Message { tag, body } => seen.push(Seen::Message(tag, body.to_vec())),
                    Frame::CopyData { bytes, first, last } => {
                        assert_eq!(first, copy.is_empty());
                        copy.extend_from_slice(bytes);
                        if last {
                            seen.push(Seen::Copy(std::mem::take(&mut copy)));
                        }
                    }
                }
            }
        }
        assert!(decoder.at_boundary());
        Ok(seen)
    }

    #[test]
    fn chunks_make_no_difference() {
        let stream = [
            message(b'S', b"a\0b\0"),
            message(b'd', &[7; 100]),
            message(b'Z', b""),
            message(b'd', b"x"),
            message(b'c', b""),
        ]
        .concat();
        let expected = vec![
            Seen::Message(b'S', b"a\0b\0".to_vec()),
            Seen::Copy(vec![7; 100]),
            Seen::Message(b'Z', vec![]),
            Seen::Copy(b"x".to_vec()),
            Seen::Message(b'c', vec![]),
        ];
        for size in 1..=stream.len() {
            assert_eq!(decode(&stream, size).unwrap(), expected, "chunks of {size}");
        }
    }

    #[test]
    fn an_empty_copy_message_is_a_piece_of_its_own() {
        let mut decoder = Decoder::default();
        decoder.feed(message(b'd', b""));
        assert_eq!(
            decoder.next_frame().unwrap(),
            Some(Frame::CopyData {
                bytes: b"",
                first: true,
                last: true
            })
        );
        assert_eq!(decoder.next_frame().unwrap(), None);
    }

    #[test]
    fn lengths_have_limits_but_copy_data_does_not_need_one() {
        let header = |tag: u8, length: u32| [&[tag][..], &length.to_be_bytes()].concat();
        assert_eq!(decode(&header(b'E', 3), 5), Err(DecodeError::TooShort { tag: b'E', length: 3 }));
        assert!(matches!(
            decode(&header(b'E', u32::MAX), 5),
            Err(DecodeError::TooLong {
                limit: MAX_MESSAGE_BEFORE_LOGIN,
                ..
            })
        ));
        let mut decoder = Decoder::default();
        decoder.logged_in();
        decoder.feed(header(b'd', u32::MAX));
        assert_eq!(decoder.next_frame().unwrap(), None);
        assert!(!decoder.at_boundary());
        decoder.feed(vec![1; 1000]);
        assert!(matches!(
            decoder.next_frame().unwrap(),
            Some(Frame::CopyData {
                first: true,
                last: false,
                ..
            })
        ));
    }
}
