//! What an operation may still use of the limits that all its instances share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bulkhead_model::{Fault, FaultKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{LimitKind, Limits};

/// Descriptors of one operation, so that none takes those of the whole host.
const MAX_FILES: usize = 256;
const MAX_FOLDERS: usize = 64;
const MAX_LISTINGS: usize = 64;
/// Threads that one operation's calls on directories may hold at once: a file server that is dead holds up each of them for good.
const MAX_BLOCKED: usize = 16;

/// What an operation has open in directories; each kind has a bound of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Descriptor {
    File,
    Folder,
    Listing,
}

/// Places for descriptors and blocked threads.
#[derive(Debug)]
struct Places {
    files: Arc<Semaphore>,
    folders: Arc<Semaphore>,
    listings: Arc<Semaphore>,
    blocked: Arc<Semaphore>,
}

/// Counters of one operation. The first limit that is hit is remembered: whatever the plugin makes of the refusal, its operation has failed by it.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    bytes_written: AtomicU64,
    entries: AtomicU64,
    connections: AtomicU64,
    places: Places,
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
            places: Places {
                files: Arc::new(Semaphore::new(MAX_FILES)),
                folders: Arc::new(Semaphore::new(MAX_FOLDERS)),
                listings: Arc::new(Semaphore::new(MAX_LISTINGS)),
                blocked: Arc::new(Semaphore::new(MAX_BLOCKED)),
            },
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
        self.not_exceeded()?;
        if take(counter, amount, limit) {
            return Ok(());
        }
        let _ = self.exceeded.set(kind);
        Err(self.refusal(kind))
    }

    /// An operation that has failed by a limit gets nothing more, whatever its plugin makes of the refusal.
    fn not_exceeded(&self) -> Result<(), Fault> {
        self.exceeded().map_or(Ok(()), |kind| Err(self.refusal(kind)))
    }

    /// Takes a place for an open connection; [`Budget::disconnect`] gives it back.
    pub(crate) fn connect(&self) -> Result<(), Fault> {
        self.not_exceeded()?;
        if take(&self.connections, 1, self.limits.connections) {
            return Ok(());
        }
        Err(self.refusal(LimitKind::Connections))
    }

    pub(crate) fn disconnect(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes a place for something to be opened in a directory; it is given back when the place is dropped.
    pub(crate) fn descriptor(&self, kind: Descriptor) -> Result<OwnedSemaphorePermit, Fault> {
        self.not_exceeded()?;
        let (places, most, what) = match kind {
            Descriptor::File => (&self.places.files, MAX_FILES, "files"),
            Descriptor::Folder => (&self.places.folders, MAX_FOLDERS, "folders"),
            Descriptor::Listing => (&self.places.listings, MAX_LISTINGS, "listings"),
        };
        let full = |_| Fault::new(FaultKind::Limit, format!("at most {most} {what} are open at once"));
        places.clone().try_acquire_owned().map_err(full)
    }

    /// Runs a call that may block on the blocking pool, at most 16 of an operation at once. A call that nobody waits for any more keeps its place until
    /// the operating system lets it go.
    pub(crate) async fn blocking<T: Send + 'static>(&self, call: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
        let shutting_down = || Fault::new(FaultKind::Cancelled, "the host is shutting down");
        let place = self.places.blocked.clone().acquire_owned().await.map_err(|_| shutting_down())?;
        let held = move || {
            let result = call();
            drop(place);
            result
        };
        tokio::task::spawn_blocking(held).await.unwrap_or_else(|_| Err(shutting_down()))
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

    fn refusal(&self, kind: LimitKind) -> Fault {
        let mut fault = Fault::new(
            FaultKind::Limit,
            format!("the limit `{kind}` is reached: {}", self.limits.show(kind)),
        );
        fault.setting = Some(format!("limits.{kind}"));
        fault
    }
}

/// Adds to a counter what still fits below the limit, or nothing: a refusal must neither use up what is left nor wrap around.
fn take(counter: &AtomicU64, amount: u64, limit: u64) -> bool {
    let add = |used: u64| used.checked_add(amount).filter(|sum| *sum <= limit);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PluginKind;

    fn budget(change: impl FnOnce(&mut Limits)) -> Budget {
        let mut limits = Limits::default_for(PluginKind::Source);
        change(&mut limits);
        Budget::new(limits)
    }

    #[test]
    fn a_counter_never_wraps_around() {
        let budget = budget(|limits| limits.bytes_written = 100);
        assert!(budget.write(60).is_ok());
        for amount in [u64::MAX, u64::MAX - 59, 41] {
            assert_eq!(budget.write(amount).map_err(|fault| fault.kind), Err(FaultKind::Limit));
        }
        assert_eq!(budget.exceeded(), Some(LimitKind::BytesWritten));
        assert_eq!(budget.bytes_written.load(Ordering::Relaxed), 60);
    }

    #[test]
    fn nothing_more_is_granted_after_a_limit() {
        let budget = budget(|limits| limits.entries = 1);
        assert!(budget.entry().is_ok());
        assert!(budget.entry().is_err());
        for refused in [budget.write(1), budget.entry(), budget.connect()] {
            let setting = refused.err().and_then(|fault| fault.setting);
            assert_eq!(setting.as_deref(), Some("limits.entries"));
        }
    }

    #[test]
    fn a_refused_connection_takes_no_place() {
        let budget = budget(|limits| limits.connections = 1);
        assert!(budget.connect().is_ok());
        assert!(budget.connect().is_err());
        budget.disconnect();
        assert!(budget.connect().is_ok());
        assert_eq!(budget.exceeded(), None);
    }
}
