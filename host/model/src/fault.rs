//! The error of a plugin or of a capability, as the ABI defines it (`wit/`, interface `types`): a kind for programs, sentences for people.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What went wrong, as far as a program needs to know. The meaning of each is in `wit/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "documented once, in wit/")]
pub enum FaultKind {
    Config,
    NotGranted,
    Unauthenticated,
    PermissionDenied,
    Unreachable,
    TimedOut,
    ConnectionLost,
    Protocol,
    Server,
    NotFound,
    AlreadyExists,
    Conflict,
    SourceDamaged,
    Corrupt,
    StorageFull,
    Limit,
    Cancelled,
    Unsupported,
    Io,
    Internal,
}

/// A failure, told so that its reader can act on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What a program needs to know.
    pub kind: FaultKind,
    /// One sentence without a full stop.
    pub message: String,
    /// The next action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The setting to blame, as a dotted path within the plugin's config or a TOML path of the host's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// Whether the same call may succeed later without anybody changing anything.
    pub retryable: bool,
    /// Whether there was no error at all but a trap, or a component that can't be used. Only the host says so, of a plugin that it called.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trapped: bool,
    /// Underlying causes, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

impl Fault {
    /// A failure of `kind`, not worth retrying, with nothing but a message.
    #[must_use]
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            setting: None,
            retryable: false,
            trapped: false,
            causes: Vec::new(),
        }
    }

    /// Adds the next action.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says that a retry may help.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// Adds the chain of causes of `error`.
    #[must_use]
    pub fn caused_by(mut self, error: &dyn std::error::Error) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            self.causes.push(error.to_string());
            cause = error.source();
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        self.causes.iter().try_for_each(|cause| write!(formatter, ": {cause}"))
    }
}

impl std::error::Error for Fault {}
