//! What an operation may still use of the limits that all its instances share.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bulkhead_model::{Fault, FaultKind};

use crate::{LimitKind, Limits};

/// Counters of one operation. The first limit that is hit is remembered: whatever the plugin makes of the refusal, its operation has failed by it.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    bytes_written: AtomicU64,
    entries: AtomicU64,
    connections: AtomicU64,
    exceeded: OnceLock<LimitKind>,
}

impl Budget {
    /// Nothing used yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            bytes_written: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            exceeded: OnceLock::new(),
        }
    }

    /// The limits that are counted against.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The limit that has failed the operation, if one has.
    #[must_use]
    pub fn exceeded(&self) -> Option<LimitKind> {
        self.exceeded.get().copied()
    }

    /// Bytes and entries are counted anew: another operation begins. What is still open stays counted.
    pub(crate) fn renew(&self) {
        self.bytes_written.store(0, Ordering::Relaxed);
        self.entries.store(0, Ordering::Relaxed);
    }

    /// Counts bytes on their way out of the plugin.
    ///
    /// # Errors
    /// `limit`, and the operation has failed.
    pub fn write(&self, bytes: u64) -> Result<(), Fault> {
        self.count(&self.bytes_written, bytes, self.limits.bytes_written, LimitKind::BytesWritten)
    }

    /// Counts an entry.
    ///
    /// # Errors
    /// `limit`, and the operation has failed.
    pub fn entry(&self) -> Result<(), Fault> {
        self.count(&self.entries, 1, self.limits.entries, LimitKind::Entries)
    }

    fn count(&self, counter: &AtomicU64, amount: u64, limit: u64, kind: LimitKind) -> Result<(), Fault> {
        let before = counter.fetch_add(amount, Ordering::Relaxed);
        if before.saturating_add(amount) <= limit {
            return Ok(());
        }
        let _ = self.exceeded.set(kind);
        Err(refusal(kind, limit))
    }

    /// Takes a place for an open connection; [`Budget::disconnect`] gives it back.
    pub(crate) fn connect(&self) -> Result<(), Fault> {
        let limit = self.limits.connections;
        if self.connections.fetch_add(1, Ordering::Relaxed) < limit {
            return Ok(());
        }
        self.disconnect();
        Err(refusal(LimitKind::Connections, limit))
    }

    pub(crate) fn disconnect(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Bounds how long a host call may wait.
    ///
    /// # Errors
    /// `timed-out` when it takes longer than the limit `call-timeout`.
    pub async fn within<T>(&self, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        match tokio::time::timeout(self.limits.call_timeout, call).await {
            Ok(result) => result,
            Err(_) => Err(self.call_timed_out()),
        }
    }

    /// How long a call may wait that brings a deadline of its own, in milliseconds; and whether that is the plugin's own.
    pub(crate) fn deadline(&self, milliseconds: Option<u64>) -> (Duration, bool) {
        match milliseconds.map(Duration::from_millis) {
            Some(own) if own <= self.limits.call_timeout => (own, true),
            _ => (self.limits.call_timeout, false),
        }
    }

    pub(crate) fn call_timed_out(&self) -> Fault {
        let message = format!(
            "a host call took longer than the limit `call-timeout` of {} s",
            self.limits.call_timeout.as_secs_f32()
        );
        let mut fault = Fault::new(FaultKind::TimedOut, message).retryable();
        fault.setting = Some("limits.call-timeout".to_owned());
        fault
    }
}

fn refusal(kind: LimitKind, limit: u64) -> Fault {
    let mut fault = Fault::new(FaultKind::Limit, format!("the limit `{kind}` is reached: {limit}"));
    fault.setting = Some(format!("limits.{kind}"));
    fault
}
