//! The items of one long JSON array in an object, as they come: [`Items`]. A feed or an answer with a million documents is held in memory one item at a time, and never
//! parsed deeper than its reader asks for.

use bulkhead_sdk::{Error, ErrorKind, Result, host::BEST_TRANSFER, http::Response};
use serde::de::DeserializeOwned;

/// What is around the array, in bytes: counts and sequence numbers. A sequence of a database with many shards takes a few KiB.
const ENVELOPE: usize = 1 << 20;

/// A response that is `{ …, "results": [ item, … ], … }`, or `[ item, … ]`.
pub(crate) struct Items {
    response: Response,
    /// What of it, for messages.
    what: String,
    buffer: Vec<u8>,
    position: usize,
    /// What came before the array, and after it.
    envelope: Vec<u8>,
    is_over: bool,
    longest: usize,
}

impl Items {
    /// Reads up to the beginning of the array. An item may have `longest` bytes.
    pub(crate) fn open(response: Response, what: impl Into<String>, longest: usize) -> Result<Self> {
        let mut items = Self {
            response,
            what: what.into(),
            buffer: Vec::new(),
            position: 0,
            envelope: Vec::new(),
            is_over: false,
            longest,
        };
        let mut scan = Scan::default();
        loop {
            let byte = items.byte()?.ok_or_else(|| items.ended_early())?;
            items.keep(byte)?;
            let is_array = byte == b'[' && !scan.in_string && scan.depth <= 1;
            scan.step(byte);
            if is_array {
                return Ok(items);
            }
            if scan.depth == 0 && byte == b'}' {
                return Err(items.unexpected("it has no list"));
            }
        }
    }

    /// The next item, `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if self.is_over {
            return Ok(None);
        }
        loop {
            match self.byte()?.ok_or_else(|| self.ended_early())? {
                b' ' | b'\t' | b'\r' | b'\n' | b',' => {}
                b']' => {
                    self.is_over = true;
                    return Ok(None);
                }
                b'{' => {
                    self.position -= 1;
                    return self.object().map(Some);
                }
                _ => return Err(self.unexpected("an item of its list is no object")),
            }
        }
    }

    /// Reads to the end, after the last item, and what was around the array.
    pub(crate) fn finish<T: DeserializeOwned>(mut self) -> Result<T> {
        while self.next()?.is_some() {}
        self.keep(b']')?;
        while let Some(byte) = self.byte()? {
            self.keep(byte)?;
        }
        serde_json::from_slice(&self.envelope).map_err(|error| match error.is_eof() {
            true => self.ended_early(),
            false => self.unexpected("what is around its list cannot be read").with_cause(error),
        })
    }

    fn object(&mut self) -> Result<Vec<u8>> {
        let mut item = Vec::new();
        let mut scan = Scan::default();
        loop {
            let rest = &self.buffer[self.position..];
            let end = rest.iter().position(|byte| scan.step(*byte)).map(|last| last + 1);
            let taken = end.unwrap_or(rest.len());
            if item.len() + taken > self.longest {
                return Err(self.too_long());
            }
            item.extend_from_slice(&rest[..taken]);
            self.position += taken;
            if end.is_some() {
                return Ok(item);
            }
            if !self.fill()? {
                return Err(self.ended_early());
            }
        }
    }

    fn byte(&mut self) -> Result<Option<u8>> {
        if self.position == self.buffer.len() && !self.fill()? {
            return Ok(None);
        }
        let byte = self.buffer[self.position];
        self.position += 1;
        Ok(Some(byte))
    }

    fn fill(&mut self) -> Result<bool> {
        self.position = 0;
        match self.response.read_bytes(BEST_TRANSFER)? {
            Some(bytes) => self.buffer = bytes,
            None => self.buffer.clear(),
        }
        Ok(!self.buffer.is_empty())
    }

    fn keep(&mut self, byte: u8) -> Result<()> {
        if self.envelope.len() == ENVELOPE {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("{} has more than {ENVELOPE} bytes around its list", self.what),
            ));
        }
        self.envelope.push(byte);
        Ok(())
    }

    fn ended_early(&self) -> Error {
        Error::new(ErrorKind::ConnectionLost, format!("{} ended early", self.what))
            .with_hint("run it again; the server's log says why it stopped")
    }

    fn unexpected(&self, reason: &str) -> Error {
        Error::protocol(format!("{} is not what CouchDB answers: {reason}", self.what))
    }

    fn too_long(&self) -> Error {
        let message = format!("{} has a document of more than {} bytes", self.what, self.longest);
        Error::new(ErrorKind::Limit, message)
            .with_hint("raise `max-document`, and `limits.memory` to four times that")
            .with_setting("max-document")
    }
}

/// Finds where a value ends, whatever is in it: what is nested is counted, and checked by whoever reads it.
#[derive(Default)]
struct Scan {
    depth: u64,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// Takes one byte; whether it closed the outermost bracket.
    fn step(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bulkhead_sdk::{
        http::Request,
        testing::{Harness, HttpResponse},
    };
    use serde_json::Value;

    use super::*;

    fn read(response: HttpResponse, longest: usize) -> Result<(Vec<String>, Value)> {
        let harness = Harness::new().http("server", move |_| response.clone());
        harness.run(|| {
            let mut items = Items::open(Request::get("server", "/").send()?, "the list", longest)?;
            let mut found = Vec::new();
            while let Some(item) = items.next()? {
                found.push(String::from_utf8(item).unwrap());
            }
            Ok((found, items.finish()?))
        })
    }

    #[test]
    fn items_come_as_they_are_with_what_is_around_them() {
        let text = r#"{"offset":[1,{"a":"]"}],"results":[{"a":"}\"{"} ,
            {"b":[{},[]]}],"last_seq":"9-x","pending":0}"#;
        assert!(read(HttpResponse::new(200, text), 100).is_err(), "the first list is another one");
        let text = text.replace(r#""offset":[1,{"a":"]"}],"#, r#""offset":null,"#);
        let (items, envelope) = read(HttpResponse::new(200, text), 100).unwrap();
        assert_eq!(items, [r#"{"a":"}\"{"}"#, r#"{"b":[{},[]]}"#]);
        assert_eq!(envelope["last_seq"], "9-x");
    }

    #[test]
    fn what_is_cut_short_too_long_or_something_else_is_an_error() {
        let whole = r#"{"results":[{"a":1},{"b":2}],"last_seq":1}"#;
        for end in 0..whole.len() {
            let error = read(HttpResponse::new(200, &whole[..end]), 100).unwrap_err();
            assert_eq!(error.kind, ErrorKind::ConnectionLost, "{end}: {error}");
        }
        let too_long = read(HttpResponse::new(200, r#"{"results":[{"a":"0123456789"}]}"#), 10).unwrap_err();
        assert_eq!(
            (too_long.kind, too_long.setting.as_deref()),
            (ErrorKind::Limit, Some("max-document"))
        );
        for wrong in [r#"{"error":"x"}"#, r#"{"results":[1]}"#, r#"{"results":[{}],"x":y}"#] {
            assert_eq!(
                read(HttpResponse::new(200, wrong), 100).unwrap_err().kind,
                ErrorKind::Protocol,
                "{wrong}"
            );
        }
        let endless = format!("{{\"x\":\"{}", "x".repeat(2 << 20));
        assert_eq!(read(HttpResponse::new(200, endless), 100).unwrap_err().kind, ErrorKind::Limit);
    }

    #[test]
    fn depth_costs_nothing() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        let (items, _) = read(HttpResponse::new(200, format!("{{\"results\":[{deep}]}}")), 4 << 20).unwrap();
        assert_eq!(items, [deep]);
    }
}
