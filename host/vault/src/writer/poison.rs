//! The first failure of a run: set once, seen by everyone.

use std::sync::OnceLock;

use tokio::sync::Notify;

use crate::error::{Cause, WriteError};

/// Whether and why a run has failed.
#[derive(Default)]
pub(crate) struct Poison {
    cause: OnceLock<Cause>,
    changed: Notify,
}

impl Poison {
    /// Records a failure; the first one stays. Returns whether this was the first.
    pub(crate) fn set(&self, cause: Cause) -> bool {
        let first = self.cause.set(cause).is_ok();
        self.changed.notify_waiters();
        first
    }

    /// Whether the run has failed.
    pub(crate) fn is_set(&self) -> bool {
        self.cause.get().is_some()
    }

    /// What everyone but the one who failed is told.
    pub(crate) fn error(&self) -> WriteError {
        WriteError::Cancelled {
            cause: self.cause.get().cloned().unwrap_or(Cause::Aborted),
        }
    }

    /// `Err` when the run has failed.
    pub(crate) fn check(&self) -> Result<(), WriteError> {
        if self.is_set() { Err(self.error()) } else { Ok(()) }
    }

    /// Waits for a failure.
    pub(crate) async fn wait(&self) -> WriteError {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_set() {
                return self.error();
            }
            changed.await;
        }
    }
}
