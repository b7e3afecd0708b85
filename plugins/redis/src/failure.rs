//! Errors of reading an RDB file, as the host sees them: [`from_server`] for one that is just being received, [`stored`] for one that was stored; and
//! [`Failure`], what visitors that do I/O fail with.

use bulkhead_rdb::RdbError;
use bulkhead_sdk::{Error, ErrorKind};

/// What a visitor that does I/O fails with.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The file.
    Rdb(RdbError),
    /// All else.
    Other(Error),
}

impl From<RdbError> for Failure {
    fn from(error: RdbError) -> Self {
        Self::Rdb(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Failure {
    /// Of a stored file.
    pub(crate) fn stored(self, path: &str) -> Error {
        match self {
            Self::Rdb(error) => stored(&error, path),
            Self::Other(error) => error,
        }
    }
}

/// What a server sent is no RDB file.
pub(crate) fn from_server(error: &RdbError) -> Error {
    if error.is_unsupported() {
        return Error::unsupported("the server's RDB is of a kind that this plugin does not know")
            .with_cause(error)
            .with_hint("use a Bulkhead release that knows this version of the server; `mode = \"scan\"` reads it no better");
    }
    Error::new(ErrorKind::SourceDamaged, "the server sent a damaged RDB")
        .with_cause(error)
        .with_hint(
            "run it again; if it happens again, something between the server's memory and here changes data, or the server is newer than this plugin: \
             `redis-check-rdb` on the server's own dump.rdb tells which",
        )
}

/// What was stored is no RDB file.
pub(crate) fn stored(error: &RdbError, path: &str) -> Error {
    if error.is_unsupported() {
        return Error::unsupported(format!("{path} is of a kind that this plugin does not know")).with_cause(error);
    }
    Error::new(ErrorKind::Corrupt, format!("{path} is damaged"))
        .with_cause(error)
        .with_hint("restore from another snapshot; `bulkhead verify` tells which ones are whole")
}
