//! What can go wrong on a connection: [`ClientError`]. How it is told to an operator is in `explain.rs`.

use crate::{
    auth::ScramError,
    report::ServerReport,
    wire::{DecodeError, Truncated},
};

/// A connection that failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Below the protocol: dialling, TLS, a cut connection.
    #[error(transparent)]
    Transport(#[from] bulkhead_sdk::Error),
    /// The stream ended although the server owes an answer.
    #[error("the server closed the connection")]
    Closed,
    /// The server reports an error.
    #[error("{0}")]
    Server(Box<ServerReport>),
    /// The peer doesn't keep to the protocol: not PostgreSQL, or hostile.
    #[error("the peer does not speak PostgreSQL's protocol")]
    Protocol(#[from] Violation),
    /// `tls` wants encryption and the server has none.
    #[error("the server does not offer TLS")]
    TlsNotOffered,
    /// The server asks for a password and there is none.
    #[error("the server asks for a password, and none was granted")]
    PasswordMissing,
    /// The server asks for the password in clear over a connection that anybody on the way can read.
    #[error("the server asks for the password in clear text over an unencrypted connection")]
    CleartextRefused,
    /// An authentication method outside of this client.
    #[error("the server asks for authentication method {0}, which is not supported")]
    UnsupportedMethod(String),
    /// The SCRAM exchange failed on our side.
    #[error("SCRAM authentication failed")]
    Scram(#[from] ScramError),
    /// No random numbers for a nonce.
    #[error("no random numbers available")]
    Random,
    /// A name or parameter that the protocol cannot carry.
    #[error("{0} must not contain a zero byte")]
    ZeroByte(&'static str),
    /// Speaks the protocol, but an answer isn't what the command's documentation says.
    #[error("the server's answer to {command} lacks {what}")]
    Answer {
        /// The command.
        command: &'static str,
        /// What is missing or malformed.
        what: &'static str,
    },
}

/// How a peer broke the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A frame.
    #[error(transparent)]
    Frame(#[from] DecodeError),
    /// A message's body.
    #[error("message {:?} is malformed: {reason}", char::from(*tag))]
    Body {
        /// Type byte.
        tag: u8,
        /// How.
        reason: Truncated,
    },
    /// A message that has no place here.
    #[error("message {:?} is unexpected during {during}", char::from(*tag))]
    Unexpected {
        /// Type byte.
        tag: u8,
        /// What was going on.
        during: &'static str,
    },
    /// The answer to `SSLRequest` is one byte, `S` or `N`.
    #[error("the answer to the request for TLS is {:?}", char::from(*.0))]
    TlsAnswer(u8),
    /// More rows than anybody asks for.
    #[error("the result is larger than {limit} bytes")]
    ResultTooLarge {
        /// In bytes.
        limit: usize,
    },
}
