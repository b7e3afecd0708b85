//! The error of every call of the SDK and of a plugin: a kind for programs, sentences for people.
//!
//! One type for all, because it crosses the sandbox as it is: what a plugin returns is what the operator reads. `?` works on [`std::io::Error`] in
//! both directions and keeps the kind, so code written against `Read` and `Write` loses nothing.

use std::{fmt, io};

/// The result of SDK calls and plugin operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as a program needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The configuration is wrong: the operator must change it.
    Config,
    /// The operator's TOML does not grant this.
    NotGranted,
    /// The server refused the credentials, or none were given.
    Unauthenticated,
    /// Authenticated, but without the right to do this.
    PermissionDenied,
    /// The endpoint could not be reached, or TLS was not established.
    Unreachable,
    /// A deadline passed.
    TimedOut,
    /// An established connection broke, or ended too early.
    ConnectionLost,
    /// The peer said something that its protocol does not allow.
    Protocol,
    /// The peer reported an error of its own.
    Server,
    /// What was asked for is not there.
    NotFound,
    /// What was to be made is already there.
    AlreadyExists,
    /// The state found contradicts what is asked (a non-empty target, a store that belongs to somebody else, a race).
    Conflict,
    /// The source's own data is damaged.
    SourceDamaged,
    /// Stored content is damaged.
    Corrupt,
    /// No space, inodes or quota left.
    StorageFull,
    /// A limit of the host or of the peer was reached; the message names it.
    Limit,
    /// The run was cancelled, or another part of it failed first: return at once.
    Cancelled,
    /// The peer, or this plugin, does not support it.
    Unsupported,
    /// An input or output error of the operating system.
    Io,
    /// A defect in the plugin.
    Internal,
}

/// A failure, told so that its reader can act on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What a program needs to know.
    pub kind: ErrorKind,
    /// One sentence without a full stop: what failed, and on what.
    pub message: String,
    /// What the reader should do next; a command or a TOML line where there is one.
    pub hint: Option<String>,
    /// The setting of the plugin's config that is to blame, as a dotted path (`tables.exclude`); the host shows it in the TOML.
    pub setting: Option<String>,
    /// Whether the same call may succeed later without anybody changing anything.
    pub retryable: bool,
    /// Underlying causes, outermost first, each one sentence.
    pub causes: Vec<String>,
}

impl Error {
    /// A failure with nothing but a kind and a message. Retryable by default are the kinds that pass by themselves: `Unreachable`, `TimedOut` and
    /// `ConnectionLost`.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retryable = matches!(kind, ErrorKind::Unreachable | ErrorKind::TimedOut | ErrorKind::ConnectionLost);
        Self {
            kind,
            message: message.into(),
            hint: None,
            setting: None,
            retryable,
            causes: Vec::new(),
        }
    }

    /// A wrong value of `setting`, a dotted path within the plugin's config.
    #[must_use]
    pub fn config(setting: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            setting: Some(setting.into()),
            ..Self::new(ErrorKind::Config, message)
        }
    }

    /// Something that this plugin does not do.
    #[must_use]
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// A peer that broke its protocol.
    #[must_use]
    pub fn protocol(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Protocol, message)
    }

    /// Adds the next action.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the setting to blame.
    #[must_use]
    pub fn with_setting(mut self, setting: impl Into<String>) -> Self {
        self.setting = Some(setting.into());
        self
    }

    /// Says whether a retry may help.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }

    /// Adds one underlying cause, below those that are there.
    #[must_use]
    pub fn with_cause(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// Puts `message` in front: what was being done when this happened. The former message becomes the first cause; kind, hint, setting and
    /// retryability stay.
    #[must_use]
    pub fn context(mut self, message: impl Into<String>) -> Self {
        let inner = std::mem::replace(&mut self.message, message.into());
        self.causes.insert(0, inner);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        self.causes.iter().try_for_each(|cause| write!(formatter, ": {cause}"))
    }
}

impl std::error::Error for Error {}

/// [`Error::context`] on a result.
pub trait ResultExt<T> {
    /// Says what was being done, when it failed.
    ///
    /// # Errors
    /// The same failure with `message` in front.
    fn context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T>;
}

impl<T, E: Into<Error>> ResultExt<T> for std::result::Result<T, E> {
    fn context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(|error| error.into().context(message()))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) => Self::new(kind_of_io(error.kind()), error.to_string()),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(kind_for_io(error.kind), error)
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// The nearest kind of ours.
fn kind_of_io(kind: io::ErrorKind) -> ErrorKind {
    match kind {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::PermissionDenied,
        io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        io::ErrorKind::DirectoryNotEmpty => ErrorKind::Conflict,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::StorageFull,
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ErrorKind::TimedOut,
        io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => ErrorKind::Unreachable,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected
        | io::ErrorKind::UnexpectedEof => ErrorKind::ConnectionLost,
        io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        io::ErrorKind::InvalidData => ErrorKind::Protocol,
        _ => ErrorKind::Io,
    }
}

/// The kind that code written for `std::io` expects.
fn kind_for_io(kind: ErrorKind) -> io::ErrorKind {
    match kind {
        ErrorKind::NotFound => io::ErrorKind::NotFound,
        ErrorKind::PermissionDenied | ErrorKind::NotGranted | ErrorKind::Unauthenticated => io::ErrorKind::PermissionDenied,
        ErrorKind::AlreadyExists => io::ErrorKind::AlreadyExists,
        ErrorKind::TimedOut => io::ErrorKind::TimedOut,
        ErrorKind::Unreachable => io::ErrorKind::ConnectionRefused,
        ErrorKind::ConnectionLost => io::ErrorKind::ConnectionReset,
        ErrorKind::StorageFull => io::ErrorKind::StorageFull,
        ErrorKind::Unsupported => io::ErrorKind::Unsupported,
        ErrorKind::Protocol | ErrorKind::Corrupt | ErrorKind::SourceDamaged => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_error_survives_the_way_through_io() {
        let ours = Error::new(ErrorKind::Unauthenticated, "the server refused the password").with_hint("change it");
        let through = Error::from(io::Error::from(ours.clone()));
        assert_eq!(through, ours);
    }

    #[test]
    fn kinds_of_io_are_kept() {
        for (io_kind, kind) in [
            (io::ErrorKind::StorageFull, ErrorKind::StorageFull),
            (io::ErrorKind::UnexpectedEof, ErrorKind::ConnectionLost),
            (io::ErrorKind::NotFound, ErrorKind::NotFound),
        ] {
            assert_eq!(Error::from(io::Error::from(io_kind)).kind, kind);
        }
        let back = io::Error::from(Error::new(ErrorKind::TimedOut, "late"));
        assert_eq!(back.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn context_goes_in_front() {
        let error = Error::new(ErrorKind::Server, "relation does not exist")
            .context("reading table a")
            .context("backing up database b");
        assert_eq!(error.to_string(), "backing up database b: reading table a: relation does not exist");
        assert_eq!(error.kind, ErrorKind::Server);
    }
}
