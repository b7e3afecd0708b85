//! Failures of an operation over OpenDAL: [`Failure`].

use crate::{Error, ErrorKind};

/// Ours, or OpenDAL's.
pub(super) enum Failure {
    Ours(Error),
    Service(opendal::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<opendal::Error> for Failure {
    fn from(error: opendal::Error) -> Self {
        Self::Service(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Ours(error) => error,
            Failure::Service(error) => {
                let kind = kind(error.kind());
                Self::new(kind, error.message()).with_retryable(error.is_temporary())
            }
        }
    }
}

fn kind(kind: opendal::ErrorKind) -> ErrorKind {
    match kind {
        opendal::ErrorKind::Unsupported => ErrorKind::Unsupported,
        opendal::ErrorKind::ConfigInvalid => ErrorKind::Config,
        opendal::ErrorKind::NotFound => ErrorKind::NotFound,
        opendal::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        opendal::ErrorKind::AlreadyExists | opendal::ErrorKind::ConditionNotMatch => ErrorKind::AlreadyExists,
        opendal::ErrorKind::RateLimited => ErrorKind::Limit,
        opendal::ErrorKind::RangeNotSatisfied => ErrorKind::Corrupt,
        opendal::ErrorKind::Conflict | opendal::ErrorKind::IsADirectory | opendal::ErrorKind::NotADirectory => ErrorKind::Conflict,
        _ => ErrorKind::Protocol,
    }
}
