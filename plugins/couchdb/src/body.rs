//! The body of an attachment: [`Body`]. Where an answer breaks off it is asked for again and goes on behind what came, since an entry that has begun cannot be begun anew. Whether
//! the pieces are those of one attachment is told by its digest, which is over all of them.

use bulkhead_sdk::{Error, ErrorKind, Result, host::BEST_TRANSFER, http::Response};

use crate::{
    attachments::{Wanted, is_compressed},
    server::Server,
};

/// The status of an answer that has the part that was asked for.
const PARTIAL: u16 = 206;

/// What is still to come of an attachment.
pub(crate) struct Body<'w> {
    server: &'w Server,
    wanted: &'w Wanted<'w>,
    /// `None` after it has broken off.
    answer: Option<Response>,
    is_compressed: bool,
    /// Whether the server sends parts.
    has_parts: bool,
    /// Bytes that have come.
    read: u64,
}

impl<'w> Body<'w> {
    /// That of an answer of success.
    pub(crate) fn of(server: &'w Server, wanted: &'w Wanted<'w>, answer: Response) -> Self {
        Self {
            server,
            wanted,
            is_compressed: is_compressed(&answer),
            has_parts: answer.header("accept-ranges") == Some("bytes"),
            answer: Some(answer),
            read: 0,
        }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// `ConnectionLost`: as often as is configured, one answer after the other brought nothing more; what the server says.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let server = self.server;
        // Whoever brings something may break off again: only what brings nothing is counted as another attempt.
        server.repeat(|| self.part())
    }

    fn part(&mut self) -> Result<Option<Vec<u8>>> {
        let mut answer = match self.answer.take() {
            Some(answer) => answer,
            None => self.again()?,
        };
        match answer.read_bytes(BEST_TRANSFER)? {
            Some(part) => {
                self.read += part.len() as u64;
                self.answer = Some(answer);
                Ok(Some(part))
            }
            None if !self.is_compressed && self.read < self.wanted.stub.length => Err(self.cut_short()),
            None => Ok(None),
        }
    }

    /// Asks for what has not come, or for all of it and passes over what has.
    fn again(&self) -> Result<Response> {
        let from = if self.has_parts && self.read < self.wanted.stub.length {
            self.read
        } else {
            0
        };
        let mut answer = self
            .wanted
            .begin_from(self.server, from)
            .wait(self.server)
            .map_err(|error| match error.kind {
                ErrorKind::NotFound => self.gone().with_cause(error),
                _ => error,
            })?;
        if is_compressed(&answer) != self.is_compressed {
            return Err(self.unlike("comes compressed at one time, and not at another"));
        }
        let mut known = self.read;
        if answer.status() == PARTIAL {
            let begins = |range: &str| range.starts_with(&format!("bytes {from}-"));
            if !answer.header("content-range").is_some_and(begins) {
                return Err(self.unlike("comes from another byte on than was asked for"));
            }
            known -= from;
        }
        while known > 0 {
            let most = usize::try_from(known).unwrap_or(usize::MAX).min(BEST_TRANSFER);
            let part = answer.read_bytes(most)?.ok_or_else(|| self.cut_short())?;
            known = known.saturating_sub(part.len() as u64);
        }
        Ok(answer)
    }

    fn cut_short(&self) -> Error {
        let Wanted { id, name, stub, .. } = self.wanted;
        let (read, length) = (self.read, stub.length);
        Error::new(
            ErrorKind::ConnectionLost,
            format!("the attachment `{name}` of `{id}` came with {read} bytes instead of {length}"),
        )
    }

    fn unlike(&self, what: &str) -> Error {
        let Wanted { id, name, .. } = self.wanted;
        Error::protocol(format!("the attachment `{name}` of `{id}` {what}"))
    }

    fn gone(&self) -> Error {
        let Wanted { id, name, .. } = self.wanted;
        let message = format!("the attachment `{name}` of `{id}` was replaced, or went with its document, while it was read");
        Error::new(ErrorKind::Conflict, message).with_hint("run again")
    }
}
