//! What can go wrong in a call: [`GrpcError`], and what it means to an operator.

use bulkhead_sdk::{Error, ErrorKind};

use crate::{Code, Status};

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    /// Below HTTP/2: a cut connection, a deadline.
    #[error(transparent)]
    Transport(#[from] Error),
    /// The server ended the call with an error of its own.
    #[error("{}", .0.message)]
    Status(Status),
    /// The peer breaks HTTP/2, or refused the stream or the connection.
    #[error("the HTTP/2 connection failed")]
    Http2(#[from] h2::Error),
    /// The peer closed the connection although it owes an answer.
    #[error("the server closed the connection")]
    Closed,
    /// HTTP/2, but no gRPC.
    #[error("the server answered with HTTP status {status} and content type `{content_type}` instead of gRPC")]
    NotGrpc {
        /// Of HTTP.
        status: u16,
        /// What it sent.
        content_type: String,
    },
    /// A message beyond the bound.
    #[error("the server sent a message of {size} bytes, more than the {limit} that are accepted")]
    MessageTooLarge {
        /// Its length field.
        size: u32,
        /// In bytes.
        limit: usize,
    },
    /// A compressed message, which nobody asked for.
    #[error("the server sent a compressed message, which was not asked for")]
    Compressed,
    /// The stream ended within a message, or without a status.
    #[error("the server's answer ended {0}")]
    Truncated(&'static str),
    /// More or fewer messages than a unary call has.
    #[error("the server sent {0} where one message was due")]
    MessageCount(&'static str),
    /// Not the message that was expected.
    #[error("the server's message cannot be decoded")]
    Decode(#[from] prost::DecodeError),
    /// Metadata or a path that HTTP/2 cannot carry.
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
}

impl GrpcError {
    /// The status, where the server gave one.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Status(status) => Some(status),
            _ => None,
        }
    }
}

impl From<GrpcError> for Error {
    fn from(error: GrpcError) -> Self {
        let message = error.to_string();
        match error {
            GrpcError::Transport(error) => error,
            GrpcError::Status(status) => of_status(&status, message),
            GrpcError::Http2(error) => of_http2(error, message),
            GrpcError::Closed | GrpcError::Truncated(_) => Self::new(ErrorKind::ConnectionLost, message),
            GrpcError::NotGrpc { .. } | GrpcError::Compressed | GrpcError::MessageCount(_) => Self::protocol(message),
            GrpcError::MessageTooLarge { .. } => Self::new(ErrorKind::Limit, message),
            GrpcError::Decode(cause) => Self::protocol(message).with_cause(cause),
            GrpcError::Request(cause) => Self::new(ErrorKind::Config, message).with_cause(cause),
        }
    }
}

/// The nearest kind to a code. Plugins know more: what their server means by a code and a message is theirs to say.
fn of_status(status: &Status, message: String) -> Error {
    let (kind, retryable) = match status.code {
        Code::Unauthenticated => (ErrorKind::Unauthenticated, false),
        Code::PermissionDenied => (ErrorKind::PermissionDenied, false),
        Code::DeadlineExceeded => (ErrorKind::TimedOut, true),
        Code::NotFound => (ErrorKind::NotFound, false),
        Code::AlreadyExists => (ErrorKind::AlreadyExists, false),
        Code::ResourceExhausted => (ErrorKind::Limit, false),
        Code::FailedPrecondition => (ErrorKind::Conflict, false),
        Code::Unimplemented => (ErrorKind::Unsupported, false),
        Code::DataLoss => (ErrorKind::SourceDamaged, false),
        Code::Unavailable | Code::Aborted => (ErrorKind::Server, true),
        Code::Ok | Code::Cancelled | Code::Unknown | Code::InvalidArgument | Code::OutOfRange | Code::Internal => {
            (ErrorKind::Server, false)
        }
    };
    let message = if message.is_empty() {
        format!("the server answered with status {:?}", status.code)
    } else {
        message
    };
    Error::new(kind, message).with_retryable(retryable)
}

fn of_http2(error: h2::Error, message: String) -> Error {
    if error.is_io() {
        // Either the transport's own error on its way through h2, or h2's word for a stream that ended within a frame.
        let inner = error.into_io().map(Error::from);
        return match inner {
            Some(error) if error.kind != ErrorKind::Io => error,
            cut => Error::new(ErrorKind::ConnectionLost, "the connection broke off").with_cause(cut.map_or(message, |error| error.message)),
        };
    }
    // A connection or stream that the peer gave up is its own decision, and passes; one that we gave up is its violation.
    if error.is_remote() {
        return Error::new(ErrorKind::ConnectionLost, message).with_cause(error);
    }
    Error::protocol(message).with_cause(error)
}
