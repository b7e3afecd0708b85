//! Replies out of bytes: [`Decoder`], incremental and bounded.

use crate::{ServerError, Value, Violation};

/// Largest reply that is taken whole, in bytes, all its parts together. Larger ones are only streamed.
pub const MAX_REPLY: usize = 16 << 20;

/// Deepest nesting of a reply. `COMMAND DOCS`, the deepest of any server, has 9.
pub const MAX_DEPTH: usize = 16;

/// Longest line: a type, and a number, a status or an error.
pub(crate) const MAX_LINE: usize = 64 << 10;

/// What an element costs beside its bytes, so that a billion empty ones are no way around the limit.
const ELEMENT_COST: usize = 32;

/// Bytes that were received and not used.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    position: usize,
}

impl Buffer {
    pub(crate) fn add(&mut self, bytes: Vec<u8>) {
        if self.position == self.bytes.len() {
            self.bytes = bytes;
            self.position = 0;
            return;
        }
        self.bytes.drain(..self.position);
        self.position = 0;
        self.bytes.extend_from_slice(&bytes);
    }

    pub(crate) fn rest(&self) -> &[u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.position = self.bytes.len().min(self.position + count);
    }

    /// Everything that is there, at most `max` bytes, without a copy where that is all.
    pub(crate) fn take(&mut self, max: usize) -> Vec<u8> {
        if self.position == 0 && self.bytes.len() <= max {
            return std::mem::take(&mut self.bytes);
        }
        let count = self.rest().len().min(max);
        let taken = self.rest()[..count].to_vec();
        self.consume(count);
        taken
    }

    /// A line without its end; `None` until it is here.
    pub(crate) fn line(&mut self) -> Result<Option<Vec<u8>>, Violation> {
        let rest = self.rest();
        let within = &rest[..rest.len().min(MAX_LINE)];
        let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
            return if within.len() == MAX_LINE {
                Err(Violation::Line { limit: MAX_LINE })
            } else {
                Ok(None)
            };
        };
        let line = &within[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        self.consume(end + 1);
        Ok(Some(line))
    }
}

/// A list or map that is not complete.
#[derive(Debug)]
struct Open {
    map: bool,
    /// RESP3's attributes stand before a reply and are not it.
    discard: bool,
    missing: u64,
    elements: Vec<Value>,
}

/// Makes replies of bytes, whatever pieces they come in; every byte is looked at once.
#[derive(Debug, Default)]
pub struct Decoder {
    pub(crate) buffer: Buffer,
    open: Vec<Open>,
    /// A string's length, whose bytes are not all here.
    bulk: Option<(u8, usize)>,
    size: usize,
}

impl Decoder {
    /// Adds what was received.
    pub fn add(&mut self, bytes: Vec<u8>) {
        self.buffer.add(bytes);
    }

    /// The next reply; `None` until all of it is here.
    ///
    /// # Errors
    /// How the peer broke the protocol; the decoder is of no use after that.
    pub fn next_reply(&mut self) -> Result<Option<Value>, Violation> {
        loop {
            let Some(value) = self.token()? else { return Ok(None) };
            if let Some(value) = value.and_then(|value| self.close(value)) {
                self.size = 0;
                return Ok(Some(value));
            }
        }
    }

    /// Puts a value into the list that waits for it; a value that completes everything comes back.
    fn close(&mut self, mut value: Value) -> Option<Value> {
        while let Some(mut list) = self.open.pop() {
            list.elements.push(value);
            list.missing -= 1;
            if list.missing > 0 {
                self.open.push(list);
                return None;
            }
            if list.discard {
                return None;
            }
            value = list.into_value();
        }
        Some(value)
    }

    /// One line, or string; `None` until it is here, an inner `None` for what opens a list.
    #[expect(clippy::option_option, reason = "the outer one is about bytes, the inner one about values")]
    fn token(&mut self) -> Result<Option<Option<Value>>, Violation> {
        let (kind, length) = match self.bulk {
            Some(bulk) => bulk,
            None => {
                let Some(line) = self.buffer.line()? else { return Ok(None) };
                let [kind, text @ ..] = line.as_slice() else {
                    return Err(Violation::Type(b'\n'));
                };
                self.charge(text.len() + ELEMENT_COST)?;
                match self.simple(*kind, text)? {
                    Simple::Value(value) => return Ok(Some(Some(value))),
                    Simple::Opened => return Ok(Some(None)),
                    Simple::Bulk(length) => {
                        self.charge(length)?;
                        self.bulk = Some((*kind, length));
                        (*kind, length)
                    }
                }
            }
        };
        let rest = self.buffer.rest();
        if rest.len() < length + 2 {
            return Ok(None);
        }
        if &rest[length..length + 2] != b"\r\n" {
            return Err(Violation::Terminator);
        }
        let bytes = rest[..length].to_vec();
        self.buffer.consume(length + 2);
        self.bulk = None;
        Ok(Some(Some(match kind {
            b'!' => Value::Error(ServerError::parse(&bytes)),
            // A verbatim string has its format in front: `txt:`.
            b'=' => Value::Bulk(bytes.get(4..).unwrap_or_default().to_vec()),
            _ => Value::Bulk(bytes),
        })))
    }

    fn charge(&mut self, cost: usize) -> Result<(), Violation> {
        self.size = self.size.saturating_add(cost);
        if self.size > MAX_REPLY {
            return Err(Violation::TooLarge { limit: MAX_REPLY });
        }
        Ok(())
    }

    fn simple(&mut self, kind: u8, text: &[u8]) -> Result<Simple, Violation> {
        let value = match kind {
            b'+' | b'(' => Value::Simple(text.to_vec()),
            b'-' => Value::Error(ServerError::parse(text)),
            b':' => Value::Integer(number(text)?),
            b'_' => Value::Null,
            b',' => Value::Double(parse(text)?),
            b'#' => Value::Boolean(text == b"t"),
            b'$' | b'=' | b'!' => match number(text)? {
                -1 => Value::Null,
                length => return Ok(Simple::Bulk(length_of(length)?)),
            },
            b'*' | b'~' | b'>' | b'%' | b'|' => match number(text)? {
                -1 => Value::Null,
                count => return self.open(kind, count),
            },
            _ => return Err(Violation::Type(kind)),
        };
        Ok(Simple::Value(value))
    }

    fn open(&mut self, kind: u8, count: i64) -> Result<Simple, Violation> {
        let map = matches!(kind, b'%' | b'|');
        let list = Open {
            map,
            discard: kind == b'|',
            missing: (length_of(count)? as u64).saturating_mul(if map { 2 } else { 1 }),
            elements: Vec::new(),
        };
        if list.missing == 0 {
            return Ok(if list.discard {
                Simple::Opened
            } else {
                Simple::Value(list.into_value())
            });
        }
        if self.open.len() == MAX_DEPTH {
            return Err(Violation::TooDeep { limit: MAX_DEPTH });
        }
        self.open.push(list);
        Ok(Simple::Opened)
    }

    /// Whether a reply has begun and is not complete.
    pub(crate) fn is_within(&self) -> bool {
        !self.open.is_empty() || self.bulk.is_some()
    }
}

impl Open {
    fn into_value(self) -> Value {
        if !self.map {
            return Value::List(self.elements);
        }
        let mut elements = self.elements.into_iter();
        let mut pairs = Vec::new();
        while let (Some(name), Some(value)) = (elements.next(), elements.next()) {
            pairs.push((name, value));
        }
        Value::Map(pairs)
    }
}

enum Simple {
    Value(Value),
    Opened,
    Bulk(usize),
}

fn length_of(number: i64) -> Result<usize, Violation> {
    usize::try_from(number).map_err(|_| Violation::Number(number.to_string()))
}

/// A decimal integer.
pub(crate) fn number(text: &[u8]) -> Result<i64, Violation> {
    parse(text)
}

fn parse<T: std::str::FromStr>(text: &[u8]) -> Result<T, Violation> {
    let short = &text[..text.len().min(64)];
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Violation::Number(short.escape_ascii().to_string()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], piece: usize) -> Result<Vec<Value>, Violation> {
        let mut decoder = Decoder::default();
        let mut values = Vec::new();
        for piece in bytes.chunks(piece) {
            decoder.add(piece.to_vec());
            while let Some(value) = decoder.next_reply()? {
                values.push(value);
            }
        }
        Ok(values)
    }

    #[test]
    fn all_types_in_any_pieces() {
        let bytes = b"+OK\r\n-ERR no\r\n:-5\r\n$5\r\na\r\nbc\r\n$-1\r\n*2\r\n*1\r\n:1\r\n$0\r\n\r\n*0\r\n*-1\r\n_\r\n,1.5\r\n#t\r\n=7\r\ntxt:abc\r\n!5\r\nERR x\r\n\
                      %1\r\n+a\r\n:1\r\n~1\r\n:2\r\n|1\r\n+ttl\r\n:3\r\n>1\r\n+message\r\n(12345678901234567890\r\n";
        let text = |text: &str| Value::Simple(text.as_bytes().to_vec());
        let expected = [
            text("OK"),
            Value::Error(ServerError::parse(b"ERR no")),
            Value::Integer(-5),
            Value::Bulk(b"a\r\nbc".to_vec()),
            Value::Null,
            Value::List(vec![Value::List(vec![Value::Integer(1)]), Value::Bulk(Vec::new())]),
            Value::List(Vec::new()),
            Value::Null,
            Value::Null,
            Value::Double(1.5),
            Value::Boolean(true),
            Value::Bulk(b"abc".to_vec()),
            Value::Error(ServerError::parse(b"ERR x")),
            Value::Map(vec![(text("a"), Value::Integer(1))]),
            Value::List(vec![Value::Integer(2)]),
            Value::List(vec![text("message")]),
            text("12345678901234567890"),
        ];
        for piece in [1, 2, 3, 7, bytes.len()] {
            assert_eq!(decode(bytes, piece).unwrap(), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_no_server_sends_is_refused_and_nothing_is_allocated_for_it() {
        for (bytes, violation) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], Violation::Type(b'H')),
            (b"$x\r\n", Violation::Number("x".into())),
            (b"$-2\r\n", Violation::Number("-2".into())),
            (b"$3\r\nabcd\r\n", Violation::Terminator),
            (b"$99999999999\r\n", Violation::TooLarge { limit: MAX_REPLY }),
            (b"\r\n", Violation::Type(b'\n')),
        ] {
            assert_eq!(decode(bytes, 4096).unwrap_err(), violation, "{}", bytes.escape_ascii());
        }
        assert_eq!(
            decode(&b"*1\r\n".repeat(MAX_DEPTH + 1), 4096).unwrap_err(),
            Violation::TooDeep { limit: MAX_DEPTH }
        );
        assert_eq!(
            decode(&[b'+'; MAX_LINE + 1], 4096).unwrap_err(),
            Violation::Line { limit: MAX_LINE }
        );
        let endless = [&b"*9999999999\r\n"[..], &b"_\r\n".repeat(MAX_REPLY / ELEMENT_COST)].concat();
        assert_eq!(decode(&endless, 4096).unwrap_err(), Violation::TooLarge { limit: MAX_REPLY });
    }
}
