//! What a failed operation says: [`Failure`], the same shape for every error of every operation.
//!
//! The errors themselves stay typed (one enum per operation); a [`Failure`] is what all of them have in common for the person or program that reads
//! them: a class, a sentence with its causes, the next action, and the line of the TOML to look at.

use std::{error::Error, fmt};

use bulkhead_config::Origin;
use bulkhead_model::{Fault, FaultKind};
use bulkhead_runtime::PluginError;
use bulkhead_vault as vault;
use serde::Serialize;

/// What kind of failure it is: what a caller may do about it. Each has an exit code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The configuration is wrong, or does not grant what is needed.
    Config,
    /// A secret could not be had, was refused, or does not suffice.
    Credentials,
    /// Something could not be reached, or broke off.
    Unreachable,
    /// A plugin, or the system behind it, reported an error.
    Plugin,
    /// A plugin trapped, or its component can't be used.
    Trapped,
    /// A limit was hit.
    Limit,
    /// What was stored is not what was meant to be: the proof, or an expectation, failed.
    Proof,
    /// Stored content, or the source, is damaged.
    Damaged,
    /// No space left.
    StorageFull,
    /// Something is in the way: a lock, a target that isn't empty, a vault that is there already.
    Conflict,
    /// What was asked for is not there.
    NotFound,
    /// A check found something that a run would fail on.
    Findings,
    /// The run is safe on its first sink, but not on all.
    Replica,
    /// Interrupted.
    Cancelled,
    /// A defect in this program, or an operating system out of resources.
    Internal,
}

/// The table of the TOML that something belongs to.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its dotted name (`pipeline.shop`).
    pub table: String,
    /// Where it is written.
    pub origin: Origin,
}

/// A failure, told so that its reader can act on it.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What kind.
    pub class: FailureClass,
    /// One sentence.
    pub message: String,
    /// Underlying causes, outermost first.
    pub causes: Vec<String>,
    /// The next action.
    pub hint: Option<String>,
    /// The table to look at.
    pub site: Option<Site>,
    /// The setting in it, as a dotted path.
    pub setting: Option<String>,
    /// Whether the same operation may succeed later without anybody changing anything.
    pub retryable: bool,
}

/// An error that can be told as a [`Failure`].
pub trait Explain: Error {
    /// The failure.
    fn explain(&self) -> Failure;
}

impl Failure {
    /// A failure that says what `error` and its sources say.
    pub(crate) fn new(class: FailureClass, error: &dyn Error) -> Self {
        let mut causes = Vec::new();
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let text = error.to_string();
            // An error that shows its source in its own sentence would say it twice.
            if !message.ends_with(&text) && causes.last() != Some(&text) {
                causes.push(text);
            }
            source = error.source();
        }
        message.truncate(message.trim_end().len());
        Self {
            class,
            message,
            causes,
            hint: None,
            site: None,
            setting: None,
            retryable: false,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn at(mut self, site: &Site) -> Self {
        self.site = Some(site.clone());
        self
    }

    pub(crate) fn setting(mut self, setting: impl Into<String>) -> Self {
        self.setting = Some(setting.into());
        self
    }

    /// What a plugin's error says.
    pub(crate) fn of_plugin(error: &PluginError) -> Self {
        let class = match error {
            PluginError::Fault(fault) => return Self::of_fault(fault),
            PluginError::Trap(_) | PluginError::Load(_) => FailureClass::Trapped,
            PluginError::Limit(_) => FailureClass::Limit,
            PluginError::Grant(_) => FailureClass::Config,
            PluginError::Cancelled => FailureClass::Cancelled,
            PluginError::Unsupported { .. } => FailureClass::Plugin,
        };
        let mut failure = Self::new(class, error);
        failure.hint = error.hint().map(str::to_owned);
        failure.retryable = error.retryable();
        if let PluginError::Limit(limit) = error {
            failure.setting = Some(format!("limits.{}", limit.limit));
        }
        failure
    }

    /// What a fault says.
    pub(crate) fn of_fault(fault: &Fault) -> Self {
        Self {
            class: class_of(fault),
            message: fault.message.clone(),
            causes: fault.causes.clone(),
            hint: fault.hint.clone(),
            site: None,
            setting: fault.setting.clone(),
            retryable: fault.retryable,
        }
    }

    /// What an error of the vault says: its own words, and the class, hint and setting of the sink's fault where one is behind it.
    pub(crate) fn of_vault(class: FailureClass, error: &(dyn Error + 'static), hint: Option<String>) -> Self {
        let mut failure = Self::new(class, error);
        if let Some(fault) = fault_behind(error) {
            failure.class = class_of(fault);
            failure.retryable = fault.retryable;
            failure.hint = fault.hint.clone();
            failure.setting = fault.setting.clone();
        }
        failure.hint = failure.hint.or(hint);
        failure
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        self.causes.iter().try_for_each(|cause| write!(formatter, ": {cause}"))
    }
}

/// The fault at the end of a chain of errors.
pub(crate) fn fault_behind<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Fault> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(fault) = as_a::<Fault>(error) {
            return Some(fault);
        }
        if let Some(vault::WriteError::Cancelled {
            cause: vault::Cause::Failed(first),
        }) = as_a::<vault::WriteError>(error)
        {
            next = Some(first.as_ref());
            continue;
        }
        // An error that is `transparent` is skipped by `source`.
        if let Some(store) = store_error(error) {
            return Some(&store.fault);
        }
        next = error.source();
    }
    None
}

fn store_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e vault::StoreError> {
    use vault::{CopyError, InitError, KeyError, MaintenanceError, OpenError, ReadError, ResolveError, VerifyError, WriteError};
    as_a::<vault::StoreError>(error)
        .or_else(|| match as_a::<OpenError>(error)? {
            OpenError::Store(error) => Some(error),
            _ => None,
        })
        .or_else(|| match as_a::<InitError>(error)? {
            InitError::Store(error) => Some(error),
            InitError::Open(error) => store_error(error.as_ref()),
            _ => None,
        })
        .or_else(|| match as_a::<WriteError>(error)? {
            WriteError::Store(error) | WriteError::Read(ReadError::Store(error)) => Some(error),
            _ => None,
        })
        .or_else(|| match as_a::<CopyError>(error)? {
            CopyError::Source(error) => store_error(error),
            CopyError::SourceLock(error) | CopyError::Target(error) => store_error(error),
            _ => None,
        })
        .or_else(|| match as_a::<ReadError>(error)? {
            ReadError::Store(error) => Some(error),
            _ => None,
        })
        .or_else(|| match as_a::<ResolveError>(error)? {
            ResolveError::Read(ReadError::Store(error)) => Some(error),
            _ => None,
        })
        .or_else(|| match as_a::<VerifyError>(error)? {
            VerifyError::Store(error) => Some(error),
            _ => None,
        })
        .or_else(|| match as_a::<MaintenanceError>(error)? {
            MaintenanceError::Store(error)
            | MaintenanceError::Read(ReadError::Store(error))
            | MaintenanceError::Lock(WriteError::Store(error)) => Some(error),
            _ => None,
        })
        .or_else(|| match as_a::<KeyError>(error)? {
            KeyError::Store(error) => Some(error),
            _ => None,
        })
}

/// The error as a `T`. A boxed source is the box to `dyn Error`, not what is in it.
fn as_a<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    error
        .downcast_ref::<T>()
        .or_else(|| error.downcast_ref::<Box<T>>().map(Box::as_ref))
}

/// The class of a fault.
pub(crate) fn class_of(fault: &Fault) -> FailureClass {
    match fault.kind {
        _ if fault.trapped => FailureClass::Trapped,
        FaultKind::Config | FaultKind::NotGranted => FailureClass::Config,
        FaultKind::Unauthenticated | FaultKind::PermissionDenied => FailureClass::Credentials,
        FaultKind::Unreachable | FaultKind::TimedOut | FaultKind::ConnectionLost => FailureClass::Unreachable,
        FaultKind::Protocol | FaultKind::Server | FaultKind::Unsupported | FaultKind::Io | FaultKind::Internal => FailureClass::Plugin,
        FaultKind::NotFound => FailureClass::NotFound,
        FaultKind::AlreadyExists | FaultKind::Conflict => FailureClass::Conflict,
        FaultKind::SourceDamaged | FaultKind::Corrupt => FailureClass::Damaged,
        FaultKind::StorageFull => FailureClass::StorageFull,
        FaultKind::Limit => FailureClass::Limit,
        FaultKind::Cancelled => FailureClass::Cancelled,
    }
}
