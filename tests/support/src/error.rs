//! Why a test's surroundings could not be made. `Debug` prints the message itself, because `unwrap` in a test is where it is read.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};

/// A tool that is missing, failed or misbehaved.
#[derive(thiserror::Error)]
pub enum Error {
    /// A program of the test's surroundings is not installed.
    #[error("`{program}` is not installed: {hint}")]
    Missing {
        /// The program or file that was looked for.
        program: String,
        /// How to get it.
        hint: &'static str,
    },
    /// A program was started and failed.
    #[error("`{command}` ended with {status}\n{output}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed, both streams.
        output: String,
    },
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, on what.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A server did not come up, or did not go down.
    #[error("{what} within {seconds} s\n{log}")]
    TimedOut {
        /// What did not happen.
        what: String,
        /// How long was waited.
        seconds: u64,
        /// The end of the server's log.
        log: String,
    },
    /// Something else that makes the surroundings unusable.
    #[error("{0}")]
    Unusable(String),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn on_path(verb: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        Self::io(format!("cannot {verb} {}", path.display()))
    }

    pub(crate) fn failed(command: String, output: &Output) -> Self {
        Self::Failed {
            command,
            status: output.status,
            output: format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
        }
    }

    pub(crate) fn missing(program: PathBuf, hint: &'static str) -> Self {
        Self::Missing {
            program: program.display().to_string(),
            hint,
        }
    }
}

impl std::fmt::Debug for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{self}")
    }
}
