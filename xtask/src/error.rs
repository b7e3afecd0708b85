//! Why a task failed.

use std::process::ExitStatus;

/// A failed task; its message says what to do where there is something to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A program ended unsuccessfully; it has said why itself.
    #[error("`{command}` ended with {status}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// A program could not be started.
    #[error("cannot start `{command}`: {source}")]
    NotStarted {
        /// The command line.
        command: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Reading or writing a file failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, on what.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Something is missing that this task may not or cannot install.
    #[error("{what} is missing\n\n  {remedy}")]
    Missing {
        /// What is missing.
        what: String,
        /// What the reader should do.
        remedy: String,
    },
    /// The demo or a benchmark found that something does not hold.
    #[error("{0}")]
    Broken(String),
    /// A server or tool of the surroundings failed.
    #[error(transparent)]
    Surroundings(#[from] bulkhead_test_support::Error),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// What every task returns.
pub(crate) type Result<T> = std::result::Result<T, Error>;
