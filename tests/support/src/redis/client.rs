//! A small client: [`Client`].

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::{Error, Result};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A line.
    Line(String),
    /// A string.
    Bytes(Vec<u8>),
    /// An integer.
    Integer(i64),
    /// Nothing.
    Nothing,
    /// An error.
    Error(String),
    /// A list.
    List(Vec<Self>),
}

impl Reply {
    /// A line, string or integer as text.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Line(text) | Self::Error(text) => text.clone(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Integer(number) => number.to_string(),
            Self::Nothing => String::new(),
            Self::List(elements) => elements.iter().map(Self::text).collect::<Vec<_>>().join(" "),
        }
    }

    /// The bytes of a string.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            other => other.text().into_bytes(),
        }
    }

    /// The elements of a list.
    #[must_use]
    pub fn list(&self) -> &[Self] {
        match self {
            Self::List(elements) => elements,
            _ => &[],
        }
    }
}

/// A command as it is sent.
pub(crate) fn command<A: AsRef<[u8]>>(words: &[A]) -> Vec<u8> {
    let mut command = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        command.extend_from_slice(word);
        command.extend_from_slice(b"\r\n");
    }
    command
}

/// A connection.
#[derive(Debug)]
pub struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects.
    pub fn connect(address: &str) -> Result<Self> {
        let socket = TcpStream::connect(address).map_err(Error::io(format!("cannot connect to {address}")))?;
        let set = socket.set_read_timeout(Some(PATIENCE)).and_then(|()| socket.set_nodelay(true));
        set.map_err(Error::io("cannot set up a socket"))?;
        Ok(Self(BufReader::with_capacity(256 << 10, socket)))
    }

    /// Sends a command.
    pub fn send<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Result<()> {
        self.0
            .get_mut()
            .write_all(&command(words))
            .map_err(Error::io("cannot send a command"))
    }

    /// Sends a command and waits for its answer, whatever it is.
    pub fn ask<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Result<Reply> {
        self.send(words)?;
        self.receive()
    }

    /// Sends a command whose answer must not be an error.
    pub fn call<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Result<Reply> {
        match self.ask(words)? {
            Reply::Error(error) => {
                let command: Vec<_> = words
                    .iter()
                    .take(4)
                    .map(|word| String::from_utf8_lossy(word.as_ref()).into_owned())
                    .collect();
                Err(Error::Unusable(format!("`{}`: {error}", command.join(" "))))
            }
            reply => Ok(reply),
        }
    }

    /// Waits for an answer.
    pub fn receive(&mut self) -> Result<Reply> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).map_err(Error::io("cannot read an answer"))?;
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let (kind, text) = line.split_at_checked(1).unwrap_or_default();
        let number = || text.parse::<i64>().map_err(|_| Error::Unusable(format!("`{line}` is no answer")));
        Ok(match kind {
            "+" => Reply::Line(text.to_owned()),
            "-" => Reply::Error(text.to_owned()),
            ":" => Reply::Integer(number()?),
            "$" => match usize::try_from(number()?) {
                Err(_) => Reply::Nothing,
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.0.read_exact(&mut bytes).map_err(Error::io("cannot read an answer"))?;
                    bytes.truncate(length);
                    Reply::Bytes(bytes)
                }
            },
            "*" => match usize::try_from(number()?) {
                Err(_) => Reply::Nothing,
                Ok(count) => Reply::List((0..count).map(|_| self.receive()).collect::<Result<_>>()?),
            },
            _ => return Err(Error::Unusable(format!("`{line}` is no answer"))),
        })
    }
}
