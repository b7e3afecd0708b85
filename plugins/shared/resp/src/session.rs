//! A connection that commands are sent over: [`Session`].

use std::time::Duration;

use zeroize::Zeroize;

use crate::{Decoder, RespError, Transport, Value, Violation, decoder::number};

/// How much is read at once, in bytes.
const PIECE: usize = 256 << 10;

/// How long a server may take to answer a command.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// A command as it goes over the wire. Overwritten when dropped, for it may hold a password.
#[derive(Default, Clone)]
pub struct Command(Vec<u8>);

impl Command {
    /// A command and its arguments.
    #[must_use]
    pub fn new<A: AsRef<[u8]>>(words: &[A]) -> Self {
        let mut command = Self::of(words.len());
        words.iter().for_each(|word| command.argument(word.as_ref()));
        command
    }

    /// A command of so many words, which follow.
    #[must_use]
    pub fn of(words: usize) -> Self {
        Self(format!("*{words}\r\n").into_bytes())
    }

    /// The next word.
    pub fn argument(&mut self, word: &[u8]) {
        self.begin_argument(word.len() as u64);
        self.0.extend_from_slice(word);
        self.end_argument();
    }

    /// Begins a word of `length` bytes; they may go over the wire behind this.
    pub fn begin_argument(&mut self, length: u64) {
        self.0.extend_from_slice(format!("${length}\r\n").as_bytes());
    }

    /// Adds bytes of the word that was begun.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Ends a word that was begun.
    pub fn end_argument(&mut self) {
        self.0.extend_from_slice(b"\r\n");
    }

    /// As sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Command({} bytes)", self.0.len())
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Session<T> {
    transport: T,
    decoder: Decoder,
    deadline: Duration,
}

impl<T: Transport> Session<T> {
    /// Over a connection that is ready to be spoken on (TLS is up where it has to be).
    pub fn new(transport: T) -> Self {
        Self {
            transport,
            decoder: Decoder::default(),
            deadline: ANSWER_DEADLINE,
        }
    }

    /// How long the server may be silent where an answer is due; a minute at first.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    /// `Server` for an error reply; whatever breaks the connection.
    pub fn call<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Result<Value, RespError> {
        self.send(&Command::new(words))?;
        self.receive()
    }

    /// Sends a command, or several, whose replies are [received](Self::receive) later.
    ///
    /// # Errors
    /// Whatever breaks the connection.
    pub fn send(&mut self, command: &Command) -> Result<(), RespError> {
        self.send_bytes(command.as_bytes())
    }

    /// Sends bytes of a command.
    ///
    /// # Errors
    /// Whatever breaks the connection.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), RespError> {
        Ok(self.transport.write(bytes)?)
    }

    /// Waits for the next reply, whole.
    ///
    /// # Errors
    /// `Server` for an error reply, `Closed`, `Protocol`; whatever breaks the connection.
    pub fn receive(&mut self) -> Result<Value, RespError> {
        loop {
            if let Some(value) = self.decoder.next_reply()? {
                return match value {
                    Value::Error(error) => Err(error.into()),
                    value => Ok(value),
                };
            }
            self.fill()?;
        }
    }

    /// Reads what is there, waiting until the deadline has passed.
    fn fill(&mut self) -> Result<(), RespError> {
        let piece = self.transport.read(PIECE, Some(self.deadline))?.ok_or(RespError::Closed)?;
        self.decoder.add(piece);
        Ok(())
    }

    /// The next line as it stands, for exchanges that are no replies (the begin of a synchronization).
    ///
    /// # Errors
    /// `Closed`, `Protocol`; whatever breaks the connection.
    pub fn line(&mut self) -> Result<Vec<u8>, RespError> {
        loop {
            if let Some(line) = self.decoder.buffer.line()? {
                return Ok(line);
            }
            self.fill()?;
        }
    }

    /// The next bytes as they stand, at least one and at most `max`.
    ///
    /// # Errors
    /// `Closed`; whatever breaks the connection.
    pub fn raw(&mut self, max: usize) -> Result<Vec<u8>, RespError> {
        if !self.decoder.buffer.is_empty() {
            return Ok(self.decoder.buffer.take(max));
        }
        self.transport.read(max.min(PIECE), Some(self.deadline))?.ok_or(RespError::Closed)
    }

    /// The next reply, where it is a string, in pieces: for what may be larger than memory. `None` is the reply that there is no such thing.
    ///
    /// # Errors
    /// As [`Session::receive`].
    pub fn bulk(&mut self) -> Result<Option<Bulk<'_, T>>, RespError> {
        debug_assert!(!self.decoder.is_within(), "a reply is half read");
        let line = self.line()?;
        match line.as_slice() {
            [b'$', length @ ..] => match number(length)? {
                -1 => Ok(None),
                length => {
                    let left = u64::try_from(length).map_err(|_| Violation::Number(length.to_string()))?;
                    if left == 0 {
                        self.terminator()?;
                    }
                    Ok(Some(Bulk { left, session: self }))
                }
            },
            [b'_', ..] => Ok(None),
            [b'-', error @ ..] => Err(crate::ServerError::parse(error).into()),
            [first, ..] => Err(Violation::Type(*first).into()),
            [] => Err(Violation::Type(b'\n').into()),
        }
    }

    /// The end of the line that a string ends with.
    fn terminator(&mut self) -> Result<(), RespError> {
        if self.line()?.is_empty() {
            return Ok(());
        }
        Err(Violation::Terminator.into())
    }
}

/// A string that is being received. To be read to its end.
#[derive(Debug)]
pub struct Bulk<'s, T> {
    session: &'s mut Session<T>,
    left: u64,
}

impl<T: Transport> Bulk<'_, T> {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// `Closed`, `Protocol`; whatever breaks the connection.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, RespError> {
        if self.left == 0 {
            return Ok(None);
        }
        let max = usize::try_from(self.left).unwrap_or(usize::MAX);
        let piece = self.session.raw(max)?;
        self.left -= piece.len() as u64;
        if self.left == 0 {
            self.session.terminator()?;
        }
        Ok(Some(piece))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bulkhead_sdk::Result;

    use super::*;

    /// What a server says, in pieces of one size.
    struct Played(Vec<u8>, usize);

    impl Transport for Played {
        fn read(&mut self, max: usize, _: Option<Duration>) -> Result<Option<Vec<u8>>> {
            let rest = self.0.split_off(self.1.min(max).min(self.0.len()));
            let piece = std::mem::replace(&mut self.0, rest);
            Ok((!piece.is_empty()).then_some(piece))
        }

        fn write(&mut self, _: &[u8]) -> Result<()> {
            Ok(())
        }
    }

    fn string<T: Transport>(session: &mut Session<T>) -> Result<Option<Vec<u8>>, RespError> {
        let Some(mut bulk) = session.bulk()? else { return Ok(None) };
        let mut string = Vec::new();
        while let Some(piece) = bulk.next_piece()? {
            string.extend_from_slice(&piece);
        }
        Ok(Some(string))
    }

    #[test]
    fn strings_in_pieces_end_where_they_end() {
        for size in [1, 2, 3, 7, 100] {
            let said = b"$5\r\na\r\nbc\r\n$0\r\n\r\n$-1\r\n_\r\n-ERR no\r\n$1\r\nx\r\n:7\r\n$2\r\nabc\r\n";
            let mut session = Session::new(Played(said.to_vec(), size));
            assert_eq!(string(&mut session).unwrap().unwrap(), b"a\r\nbc");
            assert_eq!(string(&mut session).unwrap().unwrap(), b"");
            assert_eq!(string(&mut session).unwrap(), None);
            assert_eq!(string(&mut session).unwrap(), None);
            assert!(matches!(string(&mut session), Err(RespError::Server(error)) if error.message.contains("no")));
            assert_eq!(string(&mut session).unwrap().unwrap(), b"x");
            assert_eq!(session.receive().unwrap(), Value::Integer(7));
            assert!(matches!(string(&mut session), Err(RespError::Protocol(_))), "in pieces of {size}");
        }
    }
}
