//! What can go wrong on a connection: [`RespError`]. How it is told to an operator is in `explain.rs`.

use std::fmt;

/// A connection that failed, or a command that the server refused.
#[derive(Debug, thiserror::Error)]
pub enum RespError {
    /// Below the protocol: dialling, TLS, a cut connection, a deadline.
    #[error(transparent)]
    Transport(#[from] bulkhead_sdk::Error),
    /// The stream ended although the server owes an answer.
    #[error("the server closed the connection")]
    Closed,
    /// The server reports an error.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The peer doesn't keep to the protocol: not Redis, or hostile.
    #[error("the peer does not speak Redis' protocol")]
    Protocol(#[from] Violation),
    /// Speaks the protocol, but an answer isn't what the command's documentation says.
    #[error("the server's answer to {command} is not {expected}")]
    Answer {
        /// The command.
        command: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// An error reply: its first word, in capitals, and the rest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ServerError {
    /// `ERR`, `NOAUTH`, `MOVED`, …; empty where there is none.
    pub code: String,
    /// What follows the code.
    pub message: String,
}

impl ServerError {
    /// Reads an error's line. Control characters are replaced: a server's words go into logs.
    #[must_use]
    pub fn parse(line: &[u8]) -> Self {
        let text: String = String::from_utf8_lossy(line)
            .chars()
            .take(1024)
            .map(|character| if character.is_control() { '\u{fffd}' } else { character })
            .collect();
        match text.split_once(' ') {
            Some((code, message)) if is_code(code) => Self {
                code: code.to_owned(),
                message: message.to_owned(),
            },
            None if is_code(&text) => Self {
                code: text,
                message: String::new(),
            },
            _ => Self {
                code: String::new(),
                message: text,
            },
        }
    }

    /// Whether the server does not know the command, or hides it (managed services answer as if it did not exist).
    #[must_use]
    pub fn is_unknown_command(&self) -> bool {
        self.code == "ERR" && self.message.to_ascii_lowercase().starts_with("unknown command")
    }
}

fn is_code(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

impl fmt::Display for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.as_str(), self.message.as_str()) {
            (code, "") => formatter.write_str(code),
            ("", message) => formatter.write_str(message),
            (code, message) => write!(formatter, "{code} {message}"),
        }
    }
}

/// How a peer broke the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// No reply begins so.
    #[error("a reply begins with {:?}", char::from(*.0))]
    Type(u8),
    /// A line that does not end.
    #[error("a line is longer than {limit} bytes")]
    Line {
        /// In bytes.
        limit: usize,
    },
    /// A length or number that is none.
    #[error("{0:?} is no number")]
    Number(String),
    /// A string that does not end where it should.
    #[error("a string is not followed by the end of a line")]
    Terminator,
    /// A reply that is larger than anybody asks for.
    #[error("a reply is larger than {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// A reply in a reply in a reply.
    #[error("a reply is nested deeper than {limit}")]
    TooDeep {
        /// Levels.
        limit: usize,
    },
    /// Bytes that nobody asked for.
    #[error("the server sent more than it was asked for")]
    Unasked,
}
